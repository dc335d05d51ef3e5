import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, beforeEach, describe, it } from "node:test";
import { codeMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { password, startConsole } from "./support.js";

const provider = "https://challenges.cloudflare.com";

/** What a provider's script does: a button in place of its CAPTCHA. */
const script = `
  window.turnstile = {
    render(box, { sitekey, callback }) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "I am a person";
      button.addEventListener("click", () => callback("solved " + sitekey + " " + Math.random()));
      const frame = document.createElement("iframe");
      frame.src = "${provider}/frame";
      frame.title = "CAPTCHA";
      frame.width = frame.height = 20;
      box.append(button, frame);
    },
  };
  captchaLoaded();
`;

describe("the console, where people solve a CAPTCHA", () => {
  let verifier: Server;
  let asked: string[]; // of the provider, by the pages
  const used = new Set<string>();
  const t = startConsole(
    "console-captcha",
    async () => {
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
      return {
        MANAGER_CAPTCHA_PROVIDER: "turnstile",
        MANAGER_CAPTCHA_SECRET: "the server's secret",
        MANAGER_CAPTCHA_SITE_KEY: "the-site",
        MANAGER_CAPTCHA_VERIFY_URL: `http://127.0.0.1:${(verifier.address() as AddressInfo).port}`,
      };
    },
    [provider],
  );
  const { shows, reads, fill, press, answer, enterCode, isAccessible, signOut } = t;
  after(() => {
    verifier?.close();
    verifier?.closeAllConnections();
  });
  beforeEach(async () => {
    asked = [];
    await t.context().route(`${provider}/**`, async (route) => {
      const { pathname } = new URL(route.request().url());
      asked.push(pathname);
      const referrer = route.request().headers()["referer"];
      assert.ok(referrer === undefined || referrer === `${t.url()}/`, referrer);
      await route.fulfill(
        pathname.endsWith("/api.js")
          ? { contentType: "text/javascript", body: script }
          : { contentType: "text/html", body: '<!DOCTYPE html><html lang="en"><title>frame</title>' },
      );
    });
  });

  it("shows it once the server asks for it, for each try anew", async () => {
    const email = newAddress();
    await t.open("/sign-up");
    await shows("Create your account");
    await fill({ "E-mail address": email, Password: password, "Name of your workspace": "People" });
    await t.page().waitForLoadState("networkidle");
    assert.deepEqual(asked, []);
    await press("Sign up");
    await isPerson();
    await shows("Check your e-mail");
    await enterCode(await codeMailedTo(t.url(), email));
    await shows("People");

    await signOut();
    await fill({ "E-mail address": email, Password: "not the password" });
    await press("Sign in");
    await t.page().getByRole("dialog", { name: "Are you a person?" }).waitFor();
    await isAccessible();
    await t.page().keyboard.press("Escape");
    await t.page().getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await t.page().getByRole("alert").count(), 0);
    await press("Sign in");
    await isPerson();
    await reads(/password is wrong/);
    await fill({ Password: password });
    await press("Sign in");
    await isPerson();
    await shows("People");

    await signOut();
    await fill({ "E-mail address": email });
    await press("Get a code by e-mail");
    await isPerson();
    await shows("Enter the code");
    await t.open("/forgot-password");
    await fill({ "E-mail address": email });
    await press("Send a code");
    await isPerson();
    await t.page().getByLabel("New password").waitFor();
  });

  async function isPerson(): Promise<void> {
    await t.page().getByRole("dialog", { name: "Are you a person?" }).waitFor();
    await answer("I am a person");
    await t.page().getByRole("dialog").waitFor({ state: "detached" });
  }
});
