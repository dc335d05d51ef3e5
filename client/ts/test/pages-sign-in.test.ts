import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createManager } from "@logicspike/manager";
import { addAuthenticator, type Authenticator } from "./authenticator.js";
import { linkMailedTo, newAddress } from "./mailbox.js";
import { password, startPages, type Account } from "./pages.js";
import { totpCode } from "./totp.js";

describe("the pages by which somebody signs in", () => {
  const t = startPages("pages-sign-in");
  const {
    page, context, calls, newAccount, invite, membersOf, fillIn, seesButtons, cookies, getMe, callWithCookie, open,
    press, shows, says, refuses, pictures,
  } = t;
  const signInLinks = new Map<string, string>(); // the newest ones, by address

  it("sign in by the mailed link in the browser that asked, and not by opening it", async () => {
    const { email } = await newAccount();
    const link = await askToSignInByMail(email);

    await open(link);
    await page().getByRole("button", { name: "Sign in", exact: true }).waitFor();
    await pictures("sign-in-by-email");
    await page().reload(); // without the token, which is gone
    await shows("Open the link in the mail");
    assert.deepEqual(calls, ["GetSession"]);
    calls.length = 0;
    await open(link);
    await press("Sign in");
    await shows("Welcome");
    await says("This browser is signed in.");
    await pictures("sign-in-by-email-done");
    assert.deepEqual(calls, ["CompleteEmailSignIn"]);
    assert.equal(await getMe(), email);
    const [cookie, ...more] = await cookies();
    assert.deepEqual([cookie?.name, cookie?.httpOnly, more.length], ["__Host-manager_session", true, 0]);

    await page().goto("about:blank");
    await page().goto(link);
    await press("Sign in");
    await shows("This link does not work here");
    assert.equal(await getMe(), email); // the session is as it was
  });

  it("sign nobody in elsewhere than where it was asked for", async () => {
    const { email } = await newAccount();
    const link = await askToSignInByMail(email);
    const other = await t.newContext();
    const foreign = await t.newPage(other);
    await foreign.goto(link);
    await foreign.getByRole("button", { name: "Sign in", exact: true }).click();
    await foreign.getByRole("heading", { name: "This link does not work here" }).waitFor();
    assert.deepEqual(await other.cookies(), []);

    await open(link); // where it was asked for it works
    await press("Sign in");
    await shows("Welcome");
    assert.equal(await getMe(), email);

    // An app or another program asked.
    const { email: another } = await newAccount();
    await createManager({ baseUrl: t.url() }).emailChallenges.startEmailSignIn({ email: another });
    await open(await linkMailedTo(t.url(), another, "/sign-in-by-email"));
    await press("Sign in");
    await shows("This link does not work here");
    await says("If it was an app or another device, type the code from the mail in there.");
    await pictures("sign-in-by-email-void");
    assert.equal(await getMe(), email);
  });

  it("ask for the second factor after a sign-in by mail, also when they are loaded anew", async () => {
    const account = await newAccount();
    const { secret, recoveryCodes } = await addAuthenticatorApp(account);
    await open(await askToSignInByMail(account.email));
    await press("Sign in");
    await says("One step is left: your account asks for a second proof that it is you.");
    await seesButtons("Continue", "Use a recovery code");
    await pictures("second-factor-totp");
    await press("Continue");
    await refuses("Code from the app", "Enter the six digits from the app.");
    await fillIn({ "Code from the app": "12345" });
    await press("Continue");
    await refuses("Code from the app", /^This code is wrong, or was used before\./);
    await pictures("second-factor-refused");

    await page().reload();
    await says("One step is left");
    await press("Use a recovery code");
    assert.equal(await page().evaluate(() => document.activeElement?.id), "recovery-code");
    await pictures("second-factor-recovery");
    await fillIn({ "Recovery code": "not-one" });
    await press("Continue");
    await refuses("Recovery code", /^This code is wrong, or was used before\./);
    await press("Use the authenticator app");
    const code = totpCode(secret, 1); // The one of now was used to confirm the app.
    await fillIn({ "Code from the app": `${code.slice(0, 3)} ${code.slice(3)}` });
    await page().keyboard.press("Enter");
    await shows("Welcome");
    assert.equal(await getMe(), account.email);

    calls.length = 0;
    await open(await askToSignInByMail(account.email));
    await press("Sign in");
    await press("Use a recovery code");
    await fillIn({ "Recovery code": recoveryCodes[0]! });
    await press("Continue");
    await shows("Welcome");
    assert.deepEqual(calls, ["CompleteEmailSignIn", "GetSession", "VerifySecondFactor"]);
    assert.equal(await getMe(), account.email);
  });

  it("take a passkey for the second factor", async () => {
    const account = await newAccount();
    const device = await addPasskey(account);
    await open(await askToSignInByMail(account.email));
    await press("Sign in");
    await says("One step is left");
    await seesButtons("Use a passkey", "Use a recovery code");
    await pictures("second-factor-passkey");
    await device.verifyUser(false);
    await press("Use a passkey");
    await says("No passkey was used. Try again, or use another way.");
    await device.verifyUser(true);
    await press("Use a passkey");
    await shows("Welcome");
    assert.equal(await getMe(), account.email);
  });

  it("say that the sign-in took too long, or that the browser did not keep it", async () => {
    const account = await newAccount();
    const { secret } = await addAuthenticatorApp(account);
    await open(await askToSignInByMail(account.email));
    await press("Sign in");
    await says("One step is left");
    await context().clearCookies();
    await fillIn({ "Code from the app": totpCode(secret, 1) });
    await press("Continue");
    await shows("That took too long");
    assert.equal(await page().getByRole("button").count(), 0);

    await open(await askToSignInByMail(account.email));
    await page().route("**/CompleteEmailSignIn", async (route) => {
      const response = await route.fetch();
      await context().clearCookies();
      await route.fulfill({ status: 200, contentType: "application/json", body: await response.text() });
    });
    await press("Sign in");
    await shows("This browser did not keep your sign-in");
    await pictures("sign-in-by-email-not-kept");
  });

  it("ask for the second factor before an address is changed, or a workspace joined", async () => {
    const [account, owner] = [await newAccount("Own"), await newAccount()];
    const { recoveryCodes } = await addAuthenticatorApp(account);
    const newEmail = newAddress();
    await account.manager.users.requestEmailChange({ newEmail });
    const link = await linkMailedTo(t.url(), newEmail, "/confirm-email");
    const invitation = (await invite(owner, account.email)).link;

    await open(invitation);
    await fillIn({ "E-mail address": account.email, Password: password });
    await press("Sign in and join");
    await says("One step is left");
    await pictures("invitation-second-factor");
    await press("Use a recovery code");
    await fillIn({ "Recovery code": recoveryCodes[0]! });
    await press("Continue");
    await shows("Welcome");
    assert.deepEqual(await membersOf(owner), [owner.email, account.email]);

    await context().clearCookies();
    await open(link);
    await press("Confirm new address");
    await says("Sign in to go on");
    await fillIn({ "Current e-mail address": account.email, Password: password });
    await press("Sign in and confirm");
    await says("One step is left");
    await open(link); // With a session that owes its second factor already.
    await press("Confirm new address");
    await says("One step is left");
    await press("Use a recovery code");
    await fillIn({ "Recovery code": recoveryCodes[1]! });
    await press("Continue");
    await shows("Your address is changed");
    assert.equal(await getMe(), newEmail);
  });

  /** Asks, from the browser beside the page, for a mail to sign in by, and returns its link. */
  async function askToSignInByMail(email: string): Promise<string> {
    await callWithCookie("auth.v1.EmailChallengeService/StartEmailSignIn", { email, sessionTransport: "SESSION_TRANSPORT_COOKIE" });
    const link = await linkMailedTo(t.url(), email, "/sign-in-by-email", signInLinks.get(email));
    signInLinks.set(email, link);
    return link;
  }

  /** Gives an account an authenticator app. */
  async function addAuthenticatorApp({ manager }: Account): Promise<{ secret: string; recoveryCodes: string[] }> {
    const { totpFactorId, secret } = await manager.secondFactors.createTotpFactor({});
    const { recoveryCodes } = await manager.secondFactors.confirmTotpFactor({ totpFactorId, code: totpCode(secret) });
    return { secret, recoveryCodes };
  }

  /** Gives an account a passkey, which the page's device holds. */
  async function addPasskey({ manager }: Account): Promise<Authenticator> {
    await page().goto(`${t.url()}/reset-password`); // any page that calls nothing
    const authenticator = await addAuthenticator(page());
    const { challengeId, optionsJson } = await manager.passkeys.startPasskeyRegistration({});
    const credentialJson = await page().evaluate(async (options) => {
      const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(options));
      return JSON.stringify(((await navigator.credentials.create({ publicKey })) as PublicKeyCredential).toJSON());
    }, optionsJson);
    await manager.passkeys.registerPasskey({ challengeId, credentialJson });
    return authenticator;
  }
});
