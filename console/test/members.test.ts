import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Locator } from "playwright-core";
import { linkMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { entries, joins, nameIn, password, row, startConsole, toastsGo } from "./support.js";

describe("the pages of a team, for its members and their roles", () => {
  const console_ = startConsole("console-members");
  const { page, open, openAs, shows, reads, fill, press, choose, isAccessible, pictures } = console_;

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

  it("make a role of one's own, give it, change it and delete it", async () => {
    const owner = await console_.newAccount("Roles");
    const member = await console_.newAccount("Elsewhere");
    await joins(owner, member);
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
    await reads("The role Head-hunter is deleted; 1 member has another one now.");
    await page().getByRole("link", { name: "Members" }).click();
    await row(page(), member.email).waitFor();
    assert.equal(await page().getByRole("combobox", { name: `Role of ${nameIn(member.email)}` }).inputValue(), "viewer");
  });
});

/** Which roles hold the permission of a row. */
async function held(row: Locator): Promise<boolean[]> {
  await row.waitFor();
  const cells = await row.getByRole("cell").all();
  return Promise.all(cells.map(async (cell) => (await cell.getByRole("img", { name: "yes" }).count()) === 1));
}
