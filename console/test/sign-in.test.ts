import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { codeMailedTo, findMailedTo, linkMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { totpCode } from "../../client/ts/test/totp.js";
import { password, startConsole } from "./support.js";

describe("the console, for who gets in", () => {
  const t = startConsole("console");
  const { shows, fill, enterCode, signIn, signOut, isAccessible, pictures, newAccount, press, reads } = t;

  it("loads the sign-in page within 200 KB, and soon", async () => {
    const session = await t.context().newCDPSession(t.page());
    await session.send("Network.enable");
    let bytes = 0;
    session.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
    await t.page().addInitScript(() => {
      new PerformanceObserver((list) => Object.assign(window, { largest: list.getEntries().at(-1)!.startTime })).observe({
        type: "largest-contentful-paint",
        buffered: true,
      });
    });
    await t.page().goto(`${t.url()}/sign-in`, { waitUntil: "networkidle" });
    await shows("Sign in");
    const time = await t.page().evaluate(() => (window as unknown as { largest: number }).largest);
    console.log(`/sign-in: ${(bytes / 1000).toFixed(1)} KB transferred, largest paint after ${time.toFixed(0)} ms`);
    assert.ok(bytes > 50_000 && bytes < 200_000, `${bytes} bytes`);
    assert.ok(time > 0 && time < 10_000, `${time} ms`); // far above what it is: machines differ
    assert.equal(await t.page().title(), "Sign in · LogicSpike Manager");
    await reads("LogicSpike Manager");
    await isAccessible();
    await pictures("sign-in");
  });

  it("signs up by the mailed code, signs out, and signs in by password and by code", async () => {
    const email = newAddress();
    const asked: string[] = [];
    t.page().on("request", (request) => asked.push(new URL(request.url()).pathname));
    await t.open("/");
    await shows("Sign in");
    assert.equal(asked.filter((path) => path.endsWith("/GetSession")).length, 1);
    await t.page().getByRole("link", { name: "Sign up" }).click();
    await shows("Create your account");
    await press("Sign up");
    await reads("Fill this in."); // by the rules of the schema
    assert.equal(await t.page().getByText("Fill this in.").count(), 3);
    await fill({ "E-mail address": "ad" });
    await press("Sign up");
    await reads("Must be at least 3 characters.");
    await isAccessible();
    await fill({ "E-mail address": newAddress(), Password: password, "Name of your workspace": "Analytical Engines" });
    await t.page().clock.install();
    await press("Sign up");
    await shows("Check your e-mail");
    await isAccessible();
    await enterCode("000 000");
    await t.page().getByRole("alert").waitFor();
    // A new code is mailed no sooner than the server does that, and says when.
    await reads("You can have a new code sent in ");
    assert.ok(await t.page().getByRole("button", { name: "Send a new code" }).isDisabled());
    await t.page().clock.fastForward(60_000);
    await press("Send a new code");
    await reads(/^Too many attempts\. Try again in (\d+ seconds|1 minute)\./);
    await reads(/^You can have a new code sent in (\d+ seconds|1 minute)\.$/);
    // Who mistyped the address corrects it: nothing else has to be filled in again.
    await press("Correct the address");
    await shows("Create your account");
    await fill({ "E-mail address": email });
    await press("Sign up");
    await shows("Check your e-mail");
    await enterCode(await codeMailedTo(t.url(), email));
    await shows("Analytical Engines");
    assert.match(new URL(t.page().url()).pathname, /^\/w\/analytical-engines/);
    await t.page().getByRole("region", { name: "Members" }).getByText("1", { exact: true }).waitFor();
    await t.page().getByRole("link", { name: "Invite people" }).waitFor();
    await t.page().getByRole("link", { name: "Verify your domain" }).waitFor();
    await isAccessible();
    await pictures("workspace");
    const cookie = (await t.context().cookies()).find(({ name }) => name.includes("session"));
    assert.ok(cookie?.httpOnly);

    await signOut();
    await fill({ "E-mail address": email, Password: "not the password" });
    await press("Sign in");
    await t.page().getByRole("alert").filter({ hasText: "The e-mail address or the password is wrong." }).waitFor();
    await isAccessible();
    await fill({ Password: password });
    await t.page().keyboard.press("Enter");
    await shows("Analytical Engines");

    await signOut();
    await press("Get a code by e-mail");
    await reads("Fill this in.");
    await fill({ "E-mail address": email });
    await press("Get a code by e-mail");
    await shows("Enter the code");
    await isAccessible();
    const code = await findMailedTo(t.url(), email, /(?<=sign in[\s\S]*)\b[0-9]{6}\b/i);
    await enterCode(code);
    await shows("Analytical Engines");
  });

  it("asks for the second step, and comes back to the page that was wanted", async () => {
    const { manager, email, slug } = await newAccount("Secured");
    const { totpFactorId, secret } = await manager.secondFactors.createTotpFactor({});
    await manager.secondFactors.confirmTotpFactor({ totpFactorId, code: totpCode(secret) });
    await t.open(`/w/${slug}`);
    await signIn(email);
    await shows("Second step");
    await isAccessible();
    await t.open(`/w/${slug}`);
    await shows("Second step");
    await fill({ "Code from your authenticator app": "123456" });
    await press("Use a recovery code");
    assert.equal(await t.page().getByLabel("Recovery code").inputValue(), "");
    await press("Use your authenticator app");
    await fill({ "Code from your authenticator app": totpCode(secret, 20) });
    await press("Confirm");
    await t.page().getByRole("alert").filter({ hasText: "That is not right" }).waitFor();
    await fill({ "Code from your authenticator app": totpCode(secret, 1) });
    await press("Confirm");
    await shows("Secured");
    assert.equal(new URL(t.page().url()).pathname, `/w/${slug}`);
  });

  it("finishes the setup of who has no workspace: joins what they are invited to", async () => {
    const owner = await newAccount("Inviting");
    const person = await newAccount("Left behind");
    // They leave their own workspace, by handing it over.
    await person.manager.invitations.createInvitation({ workspaceId: person.workspaceId, email: owner.email });
    const { invitations } = await owner.manager.invitations.listReceivedInvitations({});
    const { membership } = await owner.manager.invitations.acceptInvitation({ invitationId: invitations[0]!.id });
    await person.manager.memberships.transferOwnership({ workspaceId: person.workspaceId, membershipId: membership!.id });
    await person.manager.memberships.leaveWorkspace({ workspaceId: person.workspaceId });
    await owner.manager.invitations.createInvitation({ workspaceId: owner.workspaceId, email: person.email });
    await t.open("/new-workspace");
    await signIn(person.email);
    await shows("Finish setup");
    await reads("Inviting");
    await isAccessible();
    await press("Join");
    await shows("Inviting");
    await t.page().getByRole("main").getByText("Member", { exact: true }).waitFor();
    // What they may do first is their own second factor, until they hide that.
    await t.page().getByRole("link", { name: "Add a second factor" }).waitFor();
    assert.equal(await t.page().getByRole("region", { name: "First steps" }).getByRole("listitem").count(), 1);
    await press("Hide the first steps");
    await reads("There is nothing here for your role yet.");
    await t.page().reload();
    await reads("There is nothing here for your role yet.");
    await t.open("/finish-setup");
    await shows("Inviting"); // there is nothing to finish
  });

  it("keeps two tabs in two workspaces, and hides those of others", async () => {
    const { email, slug } = await newAccount("First");
    const other = await newAccount("Not theirs");
    await t.openAs(email, `/w/${slug}`);
    await shows("First");
    await t.choose("Switch workspace", "New workspace");
    await shows("New workspace");
    await isAccessible();
    await fill({ "Name of your workspace": "Second" });
    await press("Create");
    await shows("Second");
    const second = await t.tab();
    await second.open(`/w/${slug}`);
    await second.shows("First");
    await t.page().reload();
    await shows("Second");
    await second.page().reload();
    await second.shows("First");
    await t.open(`/w/${other.slug}`);
    await shows("404");
    await isAccessible();
    await t.open("/nothing/here");
    await shows("404");
  });

  it("begins anew in all tabs for another person, and for nobody", async () => {
    const one = await newAccount("One");
    const another = await newAccount("Another");
    await t.openAs(one.email, "/account");
    await shows("Profile");
    await fill({ "Your name": "Of the first person" });
    const second = await t.tab();
    await second.open(`/w/${one.slug}`);
    await second.shows("One");
    await second.signOut();
    await shows("Sign in");
    await second.signIn(another.email);
    await second.shows("Another");
    await shows("Profile");
    await reads(another.email);
    assert.equal(await t.page().getByLabel("Your name", { exact: true }).inputValue(), another.email.split("@")[0]);

    // A third one signs in on a page that a mail links to.
    const third = await newAccount("Third");
    await another.manager.invitations.createInvitation({ workspaceId: another.workspaceId, email: third.email });
    await second.page().goto(await linkMailedTo(t.url(), third.email, "/accept-invitation"));
    await second.fill({ "E-mail address": third.email, Password: password });
    await second.press("Sign in and join");
    await second.shows("Welcome");
    await reads(third.email);
  });

  it("shows workspaces of further pages, and signs out where the session has ended", async () => {
    const { email, slug, manager } = await newAccount("Page one");
    await manager.workspaces.createWorkspace({ name: "Page two" });
    await t.openAs(email, `/w/${slug}`);
    await shows("Page one");
    let pages = 0;
    await t.page().route("**/ListWorkspaces", async (route) => {
      pages++;
      await route.continue({ postData: JSON.stringify({ ...(JSON.parse(route.request().postData()!) as object), pageSize: 1 }) });
    });
    await t.page().reload();
    await t.choose("Switch workspace", "Page two");
    await shows("Page two");
    assert.ok(pages >= 2);
    await manager.authentication.signOut({});
    await t.context().clearCookies();
    await signOut();
  });

  it("goes on without code that cannot be fetched, where the browser keeps nothing", async () => {
    const { email, slug } = await newAccount("Offline");
    await t.page().addInitScript(() =>
      Object.defineProperty(window, "localStorage", {
        get: () => {
          throw new DOMException("", "SecurityError");
        },
      }),
    );
    await t.page().route(/toast-host/, (route) => route.abort());
    await t.openAs(email, `/w/${slug}`);
    await shows("Offline");
    await t.page().route("**/SignOut", (route) => route.abort());
    const asked = t.page().waitForEvent("requestfailed", (request) => request.url().includes("toast-host"));
    await t.choose("Your account", "Sign out");
    await asked;
    await t.page().waitForTimeout(300);
    await shows("Offline");
  });

  it("tells of a deleted workspace, and lets its owner take that back", async () => {
    const { manager, email, workspaceId, slug } = await newAccount("Gone");
    await t.openAs(email, `/w/${slug}`);
    await shows("Gone");
    await manager.workspaces.createWorkspace({ name: "Kept" }); // or the deletion would sign them out
    const { etag } = await manager.workspaces.previewDeleteWorkspace({ workspaceId });
    await manager.workspaces.deleteWorkspace({ workspaceId, etag });
    await t.page().reload();
    await reads("This workspace is deleted");
    await isAccessible();
    await press("Restore the workspace");
    await reads("The workspace is back.");
    await t.page().getByRole("region", { name: "Members" }).getByText("1", { exact: true }).waitFor();
    await isAccessible();

    // Who has deleted all they had signs in again, and gets it back.
    const alone = await newAccount("Only one");
    const preview = await alone.manager.workspaces.previewDeleteWorkspace({ workspaceId: alone.workspaceId });
    await alone.manager.workspaces.deleteWorkspace({ workspaceId: alone.workspaceId, etag: preview.etag });
    await signOut();
    await signIn(alone.email);
    await shows("Finish setup");
    await reads("Only one");
    await isAccessible();
    await press("Restore");
    await shows("Only one");
  });

  it("sets a new password by the mailed code, and says what an external sign-in lacks", async () => {
    const { email } = await newAccount("Forgetful");
    const mistyped = newAddress();
    await t.open("/forgot-password");
    await shows("Reset your password");
    await isAccessible();
    await fill({ "E-mail address": mistyped });
    await press("Send a code");
    await reads(`If ${mistyped} has an account`);
    await press("Correct the address");
    await fill({ "E-mail address": email });
    await t.page().clock.install();
    await press("Send a code");
    await reads(`If ${email} has an account`);
    await isAccessible();
    await pictures("reset-password");
    const first = await findMailedTo(t.url(), email, /(?<=password[\s\S]*)\b[0-9]{6}\b/i);
    await t.page().clock.fastForward(60_000);
    await press("Send a new code");
    await reads("A new code is on its way.");
    await reads("You can have a new code sent in ");
    await enterCode(await findMailedTo(t.url(), email, new RegExp(`(?<=password[\\s\\S]*)\\b(?!${first})[0-9]{6}\\b`, "i")));
    await fill({ "New password": "walnut-harbour-violin" });
    await press("Set the new password");
    await shows("Sign in");
    await fill({ Password: "walnut-harbour-violin" });
    await t.page().keyboard.press("Enter");
    await shows("Forgetful");
    await signOut();
    await t.open("/external-sign-in?error=ACCESS_DENIED&to=%2Fnew-workspace");
    await reads("You or the provider refused the sign-in.");
    assert.equal(new URL(t.page().url()).search, "?to=%2Fnew-workspace");
    await isAccessible();
    await t.open("/external-sign-in?external_sign_in_id=xsi_01m84kpx5pfghbwfbbr3n4qwhq&result_token=unknown");
    await t.page().getByRole("alert").waitFor();
    assert.equal(new URL(t.page().url()).search, "");
  });
});
