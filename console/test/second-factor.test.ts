import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addAuthenticator } from "../../client/ts/test/authenticator.js";
import { joins, row, startConsole, type Visitor } from "./support.js";

describe("a workspace that requires a second factor", () => {
  const console = startConsole("console-second-factor");

  it("is switched to it by who has proven one, and leads its members to prove theirs", async () => {
    const owner = await console.newAccount("Guarded");
    const member = await console.newAccount("Refuge");
    await joins(owner, member);
    await console.openAs(owner.email, `/w/${owner.slug}/settings`);
    await console.shows("Settings");
    const required = console.page().getByRole("switch", { name: "Require a second factor" });
    await required.click();
    await console.reads("Prove a second factor yourself first:");
    await console.isAccessible();
    await console.page().getByRole("link", { name: "Add a second factor" }).click();
    await addsPasskey(console);
    await console.open(`/w/${owner.slug}/settings`);
    await required.click();
    await console.press("Use a passkey");
    await console.reads("A second factor is required.");
    await console.page().getByRole("switch", { name: "Require a second factor", checked: true }).waitFor();

    await console.open(`/w/${owner.slug}/members`);
    await row(console.page(), member.email).getByText("No second factor").waitFor();
    assert.equal(await row(console.page(), owner.email).getByText("No second factor").count(), 0);

    const other = await console.visitor();
    await other.openAs(member.email, `/w/${owner.slug}/members`);
    await other.shows("Guarded requires a second factor");
    await other.isAccessible();
    await other.pictures("second-factor-required");
    await other.page().getByRole("link", { name: "Go to Refuge" }).click();
    await other.shows("Refuge");
    await other.open(`/w/${owner.slug}/members`);
    await other.page().getByRole("link", { name: "Add a second factor" }).click();
    await addsPasskey(other);
    await other.open(`/w/${owner.slug}/members`);
    await other.press("Use a passkey");
    await other.shows("Members");
  });
});

/** Adds the first passkey of an account on its page. */
async function addsPasskey(person: Visitor): Promise<void> {
  await person.shows("Sign-in and security");
  await addAuthenticator(person.page());
  await person.press("Add a passkey");
  await person.answer("Continue");
  await person.page().getByRole("dialog", { name: "Your recovery codes" }).waitFor();
  await person.answer("I have saved them");
}
