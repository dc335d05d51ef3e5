import assert from "node:assert/strict";
import { after, beforeEach, describe, it } from "node:test";
import { createManager } from "@logicspike/manager";
import { startBrowsing } from "./browsing.js";
import { captchaOrigin, startCaptchaProvider, type CaptchaProvider } from "./captcha.js";
import { codeMailedTo, linkMailedTo, newAddress } from "./mailbox.js";

const password = "maple-lantern-quartz";

describe("the pages on which people sign in, where they solve a CAPTCHA", () => {
  let provider: CaptchaProvider;
  let signIns: (string | undefined)[]; // the answers of the CAPTCHA that were sent
  const { url, page, complaints } = startBrowsing("pages-captcha", {
    settings: async () => (provider = await startCaptchaProvider()).settings,
    friends: [captchaOrigin],
    tolerated: /^Failed to load resource: /,
  });
  after(() => provider?.stop());
  beforeEach(async () => {
    signIns = [];
    page().on("request", (request) => {
      if (request.url().endsWith("/SignInWithPassword")) {
        signIns.push(request.headers()["captcha-response"]);
      }
    });
    await provider.standIn(page().context(), url(), complaints);
  });

  it("show it, and sign in by its answer, once for each", async () => {
    const { email, newEmail } = await openEmailChange();
    await page().getByRole("button", { name: "I am a person" }).waitFor();
    await signIn(email, password);
    await says("Confirm above the button that you are a person.");
    assert.deepEqual(signIns, []);

    await press("I am a person");
    await signIn(email, "not the password");
    await says("The address or the password is wrong.");
    assert.equal(await page().evaluate(() => document.body.dataset["reset"]), "the widget");
    await signIn(email, password); // The answer is used.
    await says("Confirm above the button that you are a person.");
    await press("I am a person");
    await signIn(email, password);
    await page().getByRole("heading", { level: 1, name: "Your address is changed", exact: true }).waitFor({ timeout: 10_000 });
    assert.deepEqual(signIns, ["solved the-site 1", "solved the-site 2"]);
    assert.ok(page().frames().some((frame) => frame.url() === `${captchaOrigin}/frame`));
    assert.ok((await page().getByRole("main").innerText()).includes(newEmail));
  });

  it("say so when it cannot be shown, and try again", async () => {
    provider.blocked = true;
    const { email } = await openEmailChange();
    await signIn(email, password);
    await says("It cannot be checked whether you are a person.");
    assert.deepEqual(signIns, []);

    provider.blocked = false;
    await signIn(email, password);
    await says("Confirm above the button that you are a person.");
    await press("I am a person");
    await signIn(email, password);
    await page().getByRole("heading", { level: 1, name: "Your address is changed", exact: true }).waitFor({ timeout: 10_000 });
    assert.deepEqual(signIns, ["solved the-site 1"]);
  });

  it("load nothing of the provider before it is needed", async () => {
    let asked = false;
    page().on("request", (request) => (asked ||= !request.url().startsWith(url())));
    const { link } = await changeEmail();
    await page().goto(link);
    await page().getByRole("button", { name: "Confirm new address" }).waitFor();
    await page().waitForLoadState("networkidle");
    assert.ok(!asked);
  });

  /** Makes an account by the API, which asks for another address, and returns the mailed link. */
  async function changeEmail(): Promise<{ email: string; newEmail: string; link: string }> {
    const [email, newEmail] = [newAddress(), newAddress()];
    let token: string | undefined;
    const manager = createManager({ baseUrl: url(), sessionToken: () => token });
    const { registration } = await manager.registration.register(
      { email, password, workspaceName: "Analytical Engines" },
      { headers: { "Captcha-Response": provider.answer() } },
    );
    const { account } = await manager.registration.verifyRegistration({
      registrationId: registration!.id,
      code: await codeMailedTo(url(), email),
    });
    token = account!.sessionToken;
    await manager.users.requestEmailChange({ newEmail });
    return { email, newEmail, link: await linkMailedTo(url(), newEmail, "/confirm-email") };
  }

  /** Opens a page that asks to sign in. */
  async function openEmailChange(): Promise<{ email: string; newEmail: string }> {
    const { link, ...addresses } = await changeEmail();
    await page().goto(link);
    await press("Confirm new address");
    await says("Sign in to go on");
    return addresses;
  }

  async function signIn(email: string, password: string): Promise<void> {
    await page().getByLabel("Current e-mail address").fill(email);
    await page().getByLabel("Password", { exact: true }).fill(password);
    await page().locator("#sign-in").getByRole("button", { name: /^(Sign in and confirm|Try again)$/ }).click();
  }

  async function press(name: string): Promise<void> {
    await page().getByRole("button", { name, exact: true }).click();
  }

  /** Waits until the page says this. */
  async function says(text: string): Promise<void> {
    await page().getByRole("status").filter({ hasText: text }).waitFor({ timeout: 10_000 });
  }
});
