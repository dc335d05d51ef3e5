import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { settings, subscribed } from "./paying.js";
import { joins, password, startConsole, type Visitor } from "./support.js";

describe("the end of a workspace", () => {
  const age = 10;
  const console = startConsole("console-deletion", { ...settings, MANAGER_REAUTHENTICATION_AGE: `${age}s` });
  let looked = false; // at the question who they are

  it("is previewed, typed, proven, taken back, and then for good", async () => {
    const owner = await subscribed(console, "Doomed");
    const member = await console.newAccount("Stays");
    await joins(owner, member);
    await owner.manager.workspaces.createWorkspace({ name: "Refuge" });
    await console.openAs(owner.email, `/w/${owner.slug}/settings`);
    await console.shows("Settings");
    const signedIn = Date.now();
    await console.press("Delete the workspace");
    await console.reads("Nobody’s account is deleted.");
    await console.reads("2 people stay: they belong to other workspaces.");
    await console.reads("Memberships: 2");
    await console.reads(/The plan is paid for, or tried, until/);
    await console.reads("1 invoice is open, and stays due.");
    await console.isAccessible();

    // The team changes meanwhile: what is shown is not what would be deleted any more.
    const newcomer = await console.newAccount("Goes too");
    await joins(owner, newcomer);
    const submit = console.page().getByRole("dialog").getByRole("button", { name: "Delete the workspace" });
    assert.ok(await submit.isDisabled());
    await console.fill({ "Type “Doomed” to confirm": "doomed" });
    assert.ok(await submit.isDisabled());
    await console.fill({ "Type “Doomed” to confirm": "Doomed" });
    await sleep(signedIn + age * 1000 - Date.now());
    await submit.click();
    assert.ok(await prove(console), "the sign-in is not recent any more, and nobody asks");
    await console.reads("Somebody changed this in the meantime.");
    await console.reads("3 people stay");
    await submit.click();
    await prove(console);
    await console.reads("This workspace is deleted");
    await console.isAccessible();
    await console.page().getByRole("link", { name: "Billing" }).click();
    await console.reads("While the workspace is deleted nothing is charged.");
    await console.page().getByText(/^INV-/).first().waitFor();
    await console.isAccessible();

    await console.page().getByRole("link", { name: "Settings" }).click();
    await console.press("Restore the workspace");
    await console.reads("The workspace is back.");
    await owner.manager.workspaces.getWorkspace({ workspaceId: owner.workspaceId });

    for (const button of ["Delete the workspace", "Remove for good now"]) {
      await console.press(button);
      await console.fill({ "Type “Doomed” to confirm": "Doomed" });
      await console.isAccessible();
      await console.page().getByRole("dialog").getByRole("button", { name: button }).click();
      await prove(console);
      await console.reads(button === "Delete the workspace" ? "The workspace is deleted." : "The workspace is removed.");
    }
    await console.shows("Refuge");
    assert.deepEqual((await owner.manager.workspaces.listWorkspaces({ showDeleted: true })).workspaces.map(({ workspace }) => workspace?.name), ["Refuge"]);
    await console.open(`/w/${owner.slug}/settings`);
    await console.shows("404");
  });

  it("leads who deleted all they had to the end of their setup", async () => {
    const owner = await console.newAccount("Alone");
    await console.openAs(owner.email, `/w/${owner.slug}/settings`);
    await console.press("Delete the workspace");
    await console.reads("1 person is deleted, with their account");
    await console.reads(/\(you\)/);
    await console.fill({ "Type “Alone” to confirm": "Alone" });
    await console.page().getByRole("dialog").getByRole("button", { name: "Delete the workspace" }).click();
    await prove(console);
    await console.shows("Finish setup");
    await console.press("Restore");
    await console.page().waitForURL(`${console.url()}/w/${owner.slug}**`);
    await console.page().getByRole("navigation", { name: "Alone" }).waitFor();
  });

  /** Proves who they are, if that is asked before the dialog is done, and tells whether it was. */
  async function prove(visitor: Visitor): Promise<boolean> {
    const field = visitor.page().getByLabel("Password", { exact: true });
    const done = visitor.page().getByRole("dialog").getByText(/^Type/).waitFor({ state: "detached", timeout: 15_000 });
    const asked = await Promise.race([field.waitFor({ timeout: 15_000 }).then(() => true), done.then(() => false)]);
    if (asked) {
      if (!looked) {
        await visitor.isAccessible(); // It is the same question each time.
        looked = true;
      }
      await field.fill(password);
      await visitor.page().keyboard.press("Enter");
      await field.waitFor({ state: "detached" });
    }
    return asked;
  }
});
