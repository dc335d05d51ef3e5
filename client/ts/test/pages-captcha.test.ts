import assert from "node:assert/strict";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { createManager } from "@logicspike/manager";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { startChromium } from "./chromium.js";
import { codeMailedTo, linkMailedTo, newAddress } from "./mailbox.js";
import { startServer, type Server } from "./server.js";

const password = "maple-lantern-quartz";
const provider = "https://challenges.cloudflare.com";

/** What a provider's script does: a button in place of its CAPTCHA, with a field of its own. */
const script = `
  let solved = 0;
  window.turnstile = {
    render(box, { sitekey, callback }) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "I am a person";
      button.addEventListener("click", () => callback("solved " + sitekey + " " + ++solved));
      const field = document.createElement("input");
      field.type = "hidden";
      const frame = document.createElement("iframe");
      frame.src = "${provider}/frame";
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

describe("the pages on which people sign in, where they solve a CAPTCHA", () => {
  let verifier: HttpServer;
  let server: Server;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[]; // of the browser, about the page
  let signIns: (string | undefined)[]; // the answers of the CAPTCHA that were sent
  let blocked: boolean;
  const used = new Set<string>();

  before(async () => {
    verifier = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) {
        body += chunk;
      }
      const answer = new URLSearchParams(body).get("response") ?? "";
      response.end(JSON.stringify({ success: answer.startsWith("solved the-site") && !used.has(answer) }));
      used.add(answer);
    });
    await new Promise<void>((resolve, reject) => verifier.once("error", reject).listen(0, "127.0.0.1", resolve));
    browser = await startChromium();
    server = await startServer("pages-captcha", {
      MANAGER_CAPTCHA_PROVIDER: "turnstile",
      MANAGER_CAPTCHA_SECRET: "the server's secret",
      MANAGER_CAPTCHA_SITE_KEY: "the-site",
      MANAGER_CAPTCHA_VERIFY_URL: `http://127.0.0.1:${(verifier.address() as AddressInfo).port}`,
    });
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    verifier?.close();
    verifier?.closeAllConnections();
  });

  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
    [complaints, signIns, blocked] = [[], [], false];
    page.on("pageerror", (error) => complaints.push(`${error}`));
    page.on("console", (entry) => {
      if (["error", "warning"].includes(entry.type()) && !/^Failed to load resource: /.test(entry.text())) {
        complaints.push(`${entry.type()}: ${entry.text()}`);
      }
    });
    page.on("request", (request) => {
      if (request.url().endsWith("/SignInWithPassword")) {
        signIns.push(request.headers()["captcha-response"]);
      }
    });
    await context.route(`${provider}/**`, async (route) => {
      const { pathname } = new URL(route.request().url());
      const referrer = route.request().headers()["referer"];
      if (referrer !== undefined && referrer !== `${server.url}/`) {
        complaints.push(`the provider is told ${referrer}`);
      }
      return blocked
        ? route.abort()
        : route.fulfill(
            pathname.endsWith("/api.js")
              ? { contentType: "text/javascript", body: script }
              : { contentType: "text/html", body: "<!DOCTYPE html><title>frame</title>" },
          );
    });
  });
  afterEach(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });

  it("show it, and sign in by its answer, once for each", async () => {
    const { email, newEmail } = await openEmailChange();
    await page.getByRole("button", { name: "I am a person" }).waitFor();
    await signIn(email, password);
    await says("Confirm above the button that you are a person.");
    assert.deepEqual(signIns, []);

    await press("I am a person");
    await signIn(email, "not the password");
    await says("The address or the password is wrong.");
    assert.equal(await page.evaluate(() => document.body.dataset["reset"]), "the widget");
    await signIn(email, password); // The answer is used.
    await says("Confirm above the button that you are a person.");
    await press("I am a person");
    await signIn(email, password);
    await page.getByRole("heading", { level: 1, name: "Your address is changed", exact: true }).waitFor({ timeout: 10_000 });
    assert.deepEqual(signIns, ["solved the-site 1", "solved the-site 2"]);
    assert.ok(page.frames().some((frame) => frame.url() === `${provider}/frame`));
    assert.ok((await page.getByRole("main").innerText()).includes(newEmail));
  });

  it("say so when it cannot be shown, and try again", async () => {
    blocked = true;
    const { email } = await openEmailChange();
    await signIn(email, password);
    await says("It cannot be checked whether you are a person.");
    assert.deepEqual(signIns, []);

    blocked = false;
    await signIn(email, password);
    await says("Confirm above the button that you are a person.");
    await press("I am a person");
    await signIn(email, password);
    await page.getByRole("heading", { level: 1, name: "Your address is changed", exact: true }).waitFor({ timeout: 10_000 });
    assert.deepEqual(signIns, ["solved the-site 1"]);
  });

  it("load nothing of the provider before it is needed", async () => {
    let asked = false;
    page.on("request", (request) => (asked ||= !request.url().startsWith(server.url)));
    const { link } = await changeEmail();
    await page.goto(link);
    await page.getByRole("button", { name: "Confirm new address" }).waitFor();
    await page.waitForLoadState("networkidle");
    assert.ok(!asked);
  });

  /** Makes an account by the API, which asks for another address, and returns the mailed link. */
  async function changeEmail(): Promise<{ email: string; newEmail: string; link: string }> {
    const [email, newEmail] = [newAddress(), newAddress()];
    let token: string | undefined;
    const manager = createManager({ baseUrl: server.url, sessionToken: () => token });
    const { registration } = await manager.registration.register(
      { email, password, workspaceName: "Analytical Engines" },
      { headers: { "Captcha-Response": `solved the-site by ${email}` } },
    );
    const { account } = await manager.registration.verifyRegistration({
      registrationId: registration!.id,
      code: await codeMailedTo(server.url, email),
    });
    token = account!.sessionToken;
    await manager.users.requestEmailChange({ newEmail });
    used.clear(); // Each page counts its answers from one.
    return { email, newEmail, link: await linkMailedTo(server.url, newEmail, "/confirm-email") };
  }

  /** Opens a page that asks to sign in. */
  async function openEmailChange(): Promise<{ email: string; newEmail: string }> {
    const { link, ...addresses } = await changeEmail();
    await page.goto(link);
    await press("Confirm new address");
    await says("Sign in to go on");
    return addresses;
  }

  async function signIn(email: string, password: string): Promise<void> {
    await page.getByLabel("Current e-mail address").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await page.locator("#sign-in").getByRole("button", { name: /^(Sign in and confirm|Try again)$/ }).click();
  }

  async function press(name: string): Promise<void> {
    await page.getByRole("button", { name, exact: true }).click();
  }

  /** Waits until the page says this. */
  async function says(text: string): Promise<void> {
    await page.getByRole("status").filter({ hasText: text }).waitFor({ timeout: 10_000 });
  }
});
