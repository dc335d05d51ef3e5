import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { outputFolder } from "../../client/ts/test/paths.js";
import type { Account, Console } from "./support.js";

mkdirSync(outputFolder, { recursive: true });
const plansFile = join(outputFolder, `plans-${process.pid}.yaml`); // of this file of tests alone
writeFileSync(
  plansFile,
  `plans:
  - {plan: free, name: Free, description: To begin with., default: true, features: {seats: 3, api_calls: {meter: api_calls, limit: 1000}}}
  - plan: team
    name: Team
    description: For a team that works together.
    trial_days: 14
    prices:
      - {currency: EUR, interval: month, flat: 20, seat: {amount: 7.50, included: 2}, usage: [{meter: api_calls, tiers: [{up_to: 1000, unit: 0}, {unit: 0.002}]}]}
      - {currency: EUR, interval: year, flat: 200}
    features: {seats: 20, sso: true, api_calls: {meter: api_calls, limit: 10000, soft: true}}
  - plan: business
    name: Business
    description: For companies that grow.
    prices: [{currency: EUR, interval: month, flat: 99}, {currency: EUR, interval: year, flat: 990}]
    features: {seats: unlimited, sso: true}
`,
);
/** What the server with {@link settings} calls the product. */
export const productName = "Difference & <i>Engines";
/** Settings of a server that has plans. */
export const settings = { MANAGER_PLANS_FILE: plansFile, MANAGER_INVOICE_ISSUER: "Engines Ltd|12 Dorset Street", MANAGER_PRODUCT_NAME: productName };

/** Makes an account whose workspace pays for the plan Team. */
export async function subscribed(console: Console, name: string): Promise<Account> {
  const account = await console.newAccount(name);
  const choice = { workspaceId: account.workspaceId, plan: "team", currency: "EUR", interval: 1 };
  const { etag } = await account.manager.subscriptions.previewChangeSubscription(choice);
  await account.manager.subscriptions.changeSubscription({ ...choice, etag });
  return account;
}
