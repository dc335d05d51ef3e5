import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { linkMailedTo, newAddress } from "./mailbox.js";
import { newPassword, password, startPages, voidLink } from "./pages.js";

describe("the pages that confirm an account, its address and its password", () => {
  const t = startPages("pages-account");
  const {
    page, complaints, calls, register, newAccount, canSignIn, signIn, cookies, getMe, open, confirmRegistration, press,
    shows, says, refuses, pictures,
  } = t;

  it("complete a registration for who has its password, and not before", async () => {
    const email = newAddress();
    await register(email);
    const link = await linkMailedTo(t.url(), email, "/verify-registration");

    await open(link);
    await page().getByRole("button", { name: "Confirm registration" }).waitFor();
    await pictures("verify");
    await page().reload(); // without the token, which is gone
    await shows("Open the link in the mail");
    assert.deepEqual(calls, []);
    assert.ok(!(await canSignIn(email, password)), "opening the page has completed the registration");

    await open(link);
    await press("Confirm registration");
    await refuses("Your password", "Enter your password.");
    await page().getByLabel("Your password", { exact: true }).fill("what somebody else would have chosen");
    await press("Confirm registration");
    await refuses("Your password", "This is not the password that you chose when you registered.");
    await pictures("verify-refused");
    calls.length = 0;
    await page().getByLabel("Your password", { exact: true }).fill(password);
    await page().keyboard.press("Enter");
    await shows("Welcome");
    await says(email);
    await says("“Analytical Engines”");
    await pictures("verify-done");
    assert.deepEqual(calls, ["VerifyRegistration"]);
    assert.ok(await canSignIn(email, password));
    assert.deepEqual(await getMe(), email);
    const [cookie, ...more] = await cookies();
    assert.deepEqual([cookie?.name, cookie?.httpOnly, more.length], ["__Host-manager_session", true, 0]);

    await open(link);
    await confirmRegistration();
    await shows(voidLink);
    await says("If you have confirmed before, go to the application and sign in.");
    assert.deepEqual(await getMe(), email); // the session is as it was
  });

  it("complete a registration once when the first answer is lost", async () => {
    const email = newAddress();
    await register(email);
    await open(await linkMailedTo(t.url(), email, "/verify-registration"));
    await page().route("**/VerifyRegistration", async (route) => {
      await route.fetch();
      await route.abort();
    });
    await confirmRegistration();
    await says("The server could not be reached.");
    assert.deepEqual(complaints.splice(0), ["error: Failed to load resource: net::ERR_FAILED"]);
    assert.ok(await canSignIn(email, password));
    await pictures("verify-network");

    await page().unroute("**/VerifyRegistration");
    await press("Try again");
    await shows("Welcome");
    assert.deepEqual(await getMe(), email);
  });

  it("set a new password, which must be a good one", async () => {
    const { manager, email } = await newAccount();
    await manager.passwords.requestPasswordReset({ email });
    const link = await linkMailedTo(t.url(), email, "/reset-password");

    await open(link);
    const field = page().getByLabel("New password", { exact: true });
    await press("Set new password");
    await refuses("New password", "Enter a new password.");
    await field.fill("short");
    await press("Set new password");
    await refuses("New password", "The password is not accepted: must have 12 to 128 characters.");
    await field.fill("password1234");
    await press("Show password");
    assert.equal(await field.getAttribute("type"), "text");
    await press("Set new password");
    await refuses("New password", "This password is too easily guessed. Choose another one.");
    assert.equal(await field.getAttribute("type"), "password");
    await pictures("reset-common");
    await field.fill("x".repeat(2000));
    await press("Set new password");
    await refuses("New password", /^The password is not accepted: /);
    assert.ok(await canSignIn(email, password));

    await field.fill(newPassword);
    await page().keyboard.press("Enter");
    await shows("Your password is changed");
    await says("You can sign in with it now.");
    assert.ok(await canSignIn(email, newPassword));
    assert.ok(!(await canSignIn(email, password)));
    assert.equal(await field.inputValue(), "");
    assert.deepEqual(await cookies(), []);

    await open(link);
    await field.fill("another-good-one-91");
    await press("Set new password");
    await shows(voidLink);
    assert.ok(await canSignIn(email, newPassword));
  });

  it("give an account its new address, with a sign-in on the way", async () => {
    const { manager, email } = await newAccount();
    const newEmail = newAddress();
    await manager.users.requestEmailChange({ newEmail });
    const link = await linkMailedTo(t.url(), newEmail, "/confirm-email");

    await open(link);
    await press("Confirm new address");
    await says("Sign in to go on");
    await pictures("confirm-sign-in");
    await press("Sign in and confirm");
    await refuses("Password", "Enter your password.");
    await refuses("Current e-mail address", "Enter your e-mail address.");
    await page().getByLabel("Current e-mail address").fill(email);
    await page().getByLabel("Password", { exact: true }).fill("not the password");
    await press("Sign in and confirm");
    await says("The address or the password is wrong.");
    await page().getByLabel("Password", { exact: true }).fill(password);
    await press("Sign in and confirm");
    await shows("Your address is changed");
    await says(newEmail);
    assert.deepEqual(calls, [
      "ConfirmEmailChange",
      "SignInWithPassword",
      "SignInWithPassword",
      "ConfirmEmailChange",
    ]);
    assert.deepEqual(await getMe(), newEmail);
    assert.ok(await canSignIn(newEmail, password));
    assert.ok(!(await canSignIn(email, password)));

    await open(link);
    await press("Confirm new address");
    await shows("This link does not work");
  });

  it("give an account its new address at once to who is signed in, and not to somebody else's", async () => {
    const { manager, email } = await newAccount();
    const somebody = await newAccount();
    await signIn(somebody.email);
    const newEmail = newAddress();
    await manager.users.requestEmailChange({ newEmail });

    await open(await linkMailedTo(t.url(), newEmail, "/confirm-email"));
    await press("Confirm new address");
    await shows("This link does not work");
    await pictures("confirm-void");
    assert.deepEqual(await getMe(), somebody.email);

    await signIn(email); // as in another tab
    await press("Sign in with another account");
    await shows("Confirm your new e-mail address");
    await page().getByLabel("Current e-mail address").fill(email);
    await page().getByLabel("Password", { exact: true }).fill(password);
    await press("Sign in and confirm");
    await shows("Your address is changed");
    assert.deepEqual(await getMe(), newEmail);

    const next = newAddress();
    await manager.users.requestEmailChange({ newEmail: next });
    await open(await linkMailedTo(t.url(), next, "/confirm-email"));
    await press("Confirm new address");
    await shows("Your address is changed");
    assert.deepEqual(await getMe(), next);
  });

  it("say how long to wait after too many tries", async () => {
    const email = newAddress();
    for (let i = 0; i < 10; i++) {
      assert.ok(!(await canSignIn(email, "a wrong password")));
    }
    await open(`${t.url()}/confirm-email#token=lsme_unknown`);
    await press("Confirm new address");
    await page().getByLabel("Current e-mail address").fill(email);
    await page().getByLabel("Password", { exact: true }).fill(password);
    await press("Sign in and confirm");
    await says(/^That was tried too often\. Try again in [0-9]+ (second|minute)s?\.$/);
  });

  it("say what is wrong with a link that is broken, and what to do without one", async () => {
    for (const token of ["<b>%00", "x".repeat(500)]) {
      await open(`${t.url()}/verify-registration#token=${encodeURIComponent(token)}`);
      await confirmRegistration();
      await shows(voidLink);
      await open(`${t.url()}/reset-password#token=${encodeURIComponent(token)}`);
      await page().getByLabel("New password", { exact: true }).fill(newPassword);
      await press("Set new password");
      await shows(voidLink);
      await page().goto(`${t.url()}/accept-invitation#token=${encodeURIComponent(token)}`);
      await shows("This link does not work");
      assert.equal(await page().getByRole("button").count(), 0);
    }
    calls.length = 0;
    for (const path of ["/verify-registration", "/reset-password", "/confirm-email", "/accept-invitation"]) {
      for (const rest of ["", "?token=in-the-query", "#token="]) {
        await page().goto(t.url() + path + rest);
        await shows("Open the link in the mail");
        assert.equal(await page().getByRole("button").count(), 0);
      }
    }
    assert.deepEqual(calls, []);
  });

  it("make ids of requests where a page did not come by https", async () => {
    const email = newAddress();
    await register(email);
    await page().addInitScript(() => Object.defineProperty(crypto, "randomUUID", { value: undefined }));
    await open(await linkMailedTo(t.url(), email, "/verify-registration"));
    const sent = page().waitForRequest("**/VerifyRegistration");
    await confirmRegistration();
    await shows("Welcome");
    assert.match((await sent).postDataJSON().requestId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it("say that they need JavaScript", async () => {
    const plain = await t.newPage(await t.newContext({ javaScriptEnabled: false }));
    await plain.goto(`${t.url()}/reset-password#token=unknown`);
    await plain.locator("noscript p").waitFor();
    assert.equal(await plain.getByRole("button").count(), 0);
  });
});
