import assert from "node:assert/strict";
import { after, beforeEach, describe, it } from "node:test";
import { captchaOrigin, startCaptchaProvider, type CaptchaProvider } from "../../client/ts/test/captcha.js";
import { codeMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { password, startConsole } from "./support.js";

describe("the console, where people solve a CAPTCHA", () => {
  let provider: CaptchaProvider;
  const t = startConsole("console-captcha", async () => (provider = await startCaptchaProvider()).settings, [captchaOrigin]);
  const { shows, reads, fill, press, answer, enterCode, isAccessible, signOut } = t;
  after(() => provider?.stop());
  beforeEach(() => provider.standIn(t.context(), t.url(), t.complaints));

  it("shows it once the server asks for it, for each try anew", async () => {
    const email = newAddress();
    await t.open("/sign-up");
    await shows("Create your account");
    await fill({ "E-mail address": email, Password: password, "Name of your workspace": "People" });
    await t.page().waitForLoadState("networkidle");
    assert.deepEqual(provider.asked, []);
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
