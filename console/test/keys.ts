import assert from "node:assert/strict";
import type { Visitor } from "./support.js";

/** Fills in what an API key is to be. */
export async function fillKey(visitor: Visitor, name: string, permission: string, open = true): Promise<void> {
  if (open) {
    await visitor.press("Create an API key");
  }
  await visitor.fill({ Name: name, "Search permissions": permission });
  await visitor.page().getByRole("checkbox").first().check();
}

/** Makes a key, and returns what is shown once. */
export async function createKey(visitor: Visitor, name: string, permission: string, open = true): Promise<string> {
  await fillKey(visitor, name, permission, open);
  await visitor.press("Create the key");
  return shownKey(visitor);
}

/** Reads the key that is shown, by copying it. */
export async function shownKey(visitor: Visitor): Promise<string> {
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
