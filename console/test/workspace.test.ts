import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createManager, isReason } from "@logicspike/manager";
import { createKey, fillKey, shownKey } from "./keys.js";
import { settings } from "./paying.js";
import { joins, rows, startConsole } from "./support.js";

describe("the API keys, events and settings of a workspace", () => {
  const console = startConsole("console-workspace", settings);

  it("makes an API key, shows it once, rotates and revokes it", async () => {
    const owner = await console.newAccount("Keyed");
    await console.openAs(owner.email, `/w/${owner.slug}/api-keys`);
    await console.reads("No API keys yet");
    await console.isAccessible();
    await fillKey(console, "Laptop", "workspace.get");
    await console.isAccessible();
    await console.press("Create the key");
    const token = await shownKey(console);
    assert.ok(!(await console.page().content()).includes(token));
    const may = async (key: string) => {
      try {
        await createManager({ baseUrl: console.url(), sessionToken: key }).workspaces.getWorkspace({ workspaceId: owner.workspaceId });
        return true;
      } catch (error) {
        assert.ok(isReason(error, "SESSION_REQUIRED"), String(error));
        return false;
      }
    };
    assert.ok(await may(token));
    await console.page().reload();
    await console.reads(`lsmk_…${token.slice(-4)}`);
    await rows(console, ["Laptop", /\d/]);
    await console.pictures("api-keys");

    await console.choose("What to do with Laptop", "Rotate");
    await console.page().getByLabel("The old secret keeps working for").selectOption("a day");
    await console.press("Rotate the key");
    const rotated = await shownKey(console);
    assert.notEqual(rotated, token);
    assert.ok((await may(token)) && (await may(rotated)));
    await console.reads(/The previous secret works until/);

    await console.choose("What to do with Laptop", "Revoke");
    await console.press("Revoke the key");
    await console.reads("The key is revoked.");
    await console.reads("No API keys yet");
    assert.ok(!(await may(token)) && !(await may(rotated)));

    // It is shown though there is no network right after it.
    let failed = 0;
    await console.page().route("**/CreateApiKey", async (route) => {
      const response = await route.fetch();
      await console.page().route("**/logicspike.*/**", async (after) => {
        failed += after.request().url().endsWith("/ListWorkspaces") ? 1 : 0;
        await after.abort();
      });
      await route.fulfill({ response });
    }, { times: 1 });
    await console.page().clock.install();
    await fillKey(console, "Last", "workspace.get");
    await console.press("Create the key");
    await console.page().getByLabel("API key", { exact: true }).waitFor();
    for (const start = Date.now(); failed < 3 && Date.now() - start < 20_000; ) {
      await console.page().clock.runFor(500); // until it is read anew in vain for good
      await console.page().waitForTimeout(50);
    }
    assert.equal(failed, 3);
    await console.page().waitForTimeout(500);
    await shownKey(console);
    await console.page().unroute("**/logicspike.*/**");
    await console.page().reload();
    await console.choose("What to do with Last", "Revoke");
    await console.press("Revoke the key");
    await console.reads("No API keys yet");

    // When the answer with the key is lost it cannot be shown again.
    await console.page().route("**/CreateApiKey", async (route) => {
      await route.fetch();
      await route.abort();
    }, { times: 1 });
    await fillKey(console, "Lost", "workspace.get");
    await console.press("Create the key");
    await console.reads("The server does not answer.");
    await console.press("Create the key");
    await console.reads("the answer that showed it was lost");
    await console.answer("Close");
    await rows(console, ["Lost", "Never"]);
  });

  it("makes a service account with a key of its own, changes and deletes it", async () => {
    const owner = await console.newAccount("Served");
    await console.openAs(owner.email, `/w/${owner.slug}/api-keys`);
    await console.press("Create a service account");
    await console.press("Create");
    await console.page().getByText("Fill this in.").first().waitFor(); // by the rules of the schema
    await console.fill({ Name: "Importer", "What it is for": "Brings in orders" });
    await console.isAccessible();
    await console.press("Create");
    await rows(console, ["Importer", "Brings in orders"]);
    await console.press("Create an API key");
    await console.page().getByLabel("Owner").selectOption("Importer");
    const token = await createKey(console, "Nightly", "workspace.get", false);
    await createManager({ baseUrl: console.url(), sessionToken: token }).workspaces.getWorkspace({ workspaceId: owner.workspaceId });
    await rows(console, ["Nightly", "Importer"]);
    await console.choose("What to do with Importer", "Change");
    await console.fill({ Name: "Exporter" });
    await console.press("Save");
    await rows(console, ["Nightly", "Exporter"]);
    await console.choose("What to do with Exporter", "Delete");
    await console.press("Delete the service account");
    await console.reads("No service accounts yet");
    await console.reads("No API keys yet");
  });

  it("lists who did what: filtered, in either order, page by page", async () => {
    const owner = await console.newAccount("Watched");
    const { serviceAccount } = await owner.manager.serviceAccounts.createServiceAccount({ workspaceId: owner.workspaceId, displayName: "Builder" });
    const { token } = await owner.manager.apiKeys.createApiKey({
      workspaceId: owner.workspaceId,
      displayName: "Builder's",
      permissions: ["workspace.update"],
      serviceAccountId: serviceAccount!.id,
    });
    const program = createManager({ baseUrl: console.url(), sessionToken: token });
    const rename = (n: number) => program.workspaces.updateWorkspace({ workspaceId: owner.workspaceId, name: `Watched ${n}` });
    await Promise.all(Array.from({ length: 53 }, (_, n) => rename(n + 1)));
    await rename(54);
    await rename(55);
    await console.openAs(owner.email, `/w/${owner.slug}/events`);
    await console.shows("Events");
    await rows(console, ["Service account Builder", "Workspace changed", "Name: Watched 54 → Watched 55"]);
    await console.isAccessible();
    await console.pictures("events");
    assert.equal(await console.page().getByText("Workspace created").filter({ visible: true }).count(), 0);
    await console.press("Show more");
    await rows(console, ["You", "Workspace created"], ["You", "API key created"]);
    await console.page().getByLabel("What was done").selectOption("Service account created");
    await rows(console, ["You", "Service account created"]);
    await console.page().getByRole("cell", { name: "Workspace changed" }).first().waitFor({ state: "detached" });
    await console.page().getByLabel("What was done").selectOption("Role edited");
    await console.reads("No such events");
    await console.page().getByLabel("What was done").selectOption("Plan changed");
    await console.reads("No such events");
    await console.page().getByLabel("What was done").selectOption("Anything");
    const by = console.page().getByRole("combobox", { name: "By whom" });
    await by.fill("buil");
    await console.page().getByRole("option", { name: "Service account Builder" }).click();
    await rows(console, ["Service account Builder", "Workspace changed"]);
    await console.page().getByRole("cell", { name: "You" }).first().waitFor({ state: "detached" });
    await by.fill(owner.email);
    await console.page().getByRole("option", { name: owner.email }).click();
    await rows(console, ["You", "Service account created"]);
    const today = new Date().toISOString().slice(0, 10);
    await console.fill({ From: "2001-01-01", Until: "2020-12-31" });
    await console.reads("No such events");
    await console.fill({ From: today, Until: today });
    await rows(console, ["You", "Service account created"]);
    await console.page().getByLabel("Order").selectOption("Oldest first");
    await console.page().getByRole("row").nth(1).filter({ hasText: "Workspace created" }).waitFor();
  });

  it("gives the workspace another name and address, which the page's follows", async () => {
    const owner = await console.newAccount("Old name");
    const other = await console.newAccount("Somebody else");
    await console.openAs(owner.email, `/w/${owner.slug}/settings`);
    await console.shows("Settings");
    assert.ok(await console.page().getByRole("button", { name: "Save" }).isDisabled());
    await console.isAccessible();
    await console.pictures("settings");
    await console.fill({ "Name of the workspace": "New name", Address: other.slug });
    await console.reads(/Another workspace has this address\. .+ is free\./);
    await console.press("Save");
    await console.reads("Another workspace has this address.");
    const slug = `new-${owner.slug}`;
    await console.fill({ Address: slug });
    await console.reads("This address is free.");
    await console.press("Save");
    await console.reads("Saved");
    await console.page().waitForURL(`**/w/${slug}/settings`);
    await console.shows("Settings");
    await console.page().getByRole("button", { name: /New name/ }).waitFor();
    // Somebody else changes it meanwhile: nothing is overwritten unseen.
    await owner.manager.workspaces.updateWorkspace({ workspaceId: owner.workspaceId, name: "Their name" });
    await console.fill({ "Name of the workspace": "My name" });
    await console.press("Save");
    await console.reads("it is called Their name");
    await console.press("Continue from there");
    await console.fill({ "Name of the workspace": "My name" });
    await console.press("Save");
    await console.page().getByRole("button", { name: /My name/ }).waitFor();
  });

  it("shows to who may not neither billing nor events nor settings", async () => {
    const owner = await console.newAccount("Guarded");
    const member = await console.newAccount("Own");
    await joins(owner, member);
    await console.openAs(member.email, `/w/${owner.slug}`);
    await console.shows("Guarded");
    await console.page().getByRole("link", { name: "API keys" }).waitFor();
    for (const name of ["Billing", "Events", "Settings"]) {
      assert.equal(await console.page().getByRole("link", { name }).count(), 0, name);
      await console.open(`/w/${owner.slug}/${name.toLowerCase()}`);
      await console.shows(name);
      await console.reads("This page does not exist, or you may not see it.");
    }
    await console.open(`/w/${owner.slug}/api-keys`);
    await console.reads("No API keys yet");
    assert.equal(await console.page().getByRole("button", { name: "Create a service account" }).count(), 0);
    await console.isAccessible();
  });
});
