import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { DomainEnrollment } from "@logicspike/manager";
import { codeMailedTo, linkMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { startDns } from "./dns.js";
import { nameIn, password, row, startConsole, toastsGo, type Account } from "./support.js";

const dns = await startDns();

describe("the pages of a team, for who comes in", () => {
  const console_ = startConsole("console-joining", { MANAGER_DNS_RESOLVER: dns.address });
  const { page, open, openAs, shows, reads, fill, press, choose, isAccessible, pictures } = console_;
  after(() => dns.stop());

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

  async function expectJoinable({ joinRequests }: Account["manager"], workspaceId: string): Promise<void> {
    const { workspaces } = await joinRequests.listJoinableWorkspaces({});
    assert.deepEqual(workspaces.map((one) => one.workspaceId), [workspaceId]);
  }
});
