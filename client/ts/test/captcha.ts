import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { BrowserContext } from "playwright-core";

/** Where pages load the provider's script from, and its frame. */
export const captchaOrigin = "https://challenges.cloudflare.com";

/** A stand-in for a provider of CAPTCHAs, whose CAPTCHA is a button. */
export interface CaptchaProvider {
  /** Settings of the server that asks it whether an answer is right. */
  readonly settings: Record<string, string>;
  /** An answer for who solves it without a page. */
  answer(): string;
  /**
   * Stands in for the provider in a new test.
   *
   * @param serverUrl - of the server of the pages, of which the provider may know that they are there
   * @param complaints - where it says what else it is told of them
   */
  standIn(context: BrowserContext, serverUrl: string, complaints: string[]): Promise<void>;
  /** The paths that pages of the test asked for. */
  readonly asked: string[];
  /** Whether pages cannot load anything of it; not so as a test begins. */
  blocked: boolean;
  stop(): void;
}

/** Starts it on a free port of this machine. It takes each answer once. */
export async function startCaptchaProvider(): Promise<CaptchaProvider> {
  const used = new Set<string>();
  let solved = 0; // up to which number answers are used
  const verifier = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) {
      body += chunk;
    }
    const answer = new URLSearchParams(body).get("response") ?? "";
    response.end(JSON.stringify({ success: answer.startsWith("solved the-site ") && !used.has(answer) }));
    used.add(answer);
    solved = Math.max(solved, Number(answer.split(" ").at(-1)) || 0);
  });
  await new Promise<void>((resolve, reject) => verifier.once("error", reject).listen(0, "127.0.0.1", resolve));

  const provider: CaptchaProvider = {
    settings: {
      MANAGER_CAPTCHA_PROVIDER: "turnstile",
      MANAGER_CAPTCHA_SECRET: "the server's secret",
      MANAGER_CAPTCHA_SITE_KEY: "the-site",
      MANAGER_CAPTCHA_VERIFY_URL: `http://127.0.0.1:${(verifier.address() as AddressInfo).port}`,
    },
    answer: () => `solved the-site by ${crypto.randomUUID()}`,
    standIn: async (context, serverUrl, complaints) => {
      used.clear();
      solved = 0;
      provider.asked.length = 0;
      provider.blocked = false;
      await context.route(`${captchaOrigin}/**`, async (route) => {
        const { pathname } = new URL(route.request().url());
        provider.asked.push(pathname);
        const referrer = route.request().headers()["referer"];
        if (referrer !== undefined && referrer !== `${serverUrl}/`) {
          complaints.push(`the provider is told ${referrer}`);
        }
        return provider.blocked
          ? route.abort()
          : route.fulfill(
              pathname.endsWith("/api.js")
                ? { contentType: "text/javascript", body: script(solved) }
                : { contentType: "text/html", body: '<!DOCTYPE html><html lang="en"><title>frame</title>' },
            );
      });
    },
    asked: [],
    blocked: false,
    stop: () => {
      verifier.close();
      verifier.closeAllConnections();
    },
  };
  return provider;
}

/** What a provider's script does: a button in place of its CAPTCHA, with a field of its own. Its answers are counted on. */
const script = (solved: number) => `
  let solved = ${solved};
  window.turnstile = {
    render(box, { sitekey, callback }) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "I am a person";
      button.addEventListener("click", () => callback("solved " + sitekey + " " + ++solved));
      const field = document.createElement("input");
      field.type = "hidden";
      const frame = document.createElement("iframe");
      frame.src = "${captchaOrigin}/frame";
      frame.title = "CAPTCHA";
      frame.width = frame.height = 20;
      box.append(button, field, frame);
      return "the widget";
    },
    reset(id) {
      document.body.dataset.reset = id;
    },
  };
  captchaLoaded();
`;
