import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { createManager, InvitationState, isReason, type Manager } from "@logicspike/manager";
import type { Browser, BrowserContext, Cookie, Page } from "playwright-core";
import { addAuthenticator, type Authenticator } from "./authenticator.js";
import { startChromium } from "./chromium.js";
import { codeMailedTo, findMailedTo, linkMailedTo, newAddress } from "./mailbox.js";
import { outputFolder } from "./paths.js";
import { startServer, type Server } from "./server.js";
import { totpCode } from "./totp.js";

const password = "maple-lantern-quartz";
const newPassword = "walnut-harbour-violin";
const voidLink = "This link no longer works";

const schemes = [
  { name: "light", colorScheme: "light", width: 1000, height: 760 },
  { name: "dark", colorScheme: "dark", width: 1000, height: 760 },
  { name: "phone", colorScheme: "light", width: 320, height: 640 },
] as const;

/** An account that owns a workspace. */
interface Account {
  manager: Manager;
  email: string;
  workspaceId: string;
}

describe("the pages that mails link to", () => {
  let server: Server;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let complaints: string[]; // of the browser, about the pages
  let calls: string[]; // of the API, by the page
  let secrets: string[]; // that must be in no URL and no header
  const signInLinks = new Map<string, string>(); // the newest ones, by address

  before(async () => {
    mkdirSync(join(outputFolder, "pages"), { recursive: true });
    browser = await startChromium();
    server = await startServer("pages");
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
    complaints = [];
    calls = [];
    secrets = [];
    page.on("pageerror", (error) => complaints.push(`${error}`));
    page.on("console", (entry) => {
      // The browser notes each answer that is an error of the API. Nothing else may be there.
      if (["error", "warning"].includes(entry.type()) && !/^Failed to load resource: the server responded with a status of 4\d\d /.test(entry.text())) {
        complaints.push(`${entry.type()}: ${entry.text()}`);
      }
    });
    page.on("request", (request) => {
      const { origin, pathname, search } = new URL(request.url()); // without the fragment, which is not sent
      const sent = decodeURIComponent(pathname + search) + JSON.stringify(request.headers());
      if (secrets.some((secret) => sent.includes(secret))) {
        complaints.push(`a token in the URL or a header of ${request.method()} ${pathname}`);
      }
      if (origin !== server.url) {
        complaints.push(`a request to ${origin}`);
      }
      if (request.method() !== "GET") {
        calls.push(pathname.replace(/.*\//, ""));
      }
    });
  });
  afterEach(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });

  it("complete a registration for who has its password, and not before", async () => {
    const email = newAddress();
    await register(email);
    const link = await linkMailedTo(server.url, email, "/verify-registration");

    await open(link);
    await page.getByRole("button", { name: "Confirm registration" }).waitFor();
    await pictures("verify");
    await page.reload(); // without the token, which is gone
    await shows("Open the link in the mail");
    assert.deepEqual(calls, []);
    assert.ok(!(await canSignIn(email, password)), "opening the page has completed the registration");

    await open(link);
    await press("Confirm registration");
    await refuses("Your password", "Enter your password.");
    await page.getByLabel("Your password", { exact: true }).fill("what somebody else would have chosen");
    await press("Confirm registration");
    await refuses("Your password", "This is not the password that you chose when you registered.");
    await pictures("verify-refused");
    calls = [];
    await page.getByLabel("Your password", { exact: true }).fill(password);
    await page.keyboard.press("Enter");
    await shows("Welcome");
    await says(email);
    await says("“Analytical Engines”");
    await pictures("verify-done");
    assert.deepEqual(calls, ["VerifyRegistration"]);
    assert.ok(await canSignIn(email, password));
    assert.deepEqual(await getMe(), email);
    const [cookie, ...more] = await cookies();
    assert.deepEqual([cookie?.name, cookie?.httpOnly, more.length], ["__Host-manager_session", true, 0]);

    await open(link);
    await confirmRegistration();
    await shows(voidLink);
    await says("If you have confirmed before, go to the application and sign in.");
    assert.deepEqual(await getMe(), email); // the session is as it was
  });

  it("complete a registration once when the first answer is lost", async () => {
    const email = newAddress();
    await register(email);
    await open(await linkMailedTo(server.url, email, "/verify-registration"));
    await page.route("**/VerifyRegistration", async (route) => {
      await route.fetch();
      await route.abort();
    });
    await confirmRegistration();
    await says("The server could not be reached.");
    assert.deepEqual(complaints.splice(0), ["error: Failed to load resource: net::ERR_FAILED"]);
    assert.ok(await canSignIn(email, password));
    await pictures("verify-network");

    await page.unroute("**/VerifyRegistration");
    await press("Try again");
    await shows("Welcome");
    assert.deepEqual(await getMe(), email);
  });

  it("set a new password, which must be a good one", async () => {
    const { manager, email } = await newAccount();
    await manager.passwords.requestPasswordReset({ email });
    const link = await linkMailedTo(server.url, email, "/reset-password");

    await open(link);
    const field = page.getByLabel("New password", { exact: true });
    await press("Set new password");
    await refuses("New password", "Enter a new password.");
    await field.fill("short");
    await press("Set new password");
    await refuses("New password", "The password is not accepted: must have 12 to 128 characters.");
    await field.fill("password1234");
    await press("Show password");
    assert.equal(await field.getAttribute("type"), "text");
    await press("Set new password");
    await refuses("New password", "This password is too easily guessed. Choose another one.");
    assert.equal(await field.getAttribute("type"), "password");
    await pictures("reset-common");
    await field.fill("x".repeat(2000));
    await press("Set new password");
    await refuses("New password", /^The password is not accepted: /);
    assert.ok(await canSignIn(email, password));

    await field.fill(newPassword);
    await page.keyboard.press("Enter");
    await shows("Your password is changed");
    await says("You can sign in with it now.");
    assert.ok(await canSignIn(email, newPassword));
    assert.ok(!(await canSignIn(email, password)));
    assert.equal(await field.inputValue(), "");
    assert.deepEqual(await cookies(), []);

    await open(link);
    await field.fill("another-good-one-91");
    await press("Set new password");
    await shows(voidLink);
    assert.ok(await canSignIn(email, newPassword));
  });

  it("give an account its new address, with a sign-in on the way", async () => {
    const { manager, email } = await newAccount();
    const newEmail = newAddress();
    await manager.users.requestEmailChange({ newEmail });
    const link = await linkMailedTo(server.url, newEmail, "/confirm-email");

    await open(link);
    await press("Confirm new address");
    await says("Sign in to go on");
    await pictures("confirm-sign-in");
    await press("Sign in and confirm");
    await refuses("Password", "Enter your password.");
    await refuses("Current e-mail address", "Enter your e-mail address.");
    await page.getByLabel("Current e-mail address").fill(email);
    await page.getByLabel("Password", { exact: true }).fill("not the password");
    await press("Sign in and confirm");
    await says("The address or the password is wrong.");
    await page.getByLabel("Password", { exact: true }).fill(password);
    await press("Sign in and confirm");
    await shows("Your address is changed");
    await says(newEmail);
    assert.deepEqual(calls, [
      "ConfirmEmailChange",
      "SignInWithPassword",
      "SignInWithPassword",
      "ConfirmEmailChange",
    ]);
    assert.deepEqual(await getMe(), newEmail);
    assert.ok(await canSignIn(newEmail, password));
    assert.ok(!(await canSignIn(email, password)));

    await open(link);
    await press("Confirm new address");
    await shows("This link does not work");
  });

  it("give an account its new address at once to who is signed in, and not to somebody else's", async () => {
    const { manager, email } = await newAccount();
    const somebody = await newAccount();
    await signIn(somebody.email);
    const newEmail = newAddress();
    await manager.users.requestEmailChange({ newEmail });

    await open(await linkMailedTo(server.url, newEmail, "/confirm-email"));
    await press("Confirm new address");
    await shows("This link does not work");
    await pictures("confirm-void");
    assert.deepEqual(await getMe(), somebody.email);

    await signIn(email); // as in another tab
    await press("Sign in with another account");
    await shows("Confirm your new e-mail address");
    await page.getByLabel("Current e-mail address").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await press("Sign in and confirm");
    await shows("Your address is changed");
    assert.deepEqual(await getMe(), newEmail);

    const next = newAddress();
    await manager.users.requestEmailChange({ newEmail: next });
    await open(await linkMailedTo(server.url, next, "/confirm-email"));
    await press("Confirm new address");
    await shows("Your address is changed");
    assert.deepEqual(await getMe(), next);
  });

  it("sign in by the mailed link in the browser that asked, and not by opening it", async () => {
    const { email } = await newAccount();
    const link = await askToSignInByMail(email);

    await open(link);
    await page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
    await pictures("sign-in-by-email");
    await page.reload(); // without the token, which is gone
    await shows("Open the link in the mail");
    assert.deepEqual(calls, ["GetSession"]);
    calls = [];
    await open(link);
    await press("Sign in");
    await shows("Welcome");
    await says("This browser is signed in.");
    await pictures("sign-in-by-email-done");
    assert.deepEqual(calls, ["CompleteEmailSignIn"]);
    assert.equal(await getMe(), email);
    const [cookie, ...more] = await cookies();
    assert.deepEqual([cookie?.name, cookie?.httpOnly, more.length], ["__Host-manager_session", true, 0]);

    await page.goto("about:blank");
    await page.goto(link);
    await press("Sign in");
    await shows("This link does not work here");
    assert.equal(await getMe(), email); // the session is as it was
  });

  it("sign nobody in elsewhere than where it was asked for", async () => {
    const { email } = await newAccount();
    const link = await askToSignInByMail(email);
    const other = await browser.newContext();
    const foreign = await other.newPage();
    await foreign.goto(link);
    await foreign.getByRole("button", { name: "Sign in", exact: true }).click();
    await foreign.getByRole("heading", { name: "This link does not work here" }).waitFor();
    assert.deepEqual(await other.cookies(), []);
    await other.close();

    await open(link); // where it was asked for it works
    await press("Sign in");
    await shows("Welcome");
    assert.equal(await getMe(), email);

    // An app or another program asked.
    const { email: another } = await newAccount();
    await createManager({ baseUrl: server.url }).emailChallenges.startEmailSignIn({ email: another });
    await open(await linkMailedTo(server.url, another, "/sign-in-by-email"));
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

    await page.reload();
    await says("One step is left");
    await press("Use a recovery code");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "recovery-code");
    await pictures("second-factor-recovery");
    await fillIn({ "Recovery code": "not-one" });
    await press("Continue");
    await refuses("Recovery code", /^This code is wrong, or was used before\./);
    await press("Use the authenticator app");
    const code = totpCode(secret, 1); // The one of now was used to confirm the app.
    await fillIn({ "Code from the app": `${code.slice(0, 3)} ${code.slice(3)}` });
    await page.keyboard.press("Enter");
    await shows("Welcome");
    assert.equal(await getMe(), account.email);

    calls = [];
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
    await context.clearCookies();
    await fillIn({ "Code from the app": totpCode(secret, 1) });
    await press("Continue");
    await shows("That took too long");
    assert.equal(await page.getByRole("button").count(), 0);

    await open(await askToSignInByMail(account.email));
    await page.route("**/CompleteEmailSignIn", async (route) => {
      const response = await route.fetch();
      await context.clearCookies();
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
    const link = await linkMailedTo(server.url, newEmail, "/confirm-email");
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

    await context.clearCookies();
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

  it("let somebody new join by an invitation, and not by opening it", async () => {
    const owner = await newAccount();
    const email = newAddress();
    const { link, id } = await invite(owner, email);

    for (let i = 0; i < 2; i++) {
      await open(link);
      await shows("You are invited");
    }
    await tells(`${owner.email.replace(/@.*/, "")} invites you to join the workspace “Analytical Engines”, with the role “member”.`);
    await tells(/^.*The invitation is for .\*+@example\.com and can be used until [0-9]{1,2} [A-Z][a-z]+ 20[0-9]{2}.* [0-9]{2}:[0-9]{2} /);
    assert.ok(!(await page.locator("main").innerText()).includes(email), "the page shows the whole address");
    await seesButtons("Show password", "Create account and join", "Decline invitation");
    await pictures("invitation-register");
    await page.reload(); // without the token, which is gone
    await shows("Open the link in the mail");
    assert.deepEqual(calls, ["GetInvitationByToken", "GetInvitationByToken"]);
    assert.equal(await stateOf(owner, id), "PENDING");
    assert.deepEqual(await membersOf(owner), [owner.email]);

    await open(link);
    await press("Create account and join");
    await refuses("New password", "Enter a new password.");
    await refuses("Your name", "Enter your name.");
    await fillIn({ "Your name": "Grace <b>Hopper</b>", "New password": "short" });
    await press("Create account and join");
    await refuses("New password", "The password is not accepted: must have 12 to 128 characters.");
    await fillIn({ "New password": "password1234" });
    await press("Create account and join");
    await refuses("New password", "This password is too easily guessed. Choose another one.");
    await pictures("invitation-refused");
    calls = [];
    await fillIn({ "New password": newPassword });
    await page.keyboard.press("Enter");
    await shows("Welcome");
    await says("You are a member of the workspace “Analytical Engines” now.");
    await says("You are signed in.");
    await pictures("invitation-done");
    assert.deepEqual(calls, ["RegisterWithInvitation"]);
    assert.equal(await page.getByRole("button").count(), 0);
    assert.equal(await page.locator("#new-password").inputValue(), "");
    assert.equal(await getMe(), email);
    assert.ok(await canSignIn(email, newPassword));
    assert.deepEqual(await membersOf(owner), [owner.email, email]);
    const [cookie, ...more] = await cookies();
    assert.deepEqual([cookie?.name, cookie?.httpOnly, more.length], ["__Host-manager_session", true, 0]);

    await page.goto("about:blank");
    await page.goto(link);
    await shows("This invitation was used already");
    assert.equal(await page.getByRole("button").count(), 0);
  });

  it("make one account by an invitation when the first answer is lost", async () => {
    const owner = await newAccount();
    const email = newAddress();
    await open((await invite(owner, email)).link);
    await page.route("**/RegisterWithInvitation", async (route) => {
      await route.fetch();
      await route.abort();
    });
    await fillIn({ "Your name": "Grace", "New password": newPassword });
    await press("Create account and join");
    await says("The server could not be reached.");
    assert.deepEqual(complaints.splice(0), ["error: Failed to load resource: net::ERR_FAILED"]);
    assert.deepEqual(await membersOf(owner), [owner.email, email]);

    await page.unroute("**/RegisterWithInvitation");
    await press("Try again");
    await shows("Welcome");
    assert.equal(await getMe(), email);
    assert.deepEqual(await membersOf(owner), [owner.email, email]);
  });

  it("let somebody who has an account sign in and join", async () => {
    const [owner, invited] = [await newAccount(), await newAccount("Own")];
    const { link } = await invite(owner, invited.email);

    await open(link);
    await shows("You are invited");
    await seesButtons("Show password", "Sign in and join", "Decline invitation");
    await pictures("invitation-sign-in");
    await fillIn({ "E-mail address": invited.email, Password: "not the password" });
    await press("Sign in and join");
    await says("The address or the password is wrong.");
    await fillIn({ Password: password });
    await page.keyboard.press("Enter");
    await shows("Welcome");
    assert.deepEqual(calls, ["GetInvitationByToken", "SignInWithPassword", "SignInWithPassword", "AcceptInvitation"]);
    assert.deepEqual(await membersOf(owner), [owner.email, invited.email]);
    assert.equal(await getMe(), invited.email);
  });

  it("let somebody who is signed in join by one button", async () => {
    const [owner, invited] = [await newAccount(), await newAccount("Own")];
    await signIn(invited.email);
    await open((await invite(owner, invited.email)).link);
    await seesButtons("Join Analytical Engines", "Decline invitation");
    await pictures("invitation-accept");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await shows("Welcome");
    assert.deepEqual(calls, ["GetInvitationByToken", "AcceptInvitation"]);
    assert.deepEqual(await membersOf(owner), [owner.email, invited.email]);
  });

  it("let nobody join by the invitation of another address", async () => {
    const [owner, invited, somebody] = [await newAccount(), await newAccount("Own"), await newAccount("Another")];
    await signIn(somebody.email);
    await open((await invite(owner, invited.email)).link);
    await says(/You are signed in with another address.* Sign in with .\*+@example\.com to join\./);
    await pictures("invitation-switch");
    await fillIn({ "E-mail address": somebody.email, Password: password });
    await press("Sign in and join");
    await says("You are signed in with another address");
    assert.deepEqual(await membersOf(owner), [owner.email]);
    await fillIn({ "E-mail address": invited.email, Password: password });
    await press("Sign in and join");
    await shows("Welcome");
    assert.equal(await getMe(), invited.email);
    assert.deepEqual(await membersOf(owner), [owner.email, invited.email]);

    // The invited address has no account: it gets one, whoever is signed in.
    const email = newAddress();
    await open((await invite(owner, email)).link);
    await says("You are signed in with another address");
    await press("Create an account");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "name");
    await fillIn({ "Your name": "Grace", "New password": newPassword });
    await press("Create account and join");
    await shows("Welcome");
    assert.equal(await getMe(), email);

    // The invited address has an account after all.
    const other = await newAccount("Other");
    await open((await invite(owner, other.email)).link);
    await says("You are signed in with another address");
    await press("Create an account");
    await fillIn({ "Your name": "Grace", "New password": newPassword });
    await press("Create account and join");
    await says("This address has an account already.");
    await fillIn({ "E-mail address": other.email, Password: password });
    await press("Sign in and join");
    await shows("Welcome");
    assert.equal(await getMe(), other.email);
    assert.ok(!(await canSignIn(other.email, newPassword)));
  });

  it("decline an invitation", async () => {
    const owner = await newAccount();
    const { link, id } = await invite(owner, newAddress());
    await open(link);
    await press("Decline invitation");
    await shows("This invitation is declined");
    await says("You do not join the workspace “Analytical Engines”.");
    await pictures("invitation-declined");
    assert.deepEqual(calls, ["GetInvitationByToken", "DeclineInvitation"]);
    assert.equal(await stateOf(owner, id), "DECLINED");

    await page.goto("about:blank");
    await page.goto(link);
    await shows("This invitation is declined");
    assert.equal(await page.getByRole("button").count(), 0);
  });

  it("ask for a new invitation in place of one that was revoked", async () => {
    const owner = await newAccount();
    const email = newAddress();
    const { link, id } = await invite(owner, email);
    await open(link);
    await owner.manager.invitations.revokeInvitation({ workspaceId: owner.workspaceId, invitationId: id });
    await fillIn({ "Your name": "Grace", "New password": newPassword });
    await press("Create account and join"); // of what was there when the page was opened
    await shows("This invitation was revoked");
    await page.goto("about:blank");
    await open(link);
    await shows("This invitation was revoked");
    await says("“Analytical Engines”");
    await seesButtons("Ask for a new invitation");
    await pictures("invitation-revoked");

    calls = [];
    await press("Ask for a new invitation");
    await shows("You asked for a new invitation");
    assert.deepEqual(calls, ["RequestInvitationRenewal"]);
    assert.equal(await page.getByRole("button").count(), 0);
    await findMailedTo(server.url, owner.email, new RegExp(`${email} asks for a new invitation to the workspace "Analytical Engines"`));
    assert.deepEqual(await membersOf(owner), [owner.email]);

    // A new one works. The old one still says what it is, and asking again changes nothing.
    await owner.manager.invitations.createInvitation({ workspaceId: owner.workspaceId, email });
    const renewed = await linkMailedTo(server.url, email, "/accept-invitation", link);
    await page.goto("about:blank");
    await open(link);
    await press("Ask for a new invitation");
    await shows("You asked for a new invitation");
    await open(renewed);
    await shows("You are invited");
  });

  it("let several people join by one link", async () => {
    const owner = await newAccount();
    const { workspaceId } = owner;
    const { url } = await owner.manager.invitations.createInvitationLink({ workspaceId, role: "viewer", domains: ["example.com"] });
    assert.ok(url.startsWith(`${server.url}/accept-invitation#token=`), url);

    // Somebody new, whose address is to be proven.
    const email = newAddress();
    await open(url);
    await shows("You are invited");
    await tells("with the role “viewer”");
    await tells("It is for mail addresses of example.com.");
    await seesButtons("Show password", "Sign in and join", "Create an account");
    await press("Create an account");
    await seesButtons("Show password", "Create account and join", "I have an account");
    await pictures("invitation-link");
    await fillIn({ "Your e-mail address": "nobody", "Your name": "Grace", "New password": newPassword });
    await press("Create account and join");
    await refuses("Your e-mail address", "This is not a mail address.");
    await fillIn({ "Your e-mail address": email.replace("example.com", "elsewhere.example") });
    await press("Create account and join");
    await refuses("Your e-mail address", /./);
    await fillIn({ "Your e-mail address": email });
    await press("Create account and join");
    await says(`We mailed a code to ${email}.`);
    await seesButtons("Confirm and join", "Send a new code", "Sign in instead");
    await pictures("invitation-code");
    assert.deepEqual(await membersOf(owner), [owner.email]);
    const code = await codeMailedTo(server.url, email);
    await fillIn({ "Code from the mail": code === "000000" ? "000001" : "000000" });
    await press("Confirm and join");
    await refuses("Code from the mail", /^This code is wrong or does not work any more\./);
    await fillIn({ "Code from the mail": `${code.slice(0, 3)} ${code.slice(3)}` });
    await press("Confirm and join");
    await shows("Welcome");
    assert.equal(await getMe(), email);
    assert.deepEqual(await membersOf(owner), [owner.email, email]);

    // Somebody new, who opens the link in the mail instead.
    const next = newAddress();
    const { token } = await owner.manager.invitations.createInvitationLink({ workspaceId, maxUses: 1 });
    await createManager({ baseUrl: server.url }).invitations.registerWithInvitation({ token, email: next, password });
    await open(await linkMailedTo(server.url, next, "/verify-registration"));
    await confirmRegistration();
    await shows("Welcome");
    await says("“Analytical Engines”");
    assert.deepEqual(await membersOf(owner), [owner.email, email, next]);
    await context.clearCookies();
    await page.goto(`${server.url}/accept-invitation#token=${token}`);
    await shows("This link was used already");
    assert.equal(await page.getByRole("button").count(), 0);

    // Somebody who is signed in, but as whom they do not want to be.
    const [somebody, other] = [await newAccount("Own"), await newAccount("Other")];
    await signIn(somebody.email);
    await open(url);
    await tells(`You are signed in as ${somebody.email}.`);
    await seesButtons("Join Analytical Engines", "Use another account");
    await press("Use another account");
    await fillIn({ "E-mail address": other.email, Password: password });
    await press("Sign in and join");
    await shows("Welcome");
    assert.equal(await getMe(), other.email);
    assert.deepEqual(await membersOf(owner), [owner.email, email, next, other.email]);

    const { links } = await owner.manager.invitations.listInvitationLinks({ workspaceId });
    await owner.manager.invitations.revokeInvitationLink({ workspaceId, linkId: links.find(({ domains }) => domains.length > 0)!.id });
    await page.goto("about:blank");
    await page.goto(url);
    await shows("This link was revoked");
    assert.equal(await page.getByRole("button").count(), 0);
  });

  it("show names as text, whatever stands in them", async () => {
    const name = `<b>Acme</b> & "Sons" <img src=x onerror=alert(1)>`;
    const owner = await newAccount(name);
    await owner.manager.users.updateMe({ displayName: "<i>Ada</i>" });
    const invited = await newAccount("Own");
    const { link } = await invite(owner, invited.email);
    await signIn(invited.email);
    await open(link);
    await tells(`<i>Ada</i> invites you to join the workspace “${name}”`);
    await seesButtons(`Join ${name}`, "Decline invitation");
    assert.equal(await page.locator("b, i, img").count(), 0);
    await pictures("invitation-hostile");
    await press(`Join ${name}`);
    await shows("Welcome");
    await says(`“${name}”`);
    assert.equal(await page.locator("b, i, img").count(), 0);
  });

  it("load an invitation again when the server could not be reached", async () => {
    const owner = await newAccount();
    const { link } = await invite(owner, newAddress());
    await page.route("**/GetInvitationByToken", (route) => route.abort());
    await page.goto(link);
    await says("The server could not be reached.");
    await seesButtons("Try again");
    assert.deepEqual(complaints.splice(0), ["error: Failed to load resource: net::ERR_FAILED"]);
    await page.unroute("**/GetInvitationByToken");
    await press("Try again");
    await shows("You are invited");
  });

  it("say how long to wait after too many tries", async () => {
    const email = newAddress();
    for (let i = 0; i < 10; i++) {
      assert.ok(!(await canSignIn(email, "a wrong password")));
    }
    await open(`${server.url}/confirm-email#token=lsme_unknown`);
    await press("Confirm new address");
    await page.getByLabel("Current e-mail address").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(password);
    await press("Sign in and confirm");
    await says(/^That was tried too often\. Try again in [0-9]+ (second|minute)s?\.$/);
  });

  it("say what is wrong with a link that is broken, and what to do without one", async () => {
    for (const token of ["<b>%00", "x".repeat(500)]) {
      await open(`${server.url}/verify-registration#token=${encodeURIComponent(token)}`);
      await confirmRegistration();
      await shows(voidLink);
      await open(`${server.url}/reset-password#token=${encodeURIComponent(token)}`);
      await page.getByLabel("New password", { exact: true }).fill(newPassword);
      await press("Set new password");
      await shows(voidLink);
      await page.goto(`${server.url}/accept-invitation#token=${encodeURIComponent(token)}`);
      await shows("This link does not work");
      assert.equal(await page.getByRole("button").count(), 0);
    }
    calls = [];
    for (const path of ["/verify-registration", "/reset-password", "/confirm-email", "/accept-invitation"]) {
      for (const rest of ["", "?token=in-the-query", "#token="]) {
        await page.goto(server.url + path + rest);
        await shows("Open the link in the mail");
        assert.equal(await page.getByRole("button").count(), 0);
      }
    }
    assert.deepEqual(calls, []);
  });

  it("make ids of requests where a page did not come by https", async () => {
    const email = newAddress();
    await register(email);
    await page.addInitScript(() => Object.defineProperty(crypto, "randomUUID", { value: undefined }));
    await open(await linkMailedTo(server.url, email, "/verify-registration"));
    const sent = page.waitForRequest("**/VerifyRegistration");
    await confirmRegistration();
    await shows("Welcome");
    assert.match((await sent).postDataJSON().requestId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it("say that they need JavaScript", async () => {
    const without = await browser.newContext({ javaScriptEnabled: false });
    const plain = await without.newPage();
    await plain.goto(`${server.url}/reset-password#token=unknown`);
    await plain.locator("noscript p").waitFor();
    assert.equal(await plain.getByRole("button").count(), 0);
    await without.close();
  });

  async function register(email: string, workspaceName = "Analytical Engines"): Promise<string> {
    const { registration } = await createManager({ baseUrl: server.url }).registration.register({ email, password, workspaceName });
    return registration!.id;
  }

  /** Makes an account by the API, and a client that is signed in to it. */
  async function newAccount(workspaceName?: string): Promise<Account> {
    const email = newAddress();
    const registrationId = await register(email, workspaceName);
    let token: string | undefined;
    const manager = createManager({ baseUrl: server.url, sessionToken: () => token });
    const { account } = await manager.registration.verifyRegistration({
      registrationId,
      code: await codeMailedTo(server.url, email),
    });
    token = account!.sessionToken;
    return { manager, email, workspaceId: account!.workspace!.id };
  }

  /** Invites an address, and returns the mailed link and the invitation's id. */
  async function invite({ manager, workspaceId }: Account, email: string): Promise<{ link: string; id: string }> {
    const { invitation } = await manager.invitations.createInvitation({ workspaceId, email });
    return { link: await linkMailedTo(server.url, email, "/accept-invitation"), id: invitation!.id };
  }

  async function stateOf({ manager, workspaceId }: Account, id: string): Promise<string | undefined> {
    const { invitations } = await manager.invitations.listInvitations({ workspaceId });
    return InvitationState[invitations.find((invitation) => invitation.id === id)!.state];
  }

  async function membersOf({ manager, workspaceId }: Account): Promise<string[]> {
    return (await manager.memberships.listMemberships({ workspaceId })).memberships.map(({ email }) => email);
  }

  async function fillIn(fields: Record<string, string>): Promise<void> {
    for (const [label, value] of Object.entries(fields)) {
      await page.getByLabel(label, { exact: true }).fill(value);
    }
  }

  /** Waits until the page tells this of the invitation. */
  async function tells(text: string | RegExp): Promise<void> {
    await page.locator("#invitation").filter({ hasText: text }).waitFor({ timeout: 10_000 });
  }

  async function seesButtons(...names: string[]): Promise<void> {
    const seen = await page.getByRole("main").getByRole("button").allInnerTexts();
    assert.deepEqual(seen.map((text) => text.replace(/\s+/g, " ")), names);
  }

  async function canSignIn(email: string, password: string): Promise<boolean> {
    return createManager({ baseUrl: server.url })
      .authentication.signInWithPassword({ email, password })
      .then(
        () => true,
        (error) => {
          assert.ok(isReason(error, "CREDENTIALS_INVALID"), `${error}`);
          return false;
        },
      );
  }

  /** Signs the browser in, beside the page. */
  async function signIn(email: string): Promise<void> {
    await callWithCookie("auth.v1.AuthenticationService/SignInWithPassword", {
      email,
      password,
      sessionTransport: "SESSION_TRANSPORT_COOKIE",
    });
  }

  /** Returns the browser's cookies, but for that by which the server knows its device again. */
  async function cookies(): Promise<Cookie[]> {
    return (await context.cookies()).filter(({ name }) => name !== "__Host-manager_device");
  }

  /** Returns the address of the account that the browser is signed in to. */
  async function getMe(): Promise<string> {
    return (await callWithCookie("identity.v1.UserService/GetMe", {})).user.email;
  }

  async function callWithCookie(method: string, data: object) {
    const sent = (await context.cookies()).map(({ name, value }) => `${name}=${value}`);
    const answer = await fetch(`${server.url}/logicspike.${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Origin: server.url, Cookie: sent.join("; ") },
      body: JSON.stringify(data),
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    const set = answer.headers.get("Set-Cookie")?.match(/^(.*?)=(.*?);/);
    if (set) {
      await context.addCookies([{ name: set[1]!, value: set[2]!, url: server.url.replace("http:", "https:"), secure: true }]);
    }
    return answer.json();
  }

  /** Asks, from the browser beside the page, for a mail to sign in by, and returns its link. */
  async function askToSignInByMail(email: string): Promise<string> {
    await callWithCookie("auth.v1.EmailChallengeService/StartEmailSignIn", { email, sessionTransport: "SESSION_TRANSPORT_COOKIE" });
    const link = await linkMailedTo(server.url, email, "/sign-in-by-email", signInLinks.get(email));
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
    await page.goto(`${server.url}/reset-password`); // any page that calls nothing
    const authenticator = await addAuthenticator(page);
    const { challengeId, optionsJson } = await manager.passkeys.startPasskeyRegistration({});
    const credentialJson = await page.evaluate(async (options) => {
      const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(options));
      return JSON.stringify(((await navigator.credentials.create({ publicKey })) as PublicKeyCredential).toJSON());
    }, optionsJson);
    await manager.passkeys.registerPasskey({ challengeId, credentialJson });
    return authenticator;
  }

  /** Opens a link as from a mail, and sees to it that its token is nowhere to be seen. */
  async function open(link: string): Promise<void> {
    const token = decodeURIComponent(link.replace(/.*#token=/, ""));
    secrets.push(token);
    await page.goto(link);
    await page.waitForURL(link.replace(/#.*/, ""));
    await page.locator("main button:visible").first().waitFor();
    const seen = await page.evaluate(() => [
      location.href,
      document.documentElement.outerHTML,
      JSON.stringify([history.state, { ...localStorage }, { ...sessionStorage }, document.cookie]),
    ]);
    assert.ok(!seen.some((text) => text.includes(token)), `${seen}`);
  }

  async function confirmRegistration(): Promise<void> {
    await page.getByLabel("Your password", { exact: true }).fill(password);
    await press("Confirm registration");
  }

  async function press(name: string): Promise<void> {
    await page.getByRole("button", { name, exact: true }).click();
  }

  /** Waits until the page has this heading and title. */
  async function shows(heading: string): Promise<void> {
    await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor({ timeout: 10_000 });
    assert.equal(await page.title(), `${heading} · LogicSpike Manager`);
  }

  /** Waits until the page says this, with the focus on what it says. */
  async function says(text: string | RegExp): Promise<void> {
    await page.getByRole("status").filter({ hasText: text }).waitFor({ timeout: 10_000 });
    assert.equal(await page.evaluate(() => document.activeElement?.id), "message");
  }

  /** Waits until the page says this at a field. */
  async function refuses(label: string, text: string | RegExp): Promise<void> {
    const field = page.getByLabel(label, { exact: true });
    await page.locator(".error").filter({ hasText: text }).waitFor({ timeout: 10_000 });
    const described = (await field.getAttribute("aria-describedby"))!.split(" ").at(-1);
    assert.match((await page.locator(`#${described}`).textContent())!, text instanceof RegExp ? text : new RegExp(`^${text}$`));
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    assert.match(await page.evaluate(() => document.activeElement!.id), /^((new-)?(email|password)|name|((totp|recovery)-)?code)$/);
  }

  /** Takes pictures for people, and sees to it that nothing stands out of a narrow window. */
  async function pictures(name: string): Promise<void> {
    await page.emulateMedia({ reducedMotion: "reduce" });
    for (const { name: scheme, colorScheme, width, height } of schemes) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `${name} is wider than ${width}`);
      await page.screenshot({ path: join(outputFolder, "pages", `${name}-${scheme}.png`), fullPage: true });
    }
    await page.emulateMedia({ colorScheme: null, reducedMotion: null });
    await page.setViewportSize({ width: 1000, height: 760 });
  }
});
