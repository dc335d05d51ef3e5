import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createManager, InvitationState } from "@logicspike/manager";
import { codeMailedTo, findMailedTo, linkMailedTo, newAddress } from "./mailbox.js";
import { newPassword, password, startPages, type Account } from "./pages.js";

describe("the pages of invitations", () => {
  const t = startPages("pages-invitations");
  const {
    page, context, complaints, calls, newAccount, invite, membersOf, fillIn, seesButtons, canSignIn, signIn, cookies,
    getMe, open, confirmRegistration, press, shows, says, refuses, pictures,
  } = t;

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
    assert.ok(!(await page().locator("main").innerText()).includes(email), "the page shows the whole address");
    await seesButtons("Show password", "Create account and join", "Decline invitation");
    await pictures("invitation-register");
    await page().reload(); // without the token, which is gone
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
    calls.length = 0;
    await fillIn({ "New password": newPassword });
    await page().keyboard.press("Enter");
    await shows("Welcome");
    await says("You are a member of the workspace “Analytical Engines” now.");
    await says("You are signed in.");
    await pictures("invitation-done");
    assert.deepEqual(calls, ["RegisterWithInvitation"]);
    assert.equal(await page().getByRole("button").count(), 0);
    assert.equal(await page().locator("#new-password").inputValue(), "");
    assert.equal(await getMe(), email);
    assert.ok(await canSignIn(email, newPassword));
    assert.deepEqual(await membersOf(owner), [owner.email, email]);
    const [cookie, ...more] = await cookies();
    assert.deepEqual([cookie?.name, cookie?.httpOnly, more.length], ["__Host-manager_session", true, 0]);

    await page().goto("about:blank");
    await page().goto(link);
    await shows("This invitation was used already");
    assert.equal(await page().getByRole("button").count(), 0);
  });

  it("make one account by an invitation when the first answer is lost", async () => {
    const owner = await newAccount();
    const email = newAddress();
    await open((await invite(owner, email)).link);
    await page().route("**/RegisterWithInvitation", async (route) => {
      await route.fetch();
      await route.abort();
    });
    await fillIn({ "Your name": "Grace", "New password": newPassword });
    await press("Create account and join");
    await says("The server could not be reached.");
    assert.deepEqual(complaints.splice(0), ["error: Failed to load resource: net::ERR_FAILED"]);
    assert.deepEqual(await membersOf(owner), [owner.email, email]);

    await page().unroute("**/RegisterWithInvitation");
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
    await page().keyboard.press("Enter");
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
    await page().keyboard.press("Tab");
    await page().keyboard.press("Enter");
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
    assert.equal(await page().evaluate(() => document.activeElement?.id), "name");
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

    await page().goto("about:blank");
    await page().goto(link);
    await shows("This invitation is declined");
    assert.equal(await page().getByRole("button").count(), 0);
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
    await page().goto("about:blank");
    await open(link);
    await shows("This invitation was revoked");
    await says("“Analytical Engines”");
    await seesButtons("Ask for a new invitation");
    await pictures("invitation-revoked");

    calls.length = 0;
    await press("Ask for a new invitation");
    await shows("You asked for a new invitation");
    assert.deepEqual(calls, ["RequestInvitationRenewal"]);
    assert.equal(await page().getByRole("button").count(), 0);
    await findMailedTo(t.url(), owner.email, new RegExp(`${email} asks for a new invitation to the workspace "Analytical Engines"`));
    assert.deepEqual(await membersOf(owner), [owner.email]);

    // A new one works. The old one still says what it is, and asking again changes nothing.
    await owner.manager.invitations.createInvitation({ workspaceId: owner.workspaceId, email });
    const renewed = await linkMailedTo(t.url(), email, "/accept-invitation", link);
    await page().goto("about:blank");
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
    assert.ok(url.startsWith(`${t.url()}/accept-invitation#token=`), url);

    // Somebody new, whose address is to be proven.
    const email = newAddress();
    await open(url);
    await shows("You are invited");
    await tells("with the role “viewer”");
    await tells("It is for e-mail addresses of example.com.");
    await seesButtons("Show password", "Sign in and join", "Create an account");
    await press("Create an account");
    await seesButtons("Show password", "Create account and join", "I have an account");
    await pictures("invitation-link");
    await fillIn({ "Your e-mail address": "nobody", "Your name": "Grace", "New password": newPassword });
    await press("Create account and join");
    await refuses("Your e-mail address", "This is not an e-mail address.");
    await fillIn({ "Your e-mail address": email.replace("example.com", "elsewhere.example") });
    await press("Create account and join");
    await refuses("Your e-mail address", /./);
    await fillIn({ "Your e-mail address": email });
    await press("Create account and join");
    await says(`We mailed a code to ${email}.`);
    await seesButtons("Confirm and join", "Send a new code", "Sign in instead");
    await pictures("invitation-code");
    assert.deepEqual(await membersOf(owner), [owner.email]);
    const code = await codeMailedTo(t.url(), email);
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
    await createManager({ baseUrl: t.url() }).invitations.registerWithInvitation({ token, email: next, password });
    await open(await linkMailedTo(t.url(), next, "/verify-registration"));
    await confirmRegistration();
    await shows("Welcome");
    await says("“Analytical Engines”");
    assert.deepEqual(await membersOf(owner), [owner.email, email, next]);
    await context().clearCookies();
    await page().goto(`${t.url()}/accept-invitation#token=${token}`);
    await shows("This link was used already");
    assert.equal(await page().getByRole("button").count(), 0);

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
    await page().goto("about:blank");
    await page().goto(url);
    await shows("This link was revoked");
    assert.equal(await page().getByRole("button").count(), 0);
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
    assert.equal(await page().locator("b, i, img").count(), 0);
    await pictures("invitation-hostile");
    await press(`Join ${name}`);
    await shows("Welcome");
    await says(`“${name}”`);
    assert.equal(await page().locator("b, i, img").count(), 0);
  });

  it("load an invitation again when the server could not be reached", async () => {
    const owner = await newAccount();
    const { link } = await invite(owner, newAddress());
    await page().route("**/GetInvitationByToken", (route) => route.abort());
    await page().goto(link);
    await says("The server could not be reached.");
    await seesButtons("Try again");
    assert.deepEqual(complaints.splice(0), ["error: Failed to load resource: net::ERR_FAILED"]);
    await page().unroute("**/GetInvitationByToken");
    await press("Try again");
    await shows("You are invited");
  });

  async function stateOf({ manager, workspaceId }: Account, id: string): Promise<string | undefined> {
    const { invitations } = await manager.invitations.listInvitations({ workspaceId });
    return InvitationState[invitations.find((invitation) => invitation.id === id)!.state];
  }

  /** Waits until the page tells this of the invitation. */
  async function tells(text: string | RegExp): Promise<void> {
    await page().locator("#invitation").filter({ hasText: text }).waitFor({ timeout: 10_000 });
  }
});
