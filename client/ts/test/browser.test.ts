import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { Code, ConnectError, createManager, reasonOf, type Manager } from "@logicspike/manager";
import type { Browser, BrowserContext, Cookie, Page } from "playwright-core";
import { attack } from "./attack.js";
import { startChromium } from "./chromium.js";
import { codeMailedTo, newAddress } from "./mailbox.js";
import { outputFolder } from "./paths.js";
import { freePort, startServer, type Server } from "./server.js";
import { bundlePage, startSite, type Site } from "./site.js";

const cookieName = "__Host-manager_session";
const password = "maple-lantern-quartz";

describe("in Chromium", () => {
  let server: Server;
  let browser: Browser;
  let site: Site; // on the allow-list
  let otherSite: Site; // not on it
  const own = () => `http://localhost:${site.port}`;

  before(async () => {
    const port = await freePort();
    browser = await startChromium();
    server = await startServer("browser", { MANAGER_ALLOWED_ORIGINS: `http://localhost:${port}` });
    const script = await bundlePage();
    site = await startSite(script, server.url, port);
    otherSite = await startSite(script, server.url);
  });
  after(async () => {
    site?.close();
    otherSite?.close();
    await browser?.close();
    await server?.stop();
  });

  it("goes through the whole life of an account, across origins, by clicks", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const { answers, failures } = record(page, server.url);
    const email = newAddress();

    await page.goto(own());
    await says(page, "Welcome");
    await register(page, email);
    await says(page, "Registered");
    await showsWorkspace(page, email, "Analytical Engines", "ACTIVE");
    const registered = await sessionCookie(context);

    await click(page, "Sign out");
    await says(page, "Signed out");
    await fill(page, "Sign in", { "E-mail": email, Password: "a wrong password" });
    await says(page, "Failed: CREDENTIALS_INVALID");
    await fill(page, "Sign in", { "E-mail": email, Password: password });
    await says(page, "Signed in");
    const signedIn = await sessionCookie(context);
    assert.notEqual(signedIn.value, registered.value);

    await fill(page, "Rename", { "New name": "Difference Engines" });
    await says(page, "Renamed");
    await click(page, "Preview deletion");
    await says(page, "1 user, 1 membership and 1 session would go");
    await click(page, "Delete");
    await says(page, "Deleted");
    await showsWorkspace(page, email, "Difference Engines", "DELETED");

    await page.reload();
    await says(page, "Welcome back");
    await showsWorkspace(page, email, "Difference Engines", "DELETED");
    await page.screenshot({ path: join(outputFolder, "browser.png"), fullPage: true });
    assert.deepEqual(await page.evaluate(() => [document.cookie, localStorage.length, sessionStorage.length]), ["", 0, 0]);

    await click(page, "Undelete");
    await says(page, "Undeleted");
    await showsWorkspace(page, email, "Difference Engines", "ACTIVE");

    await click(page, "Preview deletion");
    await says(page, /would go$/);
    await click(page, "Delete");
    await says(page, "Deleted");
    await click(page, "Preview deletion");
    await says(page, /would go$/);
    await click(page, "Purge");
    await says(page, "Purged");
    await fill(page, "Sign in", { "E-mail": email, Password: password });
    await says(page, "Failed: CREDENTIALS_INVALID");

    // Nothing that a script can read ever held a token.
    const { name, httpOnly, secure, sameSite, domain, path } = signedIn;
    assert.deepEqual(
      { name, httpOnly, secure, sameSite, domain, path },
      { name: cookieName, httpOnly: true, secure: true, sameSite: "Lax", domain: "localhost", path: "/" },
    );
    const bodies = await Promise.all(answers);
    assert.equal(bodies.filter(({ url }) => /\/(VerifyRegistration|SignInWithPassword)$/.test(url)).length, 4);
    for (const { url, body } of bodies) {
      assert.doesNotMatch(body, /sessionToken/, url);
      for (const { value } of [registered, signedIn]) {
        assert.ok(!body.includes(value), url);
      }
    }
    assert.deepEqual(failures, []);
    await context.close();
  });

  for (const [host, sameSite] of [["localhost", true], ["127.0.0.1", false]] as const) {
    it(`keeps pages of a foreign origin (http://${host}) from reading and changing anything`, async () => {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(own());
      await says(page, "Welcome");
      const email = newAddress();
      await register(page, email);
      await says(page, "Registered");
      const { workspaces } = clientWith(await sessionCookie(context), own());
      const workspaceId = (await workspaces.listWorkspaces({})).workspaces[0]!.workspace!.id;

      const foreign = await context.newPage();
      await foreign.goto(`http://${host}:${otherSite.port}`);
      await says(foreign, /^Failed: .*Failed to fetch/); // the client of the package
      for (const { what, read, cookie, status } of await attack(foreign, server.url, workspaceId)) {
        assert.equal(read, "", what);
        if (what.startsWith("read by GET")) {
          // It has no effect, so the server answers; the browser keeps the answer.
          assert.deepEqual({ cookie, status }, { cookie: sameSite, status: sameSite ? 200 : 401 }, what);
        } else if (what.includes("change by GET")) {
          assert.deepEqual({ cookie, status }, { cookie: sameSite, status: 405 }, what);
        } else if (what === "read by POST" || what === "change by POST") {
          assert.ok(!cookie, `${what}: only the browser's question was sent`);
        } else {
          assert.deepEqual({ cookie, status }, { cookie: sameSite, status: 403 }, what);
        }
      }

      await page.reload();
      await says(page, "Welcome back");
      await showsWorkspace(page, email, "Analytical Engines", "ACTIVE");
      await context.close();
    });
  }

  it("refuses the cookie from a foreign origin, however it was sent", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(own());
    await register(page, newAddress());
    await says(page, "Registered");
    const cookie = await sessionCookie(context);
    await context.close();

    await clientWith(cookie, own()).sessions.getSession({});
    for (const origin of [`http://localhost:${otherSite.port}`, `http://127.0.0.1:${site.port}`, `https://localhost:${site.port}`, "null"]) {
      const { sessions, users } = clientWith(cookie, origin);
      for (const call of [() => sessions.getSession({}), () => users.updateMe({ displayName: "Taken over" })]) {
        const error = await call().then(() => undefined, ConnectError.from);
        assert.deepEqual([error?.code, reasonOf(error)], [Code.PermissionDenied, "ORIGIN_FORBIDDEN"], origin);
      }
    }
  });

  /** Registers by the page, up to the last click. */
  async function register(page: Page, email: string): Promise<void> {
    await fill(page, "Register", { "E-mail": email, Password: password, Workspace: "Analytical Engines" });
    await says(page, "Enter the code from the mail");
    await fill(page, "Verify", { Code: await codeMailedTo(server.url, email) });
  }

  /** A client that sends what a browser would send for a page of the origin. */
  function clientWith(cookie: Cookie, origin: string): Manager {
    const asBrowser: Interceptor = (next) => (request) => {
      request.header.set("Cookie", `${cookie.name}=${cookie.value}`);
      request.header.set("Origin", origin);
      return next(request);
    };
    return createManager({ transport: createConnectTransport({ baseUrl: server.url, interceptors: [asBrowser] }) });
  }
});

/** Collects what the page gets from the API, and the script's failures. */
function record(page: Page, apiUrl: string) {
  const answers: Promise<{ url: string; body: string }>[] = [];
  const failures: Error[] = [];
  page.on("pageerror", (error) => failures.push(error));
  page.on("response", (response) => {
    const url = response.url();
    if (url.startsWith(apiUrl) && response.request().method() === "POST") {
      answers.push(response.text().then((body) => ({ url, body })));
    }
  });
  return { answers, failures };
}

/** Waits until the page's status is this text. */
async function says(page: Page, text: string | RegExp): Promise<void> {
  const status = page.getByRole("status");
  const pattern = typeof text === "string" ? new RegExp(`^${text}$`) : text;
  try {
    await status.filter({ hasText: pattern }).waitFor({ timeout: 10_000 });
  } catch {
    assert.match((await status.textContent()) ?? "", pattern);
  }
}

/** Fills in the fields of a form, by their labels, and presses its button. */
async function fill(page: Page, form: string, fields: Record<string, string>): Promise<void> {
  const there = page.getByRole("form", { name: form, exact: true });
  for (const [label, value] of Object.entries(fields)) {
    await there.getByLabel(label, { exact: true }).fill(value);
  }
  await there.getByRole("button", { name: form, exact: true }).click();
}

async function click(page: Page, button: string): Promise<void> {
  await page.getByRole("button", { name: button, exact: true }).click();
}

async function showsWorkspace(page: Page, user: string, name: string, state: string): Promise<void> {
  const shown = ["User", "Name", "State"].map((label) => page.getByLabel(label, { exact: true }).textContent());
  assert.deepEqual(await Promise.all(shown), [user, name, state]);
}

async function sessionCookie(context: BrowserContext): Promise<Cookie> {
  const cookies = (await context.cookies()).filter(({ name }) => name !== "__Host-manager_device"); // which is of no account
  assert.deepEqual(cookies.map(({ name }) => name), [cookieName]);
  return cookies[0]!;
}
