import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { createManager, InvoiceState, SubscriptionState } from "@logicspike/manager";
import { createKey } from "./keys.js";
import { productName, settings, subscribed } from "./paying.js";
import { joins, rows, startConsole, type Account } from "./support.js";

describe("the billing of a workspace", () => {
  const console = startConsole("console-billing", settings);

  it("changes the plan as it was previewed, also when somebody joins meanwhile or the answer is lost", async () => {
    const owner = await console.newAccount("Paying");
    await console.openAs(owner.email, `/w/${owner.slug}/billing`);
    await console.shows("Billing");
    assert.equal(await console.page().title(), `Billing · Paying · ${productName}`);
    await console.reads(productName);
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
    await console.answer(/^Change and get an invoice/);
    await console.page().getByRole("alert").filter({ hasText: "The server does not answer" }).waitFor();
    assert.equal((await subscription(owner)).plan?.plan, "business");
    await console.answer(/^Change/);
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
    await console.answer("Change the seats");
    await console.reads("The seats are changed.");
    await console.reads("You have bought 5 seats.");
    await console.reads("1 of 5 seats is taken");
    await console.reads("3 seats are charged beyond those included.");
    await rows(console, ["Team, seats, remaining time", "€22.50"], ["Total", "€65.00"]);
    assert.equal((await subscription(owner)).seatCount, 5);
  });

  it("tries a plan, cancels it, takes that back, and cancels at once", async () => {
    const owner = await console.newAccount("Trying");
    let bought: { plan: string; currency: string } | undefined;
    await console.openAs(owner.email, `/w/${owner.slug}`);
    await console.page().getByRole("link", { name: "Choose a plan" }).click();
    await console.press("Try Team for 14 days");
    await console.reads(/for €20.00 per month, unless you cancel before/);
    await console.press("Start the trial");
    await console.reads(/The trial ends on/);
    assert.equal((await subscription(owner)).state, SubscriptionState.TRIALING);
    // It goes on by itself, and is paid for then; another one is bought now.
    await console.press("Keep Team");
    await console.reads("There is nothing to do: Team continues when the trial ends");
    await rows(console, ["Due now", "€0.00"], [/^From /, "€20.00"]);
    await console.isAccessible();
    await console.answer("Close");
    await console.press("Choose Business");
    await rows(console, ["Business", "€99.00"], ["Due now", "€99.00"]);
    await console.answer("Cancel");
    await console.press("Cancel the plan");
    await console.reads("The workspace then goes to the plan Free.");
    await console.isAccessible();
    await console.answer("Keep the plan");
    await console.press("Cancel the plan");
    await console.answer("Cancel the plan");
    await console.reads("Your plan is canceled");
    await console.press("Keep Team");
    await rows(console, ["Due now", "€0.00"], [/^From /, "€20.00"]);
    await console.answer("Keep Team");
    await console.reads("The plan continues.");
    assert.equal((await subscription(owner)).scheduledCancelTime, undefined);
    // Where the payment provider sells it, it is bought there.
    await console.page().route("**/PreviewChangeSubscription*", (route) => route.fulfill({ status: 400, json: paymentRequired }), { times: 1 });
    await console.page().route("**/CreateCheckoutSession", async (route) => {
      bought = route.request().postDataJSON() as typeof bought;
      await route.fulfill({ json: { url: `${console.url()}/favicon.svg` } });
    }, { times: 1 });
    await console.press("Keep Team");
    await console.reads("Nothing is charged before the trial ends on");
    await console.answer("Continue to payment");
    await console.page().waitForURL("**/favicon.svg");
    assert.deepEqual([bought?.plan, bought?.currency], ["team", "EUR"]);
    await console.open(`/w/${owner.slug}`);
    await console.page().getByRole("listitem").filter({ hasText: "Done: Choose a plan" }).waitFor();
    await console.isAccessible();
    await console.page().getByRole("link", { name: "Billing" }).click();

    await console.press("Cancel the plan");
    await console.answer("Cancel the plan");
    await console.press("Resume the plan");
    await console.reads("The plan continues.");
    assert.equal((await subscription(owner)).scheduledCancelTime, undefined);
    await console.press("Cancel the plan");
    await console.page().getByLabel("Now", { exact: true }).check();
    await console.answer("Cancel the plan");
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
});

/** What the server answers where the payment provider sells a plan. */
const paymentRequired = {
  code: "failed_precondition",
  message: "the plan is bought at the payment provider",
  details: [{ type: "google.rpc.ErrorInfo", value: Buffer.from("\n\x10PAYMENT_REQUIRED\x12\x12manager.logicspike").toString("base64") }],
};

async function subscription({ manager, workspaceId }: Account) {
  return (await manager.subscriptions.getSubscription({ workspaceId })).subscription!;
}
