import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { DomainEnrollment } from "@logicspike/manager";
import type { Page } from "playwright-core";
import { codeMailedTo, linkMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { startDns } from "./dns.js";
import { password, startConsole, type Account } from "./support.js";

const dns = await startDns();

describe("the pages of a team", () => {
  const console_ = startConsole("console-team", { MANAGER_DNS_RESOLVER: dns.address });
  const { page, open, openAs, shows, reads, fill, press, choose, isAccessible, pictures } = console_;
  after(() => dns.stop());

  it("invite somebody by mail, who comes in, is given a role, and becomes the owner", async () => {
    const owner = await console_.newAccount("Analytical Engines");
    const invited = newAddress();
    await openAs(owner.email, `/w/${owner.slug}/members`);
    await shows("Members");
    await page().getByRole("link", { name: "Invite people" }).click();
    await shows("Invitations");
    await page().getByRole("dialog", { name: "Invite people" }).waitFor();
    await press("Send invitations");
    await reads("Enter at least one e-mail address.");
    await isAccessible();
    await fill({ "E-mail addresses": invited });
    await press("Send invitations");
    await reads(`${invited} is invited.`);
    await row(page(), invited).getByText("Pending").waitFor();
    await isAccessible();

    // Who has no account makes one, and comes on into the workspace.
    const ada = await console_.visitor();
    await ada.page().goto(await linkMailedTo(console_.url(), invited, "/accept-invitation"));
    await ada.shows("You are invited");
    await ada.fill({ "Your name": "Ada Lovelace", "New password": password });
    await ada.press("Create account and join");
    await ada.shows("Welcome");
    await ada.page().getByRole("link", { name: "Go to the workspace" }).click();
    await ada.shows("Analytical Engines");
    assert.equal(new URL(ada.page().url()).pathname, `/w/${owner.slug}`);
    await ada.page().getByRole("main").getByText("Member", { exact: true }).waitFor();

    // A member sees who is there, and changes nobody.
    assert.deepEqual(await entries(ada.page()), ["Overview", "Members", "Roles", "API keys"]);
    await ada.page().getByRole("link", { name: "Members" }).click();
    await ada.shows("Members");
    await row(ada.page(), owner.email).waitFor();
    assert.equal(await ada.page().getByRole("combobox", { name: /^Role of/ }).count(), 0);
    assert.equal(await ada.page().getByRole("button", { name: /^Actions for/ }).count(), 1); // to leave
    assert.equal(await ada.page().getByRole("link", { name: "Invite people" }).count(), 0);
    await ada.isAccessible();
    for (const path of ["invitations", "domains", "join-requests", "roles/new"]) {
      await ada.open(`/w/${owner.slug}/${path}`);
      await ada.reads("Your role may not see this page.");
    }
    await ada.open(`/w/${owner.slug}/roles`);
    await ada.shows("Roles");
    assert.equal(await ada.page().getByRole("link", { name: "New role" }).count(), 0);

    // The role: refused by a broken line at first, then changed.
    await page().getByRole("link", { name: "Members" }).click();
    await shows("Members");
    await page().route("**/UpdateMembership", (route) => route.abort(), { times: 1 });
    const role = page().getByRole("combobox", { name: "Role of Ada Lovelace" });
    await role.selectOption("Admin");
    await reads("The server does not answer. Try again in a moment.");
    await page().waitForFunction(() => document.querySelector<HTMLSelectElement>("select[aria-label='Role of Ada Lovelace']")?.value === "member");
    await role.selectOption("Admin");
    await reads("Ada Lovelace is now Admin.");
    // Somebody else changes it meanwhile: it is shown, and can be changed from there.
    const { memberships } = await owner.manager.memberships.listMemberships({ workspaceId: owner.workspaceId, search: "Lovelace" });
    await owner.manager.memberships.updateMembership({ workspaceId: owner.workspaceId, membershipId: memberships[0]!.id, role: "viewer" });
    await role.selectOption("Member");
    await reads("Somebody changed this in the meantime");
    await page().waitForFunction(() => document.querySelector<HTMLSelectElement>("select[aria-label='Role of Ada Lovelace']")?.value === "viewer");
    await role.selectOption("Admin");
    await page().waitForFunction(() => {
      const select = document.querySelector<HTMLSelectElement>("select[aria-label='Role of Ada Lovelace']");
      return select?.value === "admin" && !select.disabled;
    });
    await ada.page().reload();
    await ada.page().getByRole("link", { name: "Invitations" }).waitFor();

    // Found by a word, and by role.
    await fill({ "Search by name or address": "lovel" });
    await row(page(), owner.email).waitFor({ state: "detached" });
    await row(page(), invited).waitFor();
    await fill({ "Search by name or address": "nobody at all" });
    await reads("Nobody is found.");
    await press("Show all members");
    await row(page(), owner.email).waitFor();
    await page().getByRole("combobox", { name: "Filter by role" }).selectOption("Owner");
    await row(page(), invited).waitFor({ state: "detached" });
    await page().getByRole("combobox", { name: "Filter by role" }).selectOption("All roles");

    // Deactivated, they are out; reactivated, in again.
    await choose("Actions for Ada Lovelace", "Deactivate");
    await page().getByRole("dialog", { name: "Deactivate Ada Lovelace?" }).waitFor();
    await isAccessible();
    await press("Deactivate");
    await reads("Ada Lovelace is deactivated.");
    await row(page(), invited).getByText("Deactivated").waitFor();
    await ada.page().reload();
    await ada.shows("Finish setup");
    await choose("Actions for Ada Lovelace", "Reactivate");
    await reads("Ada Lovelace has access again.");

    // The ownership goes over; who had it is removed by the new owner.
    await choose("Actions for Ada Lovelace", "Transfer ownership");
    await page().getByLabel("Your role from then on").selectOption("Member");
    await isAccessible();
    await press("Transfer ownership");
    await reads("Ada Lovelace is an owner now.");
    await row(page(), owner.email).getByText("Member", { exact: true }).waitFor();
    await page().getByRole("link", { name: "Domains" }).waitFor({ state: "detached" });
    await ada.open(`/w/${owner.slug}/members`);
    await ada.choose(`Actions for ${nameIn(owner.email)}`, "Remove");
    await ada.press("Remove");
    await ada.reads(`${nameIn(owner.email)} is removed.`);
    await row(ada.page(), owner.email).waitFor({ state: "detached" });
    await page().reload();
    await shows("Finish setup");

    // The last owner cannot leave.
    await ada.choose("Actions for Ada Lovelace", "Leave the workspace");
    await ada.press("Leave the workspace");
    await ada.page().getByRole("alert").filter({ hasText: "no owner" }).waitFor();
    await ada.press("Cancel");
  });

  it("let somebody who has an account join, and leave", async () => {
    const owner = await console_.newAccount("Second Home");
    const person = await console_.newAccount("First Home");
    await owner.manager.invitations.createInvitation({ workspaceId: owner.workspaceId, email: person.email });
    await page().goto(await linkMailedTo(console_.url(), person.email, "/accept-invitation"));
    await fill({ "E-mail address": person.email, Password: password });
    await press("Sign in and join");
    await shows("Welcome");
    await page().getByRole("link", { name: "Go to the workspace" }).click();
    await shows("Second Home");

    // Two tabs are in two workspaces.
    const other = await console_.tab();
    await other.open(`/w/${person.slug}/members`);
    await other.reads("Owner");
    await open(`/w/${owner.slug}/members`);
    await row(page(), owner.email).waitFor();
    await other.page().reload();
    await row(other.page(), person.email).waitFor();
    assert.equal(await row(other.page(), owner.email).count(), 0);
    await page().reload();
    await row(page(), owner.email).waitFor();

    await choose(`Actions for ${nameIn(person.email)}`, "Leave the workspace");
    await press("Leave the workspace");
    await shows("First Home");
    await open(`/w/${owner.slug}`);
    await shows("404");
  });

  it("lead on who leaves their last workspace, or is removed from it", async () => {
    const owner = await console_.newAccount("The last one");
    const person = await console_.newAccount("Handed over");
    await person.manager.invitations.createInvitation({ workspaceId: person.workspaceId, email: owner.email });
    const { invitations } = await owner.manager.invitations.listReceivedInvitations({});
    await owner.manager.invitations.acceptInvitation({ invitationId: invitations[0]!.id });
    const { memberships } = await person.manager.memberships.listMemberships({ workspaceId: person.workspaceId });
    const heir = memberships.find(({ email }) => email === owner.email)!;
    await person.manager.memberships.transferOwnership({ workspaceId: person.workspaceId, membershipId: heir.id });
    await person.manager.memberships.leaveWorkspace({ workspaceId: person.workspaceId });
    const again = async () => {
      await owner.manager.invitations.createInvitation({ workspaceId: owner.workspaceId, email: person.email });
      const { invitations } = await person.manager.invitations.listReceivedInvitations({});
      return (await person.manager.invitations.acceptInvitation({ invitationId: invitations[0]!.id })).membership!;
    };
    await again();
    await openAs(person.email, `/w/${owner.slug}/members`);
    await choose(`Actions for ${nameIn(person.email)}`, "Leave the workspace");
    await press("Leave the workspace");
    await shows("Finish setup");
    const { id } = await again();
    await open("/account");
    await shows("Profile");
    await owner.manager.memberships.removeMembership({ workspaceId: owner.workspaceId, membershipId: id });
    await page().getByRole("link", { name: "To the workspace" }).click();
    await shows("Finish setup");

    // Of a deleted one they see nothing to restore, since they do not own it.
    await again();
    const { etag } = await owner.manager.workspaces.previewDeleteWorkspace({ workspaceId: owner.workspaceId });
    await owner.manager.workspaces.deleteWorkspace({ workspaceId: owner.workspaceId, etag });
    await openAs(person.email, "/finish-setup");
    await shows("Finish setup");
    await page().waitForLoadState("networkidle");
    assert.equal(await page().getByRole("button", { name: "Restore" }).count(), 0);
  });

  it("invite many by paste, and say what became of each", async () => {
    const owner = await console_.newAccount("Paste");
    const [one, two, three] = [newAddress(), newAddress(), newAddress()];
    await openAs(owner.email, `/w/${owner.slug}/invitations?invite`);
    await fill({ "E-mail addresses": `${one}, Two Too <${two}>\nno address; ${one}\n${owner.email}` });
    await reads("6 addresses");
    await page().getByLabel("Role").selectOption("Viewer");
    await page().route("**/BatchCreateInvitations", (route) => route.abort(), { times: 1 });
    await press("Send invitations");
    await page().getByRole("alert").filter({ hasText: "The server does not answer" }).waitFor();
    await press("Send invitations");
    await reads("2 of 6 are invited.");
    const dialog = page().getByRole("dialog");
    await row(dialog, one).first().getByText("Invited").waitFor();
    await row(dialog, two).getByText("Invited").waitFor();
    await assert.equal(await row(dialog, "Not an e-mail address").count(), 2);
    await row(dialog, one).last().getByText("Is in the list twice").waitFor();
    await row(dialog, owner.email).getByText("Is a member already").waitFor();
    await isAccessible();
    await pictures("invitation-results");
    await press("Correct the other 4");
    await fill({ "E-mail addresses": three });
    await press("Send invitations");
    await reads(`${three} is invited.`);
    await row(page(), three).first().waitFor();

    // Sent again, copied and revoked.
    const link = await linkMailedTo(console_.url(), one, "/accept-invitation");
    await choose(`Actions for the invitation of ${one}`, "Send again");
    await reads(`A new invitation is on its way to ${one}.`);
    await linkMailedTo(console_.url(), one, "/accept-invitation", link);
    await choose(`Actions for the invitation of ${one}`, "Copy the address");
    await reads("Copied");
    assert.equal(await page().evaluate(() => navigator.clipboard.readText()), one);
    await choose(`Actions for the invitation of ${two}`, "Revoke");
    await page().getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await row(page(), two).getByText("Revoked").waitFor();
    await page().getByRole("combobox", { name: "Filter by state" }).selectOption("Revoked");
    await row(page(), one).waitFor({ state: "detached" });
    await row(page(), two).waitFor();
    await page().getByRole("combobox", { name: "Filter by state" }).selectOption("Expired");
    await reads("No invitations");
    await page().getByRole("combobox", { name: "Filter by state" }).selectOption("All states");
    await row(page(), three).waitFor();
    await owner.manager.invitations.createInvitationLink({ workspaceId: owner.workspaceId, maxUses: 25 });
    await page().reload();
    await row(page(), "of 25").waitFor();
    await toastsGo(page());
    await isAccessible();
    await pictures("invitations");
  });

  it("invite several by one link", async () => {
    const owner = await console_.newAccount("Open House");
    const guest = newAddress();
    await openAs(owner.email, `/w/${owner.slug}/invitations`);
    await press("Create a link");
    await fill({ "How many people can use it": "2", "Only for addresses of these domains": "not a domain" });
    await page().getByLabel("Can be used for").selectOption("30 days");
    await isAccessible();
    await page().getByRole("dialog").getByRole("button", { name: "Create a link" }).click();
    await page().getByRole("dialog").getByRole("alert").waitFor();
    await fill({ "Only for addresses of these domains": "example.com" });
    await page().getByRole("dialog").getByRole("button", { name: "Create a link" }).click();
    await reads("Copy it now: it is shown only once.");
    await isAccessible();
    await press("Copy");
    await page().getByRole("button", { name: "Copied" }).waitFor();
    const link = await page().evaluate(() => navigator.clipboard.readText());
    await page().keyboard.press("Escape"); // which does not close what is shown once
    await press("Done");

    const visitor = await console_.visitor();
    await visitor.page().goto(link);
    await visitor.press("Create an account");
    await visitor.fill({ "Your e-mail address": guest, "Your name": "Grace Hopper", "New password": password });
    await visitor.press("Create account and join");
    await visitor.fill({ "Code from the mail": await codeMailedTo(console_.url(), guest) });
    await visitor.press("Confirm and join");
    await visitor.shows("Welcome");
    await visitor.page().getByRole("link", { name: "Go to the workspace" }).click();
    await visitor.shows("Open House");

    await page().reload();
    await row(page(), "1 of 2").getByText("Pending").waitFor();
    await press("Revoke the link for Member");
    await isAccessible();
    await press("Revoke");
    await row(page(), "1 of 2").getByText("Revoked").waitFor();
  });

  it("make a role of one's own, give it, change it and delete it", async () => {
    const owner = await console_.newAccount("Roles");
    const member = await console_.newAccount("Elsewhere");
    await join_(owner, member);
    await openAs(owner.email, `/w/${owner.slug}/roles`);
    await shows("Roles");
    await isAccessible();
    await page().getByRole("link", { name: "New role" }).click();
    await shows("New role");
    await press("Create the role");
    await page().locator("input[aria-invalid=true]").waitFor();
    await page().getByLabel("Start with the permissions of").selectOption("Viewer");
    await fill({ Name: "Recruiter", Description: "Brings people in" });
    await page().getByLabel("All of Invitations").check();
    assert.ok(await page().getByLabel("Hand the workspace over to another owner").isDisabled());
    await isAccessible();
    await toastsGo(page());
    await pictures("role-editor");
    await press("Create the role");
    await reads("The role Recruiter is created.");
    await shows("Roles");
    const grid = page().getByRole("table", { name: "What each role may do" });
    const invite = grid.getByRole("row", { name: /^Invite people, by mail and by link/ });
    assert.deepEqual(await held(invite), [true, true, false, false, true]);
    await toastsGo(page());
    await isAccessible();
    await toastsGo(page());
    await pictures("roles");

    // Who has it can do what it holds, and no more.
    await page().getByRole("link", { name: "Members" }).click();
    await page().getByRole("combobox", { name: `Role of ${nameIn(member.email)}` }).selectOption("Recruiter");
    await reads(`${nameIn(member.email)} is now Recruiter.`);
    const visitor = await console_.visitor();
    await visitor.openAs(member.email, `/w/${owner.slug}`);
    await visitor.reads("Recruiter");
    assert.deepEqual(await entries(visitor.page()), ["Overview", "Members", "Invitations", "Roles", "API keys"]);
    await visitor.open(`/w/${owner.slug}/invitations?invite`);
    const options = visitor.page().getByRole("dialog").getByLabel("Role").locator("option");
    await options.filter({ hasText: "Recruiter" }).waitFor({ state: "attached" });
    const offered = await options.allTextContents();
    assert.deepEqual(offered.sort(), ["Recruiter", "Viewer"]);
    await visitor.isAccessible();

    // Somebody changes it meanwhile: what they did is not lost.
    await open(`/w/${owner.slug}/roles`);
    await page().getByRole("link", { name: "Edit Recruiter" }).click();
    await shows("Edit Recruiter");
    await fill({ Description: "Brings the best people in" });
    const { roles } = await owner.manager.roles.listRoles({ workspaceId: owner.workspaceId });
    const recruiter = roles.find(({ name }) => name === "Recruiter")!;
    await owner.manager.roles.updateRole({ workspaceId: owner.workspaceId, roleId: recruiter.id, name: "Head-hunter", updateMask: { paths: ["name"] } });
    await press("Save the role");
    await page().getByRole("alert").filter({ hasText: "Somebody changed this in the meantime." }).waitFor();
    await page().getByRole("link", { name: "Cancel" }).click();
    await page().getByRole("link", { name: "Edit Head-hunter" }).click();
    await page().getByLabel("All of Invitations").uncheck();
    await press("Save the role");
    await reads("The role Head-hunter is saved.");
    assert.deepEqual(await held(invite), [true, true, false, false, false]);

    await press("Delete Head-hunter");
    await page().getByLabel("The role that they get").selectOption("Viewer");
    await isAccessible();
    await page().getByRole("dialog").getByRole("button", { name: "Delete Head-hunter" }).click();
    await reads("The role Head-hunter is deleted; 1 members have another one now.");
    await page().getByRole("link", { name: "Members" }).click();
    await row(page(), member.email).waitFor();
    assert.equal(await page().getByRole("combobox", { name: `Role of ${nameIn(member.email)}` }).inputValue(), "viewer");
  });

  it("prove a domain, and let in who asks to join by it", async () => {
    const owner = await console_.newAccount("Domains");
    const [welcome, unwelcome] = [await console_.newAccount("Own"), await console_.newAccount("Own")];
    await openAs(owner.email, `/w/${owner.slug}/domains`);
    await shows("Domains");
    await reads("No domains");
    await isAccessible();
    await fill({ Domain: "co.uk" });
    await press("Add a domain");
    await reads(/many register their domains/);
    await isAccessible();
    await fill({ Domain: "Example.com" });
    await press("Add a domain");
    const domain = page().getByRole("region", { name: "example.com" });
    await domain.getByText("Not verified").waitFor();
    await domain.getByRole("button", { name: "Copy the value" }).click();
    await domain.getByRole("button", { name: "Verify" }).click();
    await domain.getByRole("alert").waitFor();
    await isAccessible();
    await toastsGo(page());
    await pictures("domains");
    dns.record = await page().evaluate(() => navigator.clipboard.readText());
    await domain.getByRole("button", { name: "Verify" }).click();
    await reads("example.com is verified.");
    // A choice made while another one is on its way does not undo it.
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    await page().route("**/UpdateDomainEnrollment", async (route) => {
      await held;
      await route.continue();
    }, { times: 1 });
    let answers = 0;
    const both = page().waitForResponse((response) => response.url().endsWith("/UpdateDomainEnrollment") && ++answers === 2);
    await domain.getByLabel("People with an address at it").selectOption("join when they sign in");
    await domain.getByLabel("Role of those who join").selectOption("Viewer");
    release();
    await both;
    const { domains } = await owner.manager.domains.listDomains({ workspaceId: owner.workspaceId });
    assert.deepEqual(domains.map(({ enrollment, role }) => [enrollment, role]), [[DomainEnrollment.AUTOMATIC, "viewer"]]);
    await domain.getByLabel("People with an address at it").selectOption("can ask to join");
    await isAccessible();

    for (const { manager } of [welcome, unwelcome]) {
      await expectJoinable(manager, owner.workspaceId);
      await manager.joinRequests.createJoinRequest({ workspaceId: owner.workspaceId, message: "Let me in, please" });
    }
    await page().getByRole("link", { name: "Join requests" }).click();
    await shows("Join requests");
    await page().getByRole("article", { name: nameIn(welcome.email) }).getByText("“Let me in, please”").waitFor();
    await isAccessible();
    await toastsGo(page());
    await pictures("join-requests");
    await page().getByRole("combobox", { name: `Role for ${nameIn(welcome.email)}` }).selectOption("Viewer");
    await press(`Approve ${nameIn(welcome.email)}`);
    await reads(`${nameIn(welcome.email)} is a member now.`);
    await press(`Decline ${nameIn(unwelcome.email)}`);
    await isAccessible();
    await press("Decline");
    await reads("Nobody is waiting for an answer.");
    await page().getByRole("combobox", { name: "Filter by state" }).selectOption("Declined");
    await page().getByRole("article", { name: nameIn(unwelcome.email) }).waitFor();
    await page().getByRole("link", { name: "Members" }).click();
    await row(page(), welcome.email).waitFor();
    assert.equal(await row(page(), unwelcome.email).count(), 0);

    await page().getByRole("link", { name: "Domains" }).click();
    await press("Delete example.com");
    await isAccessible();
    await page().getByRole("dialog").getByRole("button", { name: "Delete example.com" }).click();
    await reads("No domains");
  });

  /** Makes a person a member of somebody's workspace, by the API. */
  async function join_(owner: Account, person: Account): Promise<void> {
    const { invitation } = await owner.manager.invitations.createInvitation({ workspaceId: owner.workspaceId, email: person.email });
    await person.manager.invitations.acceptInvitation({ invitationId: invitation!.id });
  }

  async function expectJoinable({ joinRequests }: Account["manager"], workspaceId: string): Promise<void> {
    const { workspaces } = await joinRequests.listJoinableWorkspaces({});
    assert.deepEqual(workspaces.map((one) => one.workspaceId), [workspaceId]);
  }
});

/** The row of a table in which there is this. */
function row(within: Page | ReturnType<Page["locator"]>, text: string) {
  return within.getByRole("row").filter({ hasText: text });
}

/** What somebody is called who gave no name. */
function nameIn(email: string): string {
  return email.split("@")[0]!;
}

/** The pages that are offered. */
async function entries(page: Page): Promise<string[]> {
  return page.getByRole("navigation").getByRole("link").allTextContents();
}

/** Which roles hold the permission of a row. */
async function held(row: ReturnType<Page["locator"]>): Promise<boolean[]> {
  await row.waitFor();
  const cells = await row.getByRole("cell").all();
  return Promise.all(cells.map(async (cell) => (await cell.getByRole("img", { name: "yes" }).count()) === 1));
}

/** Waits until nothing covers the page for a picture, which begins at its top. */
async function toastsGo(page: Page): Promise<void> {
  for (const button of await page.locator(".mantine-Notifications-root").getByRole("button", { name: "Close" }).all()) {
    await button.click().catch(() => undefined); // gone already
  }
  await page.evaluate(() => window.scrollTo(0, 0));
}
