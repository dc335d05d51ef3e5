import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { createManager, InvoiceState, isReason, SubscriptionState } from "@logicspike/manager";
import { joins, settings, subscribed } from "./paying.js";
import { startConsole, type Account, type Visitor } from "./support.js";

describe("the business of a workspace", () => {
  const console = startConsole("console-business", settings);

  it("changes the plan as it was previewed, also when somebody joins meanwhile or the answer is lost", async () => {
    const owner = await console.newAccount("Paying");
    await console.openAs(owner.email, `/w/${owner.slug}/billing`);
    await console.shows("Billing");
    await console.reads("There is nothing to be charged.");
    await console.reads("No invoices yet");
    await console.isAccessible();
    await console.press("Choose Team");
    await rows(console, ["Team", "€20.00"], ["Total", "€20.00"], ["Due now", "€20.00"], [/^From /, "€20.00"]);
    await console.isAccessible();
    await console.press("Change and get an invoice of €20.00");
    await console.reads("The plan is changed.");
    await console.reads(/Renews on/);
    assert.equal((await subscription(owner)).plan?.plan, "team");

    // Somebody joins while the preview is looked at: it is shown anew, and confirmed again.
    const guest = await console.newAccount("Elsewhere");
    await console.press("Choose Business");
    await rows(console, ["Team: paid and not used", "-€20.00"], ["Business", "€99.00"], ["Due now", "€79.00"], [/^From /, "€99.00"]);
    await joins(owner, guest);
    await console.press("Change and get an invoice of €79.00");
    await console.page().getByRole("alert").filter({ hasText: "Somebody changed this in the meantime" }).waitFor();
    assert.equal((await subscription(owner)).plan?.plan, "team");

    // The change is made, but its answer is lost: done again, it is what it was.
    await console.page().route("**/ChangeSubscription", async (route) => {
      await route.fetch();
      await route.abort();
    }, { times: 1 });
    await dialog(console, /^Change and get an invoice/);
    await console.page().getByRole("alert").filter({ hasText: "The server does not answer" }).waitFor();
    assert.equal((await subscription(owner)).plan?.plan, "business");
    await dialog(console, /^Change/);
    await console.reads("The plan is changed.");
    assert.equal((await owner.manager.invoices.listInvoices({ workspaceId: owner.workspaceId })).invoices.length, 2);

    // By the year a period begins, and is due.
    await console.page().getByText("Year", { exact: true }).click();
    await console.reads("€990.00 per year");
    await console.press("Choose Business");
    await rows(console, ["Business", "€990.00"]);
    await console.press("Cancel");
    // What the plan cannot hold is said.
    await owner.manager.seats.updateSeatCount({ workspaceId: owner.workspaceId, seatCount: 50 });
    await console.press("Choose Free");
    await console.reads("The plan has fewer seats than you have bought, or want.");
    await console.page().keyboard.press("Escape");
  });

  it("buys seats, as it was previewed", async () => {
    const owner = await subscribed(console, "Seated");
    await console.openAs(owner.email, `/w/${owner.slug}/billing`);
    await console.press("Change the seats");
    await console.page().getByLabel("A fixed number").check();
    await console.fill({ "Number of seats": "21" });
    await console.reads("The plan has fewer seats");
    // Nothing is bought before its price is shown.
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    await console.page().route("**/UpdateSeatCount", async (route) => {
      await held;
      await route.continue();
    }, { times: 1 });
    await console.fill({ "Number of seats": "5" });
    await console.page().getByRole("dialog").getByText("Loading").waitFor({ state: "attached" });
    assert.ok(await console.page().getByRole("dialog").getByRole("button", { name: "Change the seats" }).isDisabled());
    release();
    await rows(console, ["Team: 3 members", "€22.50"], [/^From /, "€42.50"]);
    await console.isAccessible();
    await dialog(console, "Change the seats");
    await console.reads("The seats are changed.");
    await console.reads("You have bought 5 seats.");
    await console.reads("1 of 5 seats is taken");
    await console.reads("3 seats are charged beyond those included.");
    await rows(console, ["Team, seats, remaining time", "€22.50"], ["Total", "€65.00"]);
    assert.equal((await subscription(owner)).seatCount, 5);
  });

  it("tries a plan, cancels it, takes that back, and cancels at once", async () => {
    const owner = await console.newAccount("Trying");
    await console.openAs(owner.email, `/w/${owner.slug}/billing`);
    await console.press("Try Team for 14 days");
    await console.reads(/for €20.00 per month, unless you cancel before/);
    await console.press("Start the trial");
    await console.reads(/The trial ends on/);
    assert.equal((await subscription(owner)).state, SubscriptionState.TRIALING);
    await console.press("Cancel the plan");
    await console.reads("The workspace then goes to the plan Free.");
    await console.isAccessible();
    await dialog(console, "Keep the plan");
    await console.press("Cancel the plan");
    await dialog(console, "Cancel the plan");
    await console.reads("Your plan is canceled");
    await console.press("Resume the plan");
    await console.reads("The plan continues.");
    assert.equal((await subscription(owner)).scheduledCancelTime, undefined);
    await console.press("Cancel the plan");
    await console.page().getByLabel("Now", { exact: true }).check();
    await dialog(console, "Cancel the plan");
    await console.page().getByRole("dialog").waitFor({ state: "detached" });
    assert.equal((await subscription(owner)).plan?.plan, "free");
    await console.page().getByRole("button", { name: "Choose Team" }).waitFor();
    assert.equal(await console.page().getByRole("button", { name: /Try Team|Cancel the plan/ }).count(), 0);
    // Of an earlier version, the plan is theirs as well.
    await console.page().route("**/GetSubscription", async (route) => {
      const response = await route.fetch();
      const { subscription, ...rest } = await response.json();
      await route.fulfill({ response, json: { ...rest, subscription: { ...subscription, plan: { ...subscription.plan, version: 7 } } } });
    });
    await console.page().reload();
    const free = console.page().getByRole("article", { name: "Free" });
    await free.getByText("You have an earlier version of it.").waitFor();
    await free.getByRole("button", { name: "Change to the new version" }).waitFor();
  });

  it("shows an invoice as a page and as PDF, and how it is paid", async () => {
    const owner = await subscribed(console, "Invoiced");
    await console.openAs(owner.email, `/w/${owner.slug}/billing`);
    const invoices = await owner.manager.invoices.listInvoices({ workspaceId: owner.workspaceId });
    const { number, state } = invoices.invoices[0]!;
    assert.equal(state, InvoiceState.OPEN);
    await console.reads("Engines Ltd");
    const [file] = await Promise.all([console.page().waitForEvent("download"), console.press(`${number} as PDF`)]);
    assert.match(file.suggestedFilename(), /\.pdf$/);
    assert.equal(readFileSync(await file.path()).subarray(0, 5).toString(), "%PDF-");
    const [shown] = await Promise.all([console.page().waitForEvent("popup"), console.press(`View ${number}`)]);
    await shown.getByText(number).first().waitFor();
    await shown.getByText("20.00").first().waitFor();
    await shown.close();
    // A document that cannot be had is told.
    await console.page().route("**/RenderInvoice*", (route) => route.abort(), { times: 1 });
    await console.press(`${number} as PDF`);
    await console.reads("The server does not answer.");
  });

  it("shows what was used, as an API key recorded it", async () => {
    const owner = await subscribed(console, "Metered");
    await console.openAs(owner.email, `/w/${owner.slug}/api-keys`);
    await console.shows("API keys");
    const token = await createKey(console, "Meter reader", "usage.record");
    const program = createManager({ baseUrl: console.url(), sessionToken: token });
    await program.usage.batchRecordUsage({
      workspaceId: owner.workspaceId,
      events: [1, 2, 3].map((n) => ({ eventId: `event-${n}`, meter: "api_calls", quantity: BigInt(n * 500) })),
    });
    await console.page().getByRole("link", { name: "Billing" }).click();
    await console.reads("3,000 of 10,000 used in this period");
    await console.page().getByRole("img", { name: "API calls: 3,000 in all, at most 3,000 at a time" }).waitFor();
    await console.reads("API calls: the first 1,000 free, then €0.002 each");
    await console.page().getByText("Show the numbers").click();
    await rows(console, [/./, "3,000"]);
    await console.page().getByLabel("When").selectOption("The last 24 hours");
    await console.page().getByRole("img", { name: "API calls: 3,000 in all, at most 3,000 at a time" }).waitFor();
    await rows(console, [/usage/i, "€4.00"]); // of the next invoice
    await console.isAccessible();
    await console.page().reload();
    await rows(console, [/usage/i, "€4.00"]);
    await console.pictures("billing");
  });

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
    await fillKey(console, "Last", "workspace.get");
    await console.press("Create the key");
    await console.page().getByLabel("API key", { exact: true }).waitFor();
    for (const start = Date.now(); failed < 3 && Date.now() - start < 20_000; ) {
      await console.page().waitForTimeout(100); // until it is read anew in vain for good
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
    await dialog(console, "Close");
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
    for (let n = 1; n <= 55; n++) {
      await program.workspaces.updateWorkspace({ workspaceId: owner.workspaceId, name: `Watched ${n}` });
    }
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

/** Waits for rows of tables that hold texts. */
async function rows(visitor: Visitor, ...expected: (string | RegExp)[][]): Promise<void> {
  for (const texts of expected) {
    let row = visitor.page().getByRole("row");
    for (const hasText of texts) {
      row = row.filter({ hasText });
    }
    await row.first().waitFor().catch(async (error: unknown) => {
      throw new Error(`no row with ${texts.join(", ")}:\n${await visitor.page().locator("body").ariaSnapshot()}`, { cause: error });
    });
  }
}

/** Presses a button of the open dialog. */
async function dialog(visitor: Visitor, name: string | RegExp): Promise<void> {
  await visitor.page().getByRole("dialog").getByRole("button", { name, exact: true }).click();
}

async function subscription({ manager, workspaceId }: Account) {
  return (await manager.subscriptions.getSubscription({ workspaceId })).subscription!;
}

async function fillKey(visitor: Visitor, name: string, permission: string, open = true): Promise<void> {
  if (open) {
    await visitor.press("Create an API key");
  }
  await visitor.fill({ Name: name, "Search permissions": permission });
  await visitor.page().getByRole("checkbox").first().check();
}

/** Makes a key, and returns what is shown once. */
async function createKey(visitor: Visitor, name: string, permission: string, open = true): Promise<string> {
  await fillKey(visitor, name, permission, open);
  await visitor.press("Create the key");
  return shownKey(visitor);
}

/** Reads the key that is shown, by copying it. */
async function shownKey(visitor: Visitor): Promise<string> {
  const field = visitor.page().getByLabel("API key", { exact: true });
  await field.waitFor();
  const token = await field.inputValue();
  assert.match(token, /^lsmk_[0-9A-Za-z]{49}$/);
  await visitor.press("Copy");
  assert.equal(await visitor.page().evaluate(() => navigator.clipboard.readText()), token);
  await visitor.press("I have copied it");
  await field.waitFor({ state: "detached" });
  return token;
}
