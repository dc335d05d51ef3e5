import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { addAuthenticator } from "../../client/ts/test/authenticator.js";
import { findMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { startProvider, type Provider } from "./provider.js";
import { password, startConsole } from "./support.js";

// How long a sign-in counts as recent: the least that the server takes.
const age = 10_000;

describe("the console, where a sign-in does not count as recent for long", () => {
  let provider: Provider;
  const t = startConsole(
    "console-reauthentication",
    async () => {
      provider = await startProvider();
      return { MANAGER_IDENTITY_PROVIDERS: provider.setting(), MANAGER_REAUTHENTICATION_AGE: `${age}ms` };
    },
    ["http://127.0.0.1:"],
  );
  const { shows, reads, fill, press, answer, openAs, isAccessible, pictures, newAccount } = t;
  after(() => provider?.stop());

  it("asks for the password, and in the end for a passkey, and does what was wanted", async () => {
    const { email } = await newAccount("Careful");
    await openAs(email, "/account/security");
    let proven = Date.now();
    await shows("Sign-in and security");
    await isOld(proven);
    await press("Add an app");
    await asksWho();
    await isAccessible();
    await pictures("reauthentication");
    await t.page().keyboard.press("Escape");
    await t.page().getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await t.page().getByRole("alert").count(), 0);
    await press("Add an app");
    await asksWho();
    await fill({ Password: "not the password" });
    await answer("Confirm");
    await reads(/password is wrong/);
    await fill({ Password: password });
    await t.page().keyboard.press("Enter");
    await t.page().getByRole("img", { name: "QR code for your authenticator app" }).waitFor();
    proven = Date.now();
    await answer("Cancel");

    await addAuthenticator(t.page());
    await press("Add a passkey");
    await answer("Continue");
    await t.page().getByRole("dialog", { name: "Your recovery codes" }).waitFor();
    await answer("I have saved them");
    await isOld(proven);
    await press("Make new codes");
    await answer("Make new codes");
    await asksWho();
    await answer("Use a passkey"); // another way
    await answer("Use a passkey");
    await t.page().getByRole("dialog", { name: "Your recovery codes" }).waitFor();
  });

  it("asks in the middle of a form, for a mailed code as well", async () => {
    const { email } = await newAccount("By mail");
    await openAs(email, "/account");
    const proven = Date.now();
    await press("Change");
    const next = newAddress();
    await fill({ "New e-mail address": next });
    await isOld(proven);
    await answer("Send a code");
    await asksWho();
    await answer("Code by e-mail");
    await answer("Send a code");
    await isAccessible();
    await fill({ "6-digit code": await findMailedTo(t.url(), email, /(?<=confirm[\s\S]*)\b[0-9]{6}\b/i) });
    await answer("Confirm");
    await reads(`Enter the code that we sent to ${next}`);
  });

  it("goes on linking after the question who they are was closed", async () => {
    const { email } = await newAccount("Linking late");
    await openAs(email, "/account/security");
    const signedIn = Date.now();
    await reads("No linked accounts");
    provider.next("grace@acme.example");
    await t.page().route("**/CompleteExternalSignIn", async (route) => {
      await isOld(signedIn); // As if it took them long there.
      await route.continue();
    }, { times: 1 });
    await press("Link Acme");
    await asksWho();
    await t.page().keyboard.press("Escape");
    await reads("The account is not linked yet");
    await isAccessible();
    await press("Continue");
    await asksWho();
    await fill({ Password: password });
    await answer("Confirm");
    await shows("Sign-in and security");
    await reads("Acme: grace@acme.example");
  });

  /** Waits until what was proven at a time does not count as recent any more. */
  async function isOld(proven: number): Promise<void> {
    await sleep(proven + age - Date.now());
  }

  async function asksWho(): Promise<void> {
    await t.page().getByRole("dialog", { name: "Confirm that it is you" }).waitFor();
  }
});
