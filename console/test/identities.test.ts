import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { codeMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { startProvider, type Provider } from "./provider.js";
import { startConsole } from "./support.js";

describe("the console, with an identity provider", () => {
  let provider: Provider;
  const t = startConsole(
    "console-identities",
    async () => {
      provider = await startProvider();
      return { MANAGER_IDENTITY_PROVIDERS: provider.setting() };
    },
    ["http://127.0.0.1:"],
  );
  const { shows, reads, fill, press, answer, openAs, enterCode, isAccessible, pictures, newAccount } = t;
  after(() => provider?.stop());

  it("links an account elsewhere, and unlinks it", async () => {
    const { email } = await newAccount("Linking");
    await openAs(email, "/account/security");
    await reads("No linked accounts");
    provider.next();
    await press("Link Acme");
    await reads("You or the provider refused.");
    await isAccessible();
    await t.page().getByRole("link", { name: "Back" }).click();
    provider.next("ada@acme.example");
    await press("Link Acme");
    await shows("Sign-in and security");
    await reads("Acme: ada@acme.example");
    assert.equal(new URL(t.page().url()).search, "");
    await isAccessible();

    await t.signOut();
    await press("Continue with Acme");
    await shows("Linking");
    await t.open("/account/security");
    await press("Unlink");
    await answer("Unlink");
    await reads("The account is unlinked.");
    await reads("No linked accounts");
  });

  it("signs up by it, and sets a password later", async () => {
    const email = newAddress();
    provider.next(email);
    await t.open("/sign-in");
    await press("Continue with Acme");
    await shows("Create your account");
    await isAccessible();
    await fill({ "Your name": "Grace", "Name of your workspace": "Compilers" });
    await press("Sign up");
    await shows("Compilers");
    await t.open("/account/security");
    await reads("Your account has no password.");
    await pictures("account-external");
    await press("Set a password");
    await t.page().getByRole("dialog").waitFor();
    await isAccessible();
    await enterCode(await codeMailedTo(t.url(), email));
    await fill({ "New password": "walnut-harbour-violin" });
    await answer("Set a password");
    await t.signIn(email, "walnut-harbour-violin");
    await shows("Sign-in and security");
    await reads("You can sign in with your e-mail address and a password.");
  });
});
