import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { createManager, reasonOf } from "@logicspike/manager";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { addAuthenticator, type Authenticator } from "./authenticator.js";
import { startChromium } from "./chromium.js";
import { codeMailedTo, newAddress } from "./mailbox.js";
import type { Functions } from "./passkey-page.js";
import { freePort, startServer, type Server } from "./server.js";
import { bundlePage, startSite, type Site } from "./site.js";

const password = "maple-lantern-quartz";

declare const manager: Functions["manager"];
declare const passkeys: Functions["passkeys"];
declare const outcome: Functions["outcome"];
declare const waiting: Promise<string>;

interface Account {
  email: string;
  userId: string;
}

describe("passkeys in Chromium", () => {
  let server: Server;
  let browser: Browser;
  let site: Site; // on the server's list
  let otherSite: Site; // not on it
  let context: BrowserContext;
  let page: Page;
  let authenticator: Authenticator;
  let account: Account;

  before(async () => {
    const port = await freePort();
    browser = await startChromium();
    server = await startServer("passkeys", { MANAGER_ALLOWED_ORIGINS: `http://localhost:${port}` });
    const script = await bundlePage("passkey-page.ts");
    site = await startSite(script, server.url, port);
    otherSite = await startSite(script, server.url);
  });
  after(async () => {
    site?.close();
    otherSite?.close();
    await browser?.close();
    await server?.stop();
  });

  beforeEach(async () => {
    context = await browser.newContext();
    page = await context.newPage();
    await page.goto(`http://localhost:${site.port}`);
    authenticator = await addAuthenticator(page);
    account = await newAccount();
    await signInWithPassword();
  });
  afterEach(() => context.close());

  it("are registered, sign in without a name, and owe nothing more", async () => {
    assert.deepEqual(
      await page.evaluate(async () => [passkeys.isSupported(), await passkeys.isDeviceSupported(), await passkeys.isAutofillSupported()]),
      [true, true, true],
    );
    const registered = await page.evaluate(async () => {
      const { passkey, recoveryCodes } = await passkeys.register(manager, { displayName: "Laptop" });
      return { id: passkey!.id, displayName: passkey!.displayName, aaguid: passkey!.aaguid, codes: recoveryCodes.length };
    });
    assert.match(registered.id, /^pky_/);
    assert.equal(registered.displayName, "Laptop");
    assert.equal(registered.codes, 10, "the account's recovery codes come with its first second factor");
    const [stored, ...more] = await authenticator.credentials();
    assert.deepEqual([more.length, stored!.isResidentCredential, stored!.rpId], [0, true, "localhost"]);

    // One device keeps one passkey of an account.
    assert.equal(await page.evaluate(() => outcome(passkeys.register(manager))), "ALREADY_REGISTERED");

    await signOut();
    assert.equal(await page.evaluate(() => outcome(manager.users.getMe({}))), "SESSION_REQUIRED");
    const signedIn = await page.evaluate(async () => {
      const { session, sessionToken, requirements } = await passkeys.signIn(manager);
      return { userId: session!.userId, methods: session!.methods, pending: session!.secondFactorPending, sessionToken, requirements };
    });
    assert.deepEqual(signedIn, { userId: account.userId, methods: [5], pending: false, sessionToken: "", requirements: [] });
    assert.equal(await me(), account.email);

    const listed = await page.evaluate(async () => (await manager.passkeys.listPasskeys({})).passkeys.map((one) => [one.id, one.lastUseTime !== undefined]));
    assert.deepEqual(listed, [[registered.id, true]]);
    await page.evaluate((passkeyId) => manager.passkeys.deletePasskey({ passkeyId }).then(() => undefined), registered.id);
    await signOut();
    assert.equal(await signIn(), "CREDENTIALS_INVALID");
  });

  it("sign in for a client that takes the token, too", async () => {
    await register();
    await signOut();
    const token = await page.evaluate(async () => (await passkeys.signIn(manager, { transport: 1 })).sessionToken);
    const { user } = await createManager({ baseUrl: server.url, sessionToken: token }).users.getMe({});
    assert.equal(user!.id, account.userId);
    assert.equal(await page.evaluate(() => outcome(manager.users.getMe({}))), "SESSION_REQUIRED");
  });

  it("sign in from a field's autofill, which gives way to a button", async () => {
    await register();
    await signOut();
    // It waits while nobody picks a passkey.
    await authenticator.simulatePresence(false);
    await page.evaluate(() => {
      const input = document.body.appendChild(document.createElement("input"));
      input.autocomplete = "username webauthn";
      Object.assign(window, { waiting: outcome(passkeys.signIn(manager, { autofill: true })) });
    });
    await page.waitForTimeout(300);
    await authenticator.simulatePresence(true);
    assert.equal(await signIn(), "done", "the button");
    assert.equal(await page.evaluate(() => waiting), "ABORTED");
    assert.equal(await me(), account.email);

    await signOut();
    assert.equal(await page.evaluate(() => outcome(passkeys.signIn(manager, { autofill: true }))), "done");
    assert.equal(await me(), account.email);
  });

  it("end at the signal", async () => {
    await register();
    await signOut();
    await authenticator.simulatePresence(false);
    for (const autofill of [false, true]) {
      const how = await page.evaluate(async (autofill) => {
        const leaving = new AbortController();
        setTimeout(() => leaving.abort(), 300);
        const options = { autofill, signal: leaving.signal };
        return [await outcome(passkeys.signIn(manager, options)), await outcome(passkeys.signIn(manager, options))];
      }, autofill);
      assert.deepEqual(how, ["ABORTED", "ABORTED"], `autofill ${autofill}`);
    }
  });

  it("are the second factor after a password", async () => {
    await register();
    await signOut();
    const requirements = await signInWithPassword();
    assert.deepEqual(requirements, [3], "SECOND_FACTOR_REQUIRED");
    assert.equal(await page.evaluate(() => outcome(manager.users.getMe({}))), "SECOND_FACTOR_REQUIRED");
    const kinds = await page.evaluate(async () => (await manager.sessions.getSession({})).secondFactors);
    assert.deepEqual([...kinds].sort(), [2, 3]);

    await authenticator.verifyUser(false);
    assert.equal(await page.evaluate(() => outcome(passkeys.verifySecondFactor(manager))), "CANCELLED");
    await authenticator.verifyUser(true);
    assert.equal(await page.evaluate(() => outcome(passkeys.verifySecondFactor(manager))), "done");
    assert.equal(await me(), account.email);
    const session = await page.evaluate(async () => {
      const { session } = await manager.sessions.getSession({});
      return { methods: session!.methods, pending: session!.secondFactorPending };
    });
    assert.deepEqual(session, { methods: [1, 5], pending: false });
    assert.equal(await page.evaluate(() => outcome(passkeys.verifySecondFactor(manager))), "FACTOR_MISSING");
  });

  it("reauthenticate", async () => {
    await register();
    const before = await sessionState();
    await page.waitForTimeout(20);
    assert.equal(await page.evaluate(() => outcome(passkeys.reauthenticate(manager))), "done");
    const afterwards = await sessionState();
    assert.equal(afterwards.id, before.id);
    assert.ok(afterwards.time > before.time, `${afterwards.time} after ${before.time}`);
    assert.notEqual(afterwards.cookie, before.cookie);
    await authenticator.clear();
    assert.equal(await page.evaluate(() => outcome(passkeys.reauthenticate(manager))), "CANCELLED");
    assert.equal((await sessionState()).cookie, afterwards.cookie);
  });

  it("of somebody else are not taken", async () => {
    await register();
    const own = (await authenticator.credentials())[0]!;
    const somebody = (account = await newAccount());
    await signOut();
    await signInWithPassword();
    await authenticator.clear();
    await register();
    const theirs = (await authenticator.credentials())[0]!;

    // A challenge of this session answered by the passkey of another account.
    await authenticator.clear();
    await authenticator.put(own);
    const answered = await page.evaluate(async (id) => {
      const { challengeId, optionsJson } = await manager.passkeys.startPasskeyAssertion({});
      const options = JSON.parse(optionsJson);
      options.allowCredentials = [{ type: "public-key", id }];
      const credential = (await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) })) as PublicKeyCredential;
      return outcome(manager.authentication.reauthenticate({ passkey: { challengeId, credentialJson: JSON.stringify(credential.toJSON()) } }));
    }, base64url(own.credentialId));
    assert.equal(answered, "SECOND_FACTOR_INVALID");
    await authenticator.put(theirs);
    assert.equal(await page.evaluate(() => outcome(passkeys.reauthenticate(manager))), "done");
    assert.equal(await me(), somebody.email);
  });

  it("that do not verify their user are refused, by the browser and by the server", async () => {
    await authenticator.verifyUser(false);
    assert.equal(await page.evaluate(() => outcome(passkeys.register(manager))), "CANCELLED");
    const other = await context.newPage();
    await other.goto(page.url());
    await addAuthenticator(other, false);
    const registered = await other.evaluate(async () => {
      const { challengeId, optionsJson } = await manager.passkeys.startPasskeyRegistration({});
      const options = JSON.parse(optionsJson);
      options.authenticatorSelection = { residentKey: "discouraged", userVerification: "discouraged" };
      const credential = (await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })) as PublicKeyCredential;
      return outcome(manager.passkeys.registerPasskey({ challengeId, credentialJson: JSON.stringify(credential.toJSON()) }));
    });
    assert.equal(registered, "SECOND_FACTOR_INVALID");
    await other.close();

    await page.bringToFront();
    await authenticator.verifyUser(true);
    await authenticator.clear();
    await register();
    await signOut();
    await authenticator.verifyUser(false);
    assert.equal(await signIn(), "CANCELLED");
    assert.equal(await answerChallenge(page, { userVerification: "discouraged" }), "CREDENTIALS_INVALID");
    await authenticator.verifyUser(true);
    assert.equal(await signIn(), "done");
  });

  it("that were copied are refused: the copy's counter is behind", async () => {
    await register();
    const copy = (await authenticator.credentials())[0]!;
    await signOut();
    assert.equal(await signIn(), "done");
    await signOut();
    assert.equal(await signIn(), "done");
    await signOut();
    const original = (await authenticator.credentials())[0]!;
    assert.ok(original.signCount > copy.signCount);
    await authenticator.put(copy);
    assert.equal(await signIn(), "CREDENTIALS_INVALID");
    assert.equal(await page.evaluate(() => outcome(manager.users.getMe({}))), "SESSION_REQUIRED");
  });

  it("answer a challenge once", async () => {
    await register();
    await signOut();
    const twice = await page.evaluate(async () => {
      const passkey = await passkeys.assert(manager);
      const first = await outcome(manager.passkeys.signInWithPasskey({ passkey, sessionTransport: 1 }));
      return [first, await outcome(manager.passkeys.signInWithPasskey({ passkey, sessionTransport: 1 }))];
    });
    assert.deepEqual(twice, ["done", "CHALLENGE_INVALID"]);

    // And not one of another kind.
    await signInWithPassword();
    const asAnother = await page.evaluate(async () => {
      const passkey = await passkeys.assert(manager);
      return outcome(manager.passkeys.signInWithPasskey({ passkey, sessionTransport: 1 }));
    });
    assert.equal(asAnother, "CHALLENGE_INVALID");
  });

  it("are refused on pages of another origin, by the browser or by the server", async () => {
    await register();
    const [credential] = await authenticator.credentials();
    await signOut();

    const ports = [
      [`http://127.0.0.1:${site.port}`, "ORIGIN"], // another host: the browser refuses
      [`http://localhost:${otherSite.port}`, "CREDENTIALS_INVALID"], // the host's passkeys, of a page that is not on the list
    ] as const;
    for (const [origin, how] of ports) {
      const foreign = await context.newPage();
      await foreign.goto(origin);
      const device = await addAuthenticator(foreign);
      await device.put(credential!);
      assert.equal(await answerChallenge(foreign, {}), how, origin);
      await foreign.close();
    }
    assert.equal(await answerChallenge(page, {}), "done");
  });

  it("work in browsers that read and write no JSON", async () => {
    await page.evaluate(() => {
      Reflect.deleteProperty(PublicKeyCredential, "parseCreationOptionsFromJSON");
      Reflect.deleteProperty(PublicKeyCredential, "parseRequestOptionsFromJSON");
      Reflect.deleteProperty(PublicKeyCredential.prototype, "toJSON");
    });
    await register();
    assert.equal(await page.evaluate(() => outcome(passkeys.register(manager))), "ALREADY_REGISTERED");
    assert.equal(await page.evaluate(() => outcome(passkeys.reauthenticate(manager))), "done");
    await signOut();
    assert.equal(await signIn(), "done");
    assert.equal(await me(), account.email);
  });

  /** Answers a challenge of a sign-in in a page, and sends the answer from elsewhere, past what browsers keep pages from. */
  async function answerChallenge(where: Page, changes: object): Promise<string> {
    const anybody = createManager({ baseUrl: server.url });
    const { challengeId, optionsJson } = await anybody.passkeys.startPasskeyAssertion({});
    const options = JSON.stringify({ ...JSON.parse(optionsJson), ...changes });
    const credentialJson = await where.evaluate(async (options) => {
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(options));
      return navigator.credentials.get({ publicKey }).then(
        (credential) => JSON.stringify((credential as PublicKeyCredential).toJSON()),
        (error: Error) => error.name,
      );
    }, options);
    if (!credentialJson.startsWith("{")) {
      return credentialJson === "SecurityError" ? "ORIGIN" : credentialJson;
    }
    return anybody.passkeys.signInWithPasskey({ passkey: { challengeId, credentialJson } }).then(
      () => "done",
      (error) => reasonOf(error) ?? `${error}`,
    );
  }

  async function register(): Promise<void> {
    assert.equal(await page.evaluate(() => outcome(passkeys.register(manager))), "done");
  }

  async function signIn(): Promise<string> {
    return page.evaluate(() => outcome(passkeys.signIn(manager)));
  }

  async function signInWithPassword(): Promise<number[]> {
    return page.evaluate(async (request) => (await manager.authentication.signInWithPassword(request)).requirements, { email: account.email, password });
  }

  async function signOut(): Promise<void> {
    await page.evaluate(() => manager.authentication.signOut({}).then(() => undefined));
  }

  async function me(): Promise<string> {
    return page.evaluate(async () => (await manager.users.getMe({})).user!.email);
  }

  async function sessionState(): Promise<{ id: string; time: number; cookie: string }> {
    const { id, time } = await page.evaluate(async () => {
      const { session } = await manager.sessions.getSession({});
      return { id: session!.id, time: Number(session!.authenticateTime!.seconds) * 1000 + session!.authenticateTime!.nanos / 1e6 };
    });
    return { id, time, cookie: (await context.cookies()).find(({ name }) => name === "__Host-manager_session")!.value };
  }

  async function newAccount(): Promise<Account> {
    const email = newAddress();
    const { registration } = createManager({ baseUrl: server.url });
    const begun = await registration.register({ email, password, workspaceName: "Engines" });
    const { account } = await registration.verifyRegistration({ registrationId: begun.registration!.id, code: await codeMailedTo(server.url, email) });
    return { email, userId: account!.user!.id };
  }
});

function base64url(base64: string): string {
  return Buffer.from(base64, "base64").toString("base64url");
}
