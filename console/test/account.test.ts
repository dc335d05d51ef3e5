import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { createManager } from "@logicspike/manager";
import { addAuthenticator } from "../../client/ts/test/authenticator.js";
import { codeMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { totpCode } from "../../client/ts/test/totp.js";
import { password, startConsole } from "./support.js";

describe("the console, for a person's own account", () => {
  const t = startConsole("console-account");
  const { shows, reads, fill, press, answer, choose, enterCode, openAs, isAccessible, pictures, newAccount } = t;

  it("changes the name and, by a mailed code, the address", async () => {
    const { email, slug, manager } = await newAccount("Analytical Engines");
    await openAs(email, `/w/${slug}`);
    await shows("Analytical Engines");
    await choose("Your account", "Manage your account");
    await shows("Profile");
    await reads("Confirmed");
    await isAccessible();
    await fill({ "Your name": "" });
    await press("Save");
    await reads("Must have 1 to 100 characters.");
    await fill({ "Your name": "Ada Lovelace" });
    await press("Save");
    await reads("Saved");
    assert.equal((await manager.users.getMe({})).user?.displayName, "Ada Lovelace");
    await pictures("account-profile");

    const next = newAddress();
    await press("Change");
    await fill({ "New e-mail address": "nobody" });
    await answer("Send a code");
    await reads("This is not an e-mail address.");
    await isAccessible();
    await fill({ "New e-mail address": next });
    await answer("Send a code");
    await reads(`Enter the code that we sent to ${next}`);
    await isAccessible();
    await enterCode("000-000");
    await reads("The code is wrong or has expired.");
    await enterCode(await codeMailedTo(t.url(), next));
    await reads("Your e-mail address is confirmed.");
    await reads(next);
    assert.equal((await manager.users.getMe({})).user?.email, next);
    await t.page().getByRole("link", { name: "To the workspace" }).click();
    await shows("Analytical Engines");
  });

  it("enrols an authenticator app, keeps its recovery codes, and removes it", async () => {
    const { email } = await newAccount("Two steps");
    await openAs(email, "/account/security");
    await shows("Sign-in and security");
    await reads("No authenticator app yet");
    await isAccessible();
    await press("Add an app");
    await t.page().getByRole("img", { name: "QR code for your authenticator app" }).waitFor();
    await isAccessible();
    await pictures("account-totp");
    const secret = (await t.page().getByLabel("Key", { exact: true }).inputValue()).replaceAll(" ", "");
    await fill({ "Code shown by the app": "12" });
    await answer("Confirm");
    await reads("This does not have the right form.");
    await fill({ "Code shown by the app": totpCode(secret, 30) });
    await answer("Confirm");
    await reads("That is not right, or it was used before.");
    await enterCode(totpCode(secret).replace(/.../, "$& ")); // as apps show it
    await answer("Confirm");

    const dialog = t.page().getByRole("dialog", { name: "Your recovery codes" });
    await dialog.waitFor();
    const codes = await dialog.getByRole("list", { name: "Recovery codes" }).getByRole("listitem").allInnerTexts();
    assert.equal(codes.length, 10);
    await isAccessible();
    await pictures("account-recovery-codes");
    await answer("Copy");
    assert.equal(await t.page().evaluate(() => navigator.clipboard.readText()), codes.join("\n") + "\n");
    const [download] = await Promise.all([t.page().waitForEvent("download"), dialog.getByRole("link", { name: "Download" }).click()]);
    assert.equal(download.suggestedFilename(), "recovery-codes.txt");
    assert.equal(readFileSync((await download.path())!, "utf8"), codes.join("\n") + "\n");
    await answer("I have saved them");
    await reads("10 of 10 are left");
    await pictures("account-security");

    await press("Rename Authenticator app");
    await fill({ Name: "" });
    await answer("Save");
    await t.page().getByRole("dialog").getByText("Fill this in.").waitFor();
    await fill({ Name: "Old phone" });
    await answer("Save");
    await reads("Old phone");

    // By one of the codes, the second step; it is used up by that.
    const other = await t.visitor();
    await other.openAs(email, "/account/security");
    await other.shows("Second step");
    await other.press("Use a recovery code");
    await other.fill({ "Recovery code": codes[0]! });
    await other.press("Confirm");
    await other.shows("Sign-in and security");
    await other.reads("9 of 10 are left");

    await press("Make new codes");
    await answer("Make new codes");
    await t.page().getByRole("dialog", { name: "Your recovery codes" }).waitFor();
    const renewed = await t.page().getByRole("list", { name: "Recovery codes" }).getByRole("listitem").allInnerTexts();
    assert.ok(renewed.length === 10 && renewed.every((code) => !codes.includes(code)));
    await answer("I have saved them");

    await press("Delete Old phone");
    await reads("It is your only second factor");
    await isAccessible();
    await answer("Delete");
    await reads("The app is deleted.");
    await reads("No authenticator app yet");
    await t.page().getByRole("heading", { name: "Recovery codes" }).waitFor({ state: "detached" });
  });

  it("adds a passkey, signs in by it, and deletes it", async () => {
    const { email } = await newAccount("Keys");
    await openAs(email, "/account/security");
    await shows("Sign-in and security");
    await press("Add a passkey");
    await isAccessible();
    const authenticator = await addAuthenticator(t.page());
    await authenticator.verifyUser(false);
    await fill({ Name: "My laptop" });
    await answer("Continue");
    await reads("That was canceled, or took too long.");
    await authenticator.verifyUser(true);
    await answer("Continue");
    await t.page().getByRole("dialog", { name: "Your recovery codes" }).waitFor();
    await answer("I have saved them");
    await reads("My laptop");
    await press("Rename My laptop");
    await fill({ Name: "Work laptop" });
    await answer("Save");
    await reads("Work laptop");

    const credentials = await authenticator.credentials();
    await authenticator.clear(); // or the sign-in page would sign in by itself
    await t.signOut();
    await authenticator.put(credentials[0]!);
    // By the button, unless the page, which waits for a passkey, has seen it before.
    await Promise.race([press("Use a passkey").catch(() => undefined), shows("Keys")]);
    await shows("Keys");
    await t.open("/account/security");
    await press("Delete Work laptop");
    await answer("Delete");
    await reads("The passkey is deleted.");
    await reads("No passkey yet");
  });

  it("changes the password", async () => {
    const { email, manager } = await newAccount("Words");
    await openAs(email, "/account/security");
    await press("Change the password");
    await answer("Change the password");
    await t.page().getByRole("dialog").getByText("Fill this in.").first().waitFor();
    await fill({ "Current password": "not the password", "New password": "walnut-harbour-violin" });
    await answer("Change the password");
    await reads(/password is wrong/);
    await fill({ "Current password": password, "New password": "short" });
    await answer("Change the password");
    await reads("must have 12 to 128 characters");
    await isAccessible();
    await fill({ "New password": "walnut-harbour-violin" });
    await answer("Change the password");
    await reads("other sessions have ended: 1");
    await assert.rejects(manager.users.getMe({}));
    await createManager({ baseUrl: t.url() }).authentication.signInWithPassword({ email, password: "walnut-harbour-violin" });
  });

  it("lists sessions, and ends one and all others", async () => {
    const { email, manager } = await newAccount("Devices");
    const other = await t.visitor();
    await other.openAs(email, "/account");
    await other.shows("Profile");
    await openAs(email, "/account/sessions");
    await shows("Sessions");
    const sessions = t.page().getByRole("list", { name: "Sessions" }).getByRole("listitem");
    await reads("This session");
    assert.equal(await sessions.count(), 3);
    assert.match(await sessions.first().innerText(), /This session/);
    await isAccessible();
    await pictures("account-sessions");
    await sessions.filter({ hasText: "Chrome on Linux" }).getByRole("button", { name: "Sign out" }).click();
    await isAccessible();
    await answer("Sign out");
    await reads("The session has ended.");
    await sessions.nth(2).waitFor({ state: "detached" });
    await other.page().reload();
    await other.shows("Sign in");
    await press("Sign out everywhere else");
    await answer("Sign out everywhere else");
    await reads("Other sessions have ended: 1.");
    await sessions.nth(1).waitFor({ state: "detached" });
    await assert.rejects(manager.users.getMe({}));
  });

  it("leads to the sign-in page where the session has ended elsewhere, and back", async () => {
    const { email, manager } = await newAccount("Ended");
    await openAs(email, "/account");
    await shows("Profile");
    await manager.sessions.revokeOtherSessions({});
    await t.page().getByRole("link", { name: "Sign-in and security" }).click();
    await shows("Sign in");
    await reads("Your session has ended. Sign in again.");
    await isAccessible();
    await t.signIn(email);
    await shows("Sign-in and security");
    // A form that is sent finds it, too.
    await t.open("/account");
    await shows("Profile");
    await manager.sessions.revokeOtherSessions({});
    await fill({ "Your name": "Ada" });
    await press("Save");
    await shows("Sign in");
    await reads("Your session has ended. Sign in again.");
    await t.open("/account");
    await shows("Sign in");
    assert.equal(await t.page().getByText("Your session has ended.").count(), 0);
  });

  it("lists what happened to the account, page by page", async () => {
    const { email, manager } = await newAccount("History");
    await Promise.all(Array.from({ length: 30 }, () => manager.secondFactors.createTotpFactor({})));
    await openAs(email, "/account/activity");
    await shows("Security activity");
    await reads("Signed in");
    await isAccessible();
    await pictures("account-activity");
    const rows = t.page().getByRole("row");
    const before = await rows.count();
    await press("Show more");
    await rows.nth(before).waitFor();
    await reads("The account was created");
  });

  it("deletes the account, and says what becomes of the workspaces", async () => {
    const person = await newAccount("Handed over");
    const heir = await newAccount("Of the heir");
    await heir.manager.users.updateMe({ displayName: "Grace Hopper" });
    await person.manager.invitations.createInvitation({ workspaceId: person.workspaceId, email: heir.email });
    const { invitations } = await heir.manager.invitations.listReceivedInvitations({});
    await heir.manager.invitations.acceptInvitation({ invitationId: invitations[0]!.id });
    await person.manager.workspaces.createWorkspace({ name: "Left to end" });
    await openAs(person.email, "/account/delete");
    await shows("Delete account");
    await reads("your workspace memberships: 2");
    await isAccessible();
    const submit = t.page().getByRole("button", { name: "Delete my account" });
    assert.ok(await submit.isDisabled());
    const first = t.page().getByRole("radiogroup", { name: "What becomes of Handed over?" });
    const second = t.page().getByRole("radiogroup", { name: "What becomes of Left to end?" });
    assert.ok(await second.getByRole("radio", { name: "Hand it over to a member" }).isDisabled());
    await second.getByRole("radio", { name: "Delete it for good" }).check();
    assert.ok(await submit.isDisabled());
    await first.getByRole("radio", { name: "Hand it over to a member" }).check();
    await t.page().getByRole("combobox", { name: "New owner of Handed over" }).fill("hopper");
    await t.page().getByRole("option", { name: "Grace Hopper" }).click();
    await isAccessible();
    await pictures("account-delete");

    // Something changes before it is confirmed.
    const { workspace: late } = await person.manager.workspaces.createWorkspace({ name: "Made meanwhile" });
    await submit.click();
    await t.page().getByLabel(`Type “${person.email}” to confirm`).fill("somebody@example.com");
    assert.ok(await t.page().getByRole("dialog").getByRole("button", { name: "Delete my account" }).isDisabled());
    await t.page().getByLabel(`Type “${person.email}” to confirm`).fill(person.email);
    await isAccessible();
    await answer("Delete my account");
    await reads("Somebody changed this in the meantime.");
    await t.page().getByRole("dialog").getByText("your workspace memberships: 3").waitFor();
    assert.ok(await t.page().getByRole("dialog").getByRole("button", { name: "Delete my account" }).isDisabled());
    await answer("Cancel");
    await reads("Made meanwhile");
    await t.page().getByRole("radiogroup", { name: `What becomes of ${late!.name}?` }).getByRole("radio", { name: "Delete it for good" }).check();
    await submit.click();
    await reads("Deleted with it:");
    await t.page().getByLabel(`Type “${person.email}” to confirm`).fill(person.email);
    await answer("Delete my account");
    await shows("Sign in");
    await reads("Your account is deleted.");
    await assert.rejects(createManager({ baseUrl: t.url() }).authentication.signInWithPassword({ email: person.email, password }));
    const { workspaces } = await heir.manager.workspaces.listWorkspaces({});
    assert.ok(workspaces.some(({ workspace, role }) => workspace?.name === "Handed over" && role === "owner"));
  });

  it("is there for who has no workspace", async () => {
    const { email, manager, workspaceId } = await newAccount("Ended");
    const { etag } = await manager.workspaces.previewDeleteWorkspace({ workspaceId });
    await manager.workspaces.deleteWorkspace({ workspaceId, etag });
    await openAs(email, "/");
    await shows("Finish setup");
    await t.page().getByRole("link", { name: "Your account" }).click();
    await shows("Profile");
    await t.page().reload();
    await shows("Profile");
    await t.page().getByRole("link", { name: "To the workspace" }).click();
    await shows("Finish setup");
  });
});
