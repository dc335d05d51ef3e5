import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import { createManager, type Manager } from "@logicspike/manager";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { startChromium } from "../../client/ts/test/chromium.js";
import { codeMailedTo, newAddress } from "../../client/ts/test/mailbox.js";
import { outputFolder } from "../../client/ts/test/paths.js";
import { startServer, type Server } from "../../client/ts/test/server.js";

/** The password of every account that {@link Console.newAccount} makes. */
export const password = "maple-lantern-quartz";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const size = { width: 1000, height: 760 };

/** An account that owns a workspace, with a client of the API in its name. */
export interface Account {
  manager: Manager;
  email: string;
  workspaceId: string;
  slug: string;
}

/** Somebody in a browser of their own, and what they do there. */
export interface Visitor {
  page(): Page;
  context(): BrowserContext;
  /** Opens a page by its path. */
  open(path: string): Promise<void>;
  /** Opens a page by its path, in a session that the password of {@link Console.newAccount} has begun. */
  openAs(email: string, path: string): Promise<void>;
  /** Waits for a page by its title, the first heading. */
  shows(title: string): Promise<void>;
  /** Waits for a text that can be seen. */
  reads(text: string | RegExp): Promise<void>;
  /** Fills in fields, by their labels. */
  fill(fields: Record<string, string>): Promise<void>;
  /** Presses a button, by its whole name or what is in it. */
  press(name: string | RegExp): Promise<void>;
  /** Presses a button of the dialog that is open. */
  answer(name: string): Promise<void>;
  /** Chooses an entry of the menu that a button opens which has this in its name. */
  choose(menu: string, entry: string): Promise<void>;
  /** Types a code into the field of six digits, and clears it. */
  enterCode(code: string): Promise<void>;
  clearCode(): Promise<void>;
  /** Signs in on the page that asks for it, by the password of {@link Console.newAccount}. */
  signIn(email: string, password?: string): Promise<void>;
  /** Signs out by the menu of a workspace's page. */
  signOut(): Promise<void>;
  /** Looks for what shuts people out, in light and in dark. */
  isAccessible(): Promise<void>;
  /**
   * Takes pictures for people, in light, in dark and on a phone, and sees to it that
   * nothing stands out of a narrow window.
   */
  pictures(name: string): Promise<void>;
}

/** A server with its console, and a browser. */
export interface Console extends Visitor {
  /** Where the server is. */
  url(): string;
  /** Another person, in a browser of their own. */
  visitor(): Promise<Visitor>;
  /** One more tab of a person. */
  tab(of?: Visitor): Promise<Visitor>;
  /** Makes an account by the API, which owns a workspace. */
  newAccount(workspaceName: string): Promise<Account>;
}

/**
 * Starts a server and a browser for the tests of a `describe`, in which it is called; each
 * test is a new visitor. A test fails when the browser complains about a page: about an
 * error in it, a breach of its policy, or a request to anybody but the server and
 * `friends`.
 *
 * @param name - of the server's log in test-output
 * @param settings - environment variables of the server beside the usual ones, or what gives them
 * @param friends - hosts that pages may ask, too
 */
export function startConsole(
  name: string,
  settings: Record<string, string> | (() => Promise<Record<string, string>>) = {},
  friends: string[] = [],
): Console {
  let server: Server;
  let browser: Browser;
  let contexts: BrowserContext[] = []; // of a test
  let kept: BrowserContext; // which the first visitors of all tests share, since it knows the scripts already
  let anchor: Page; // of it, which stays open, and with it the process of its pages
  let first: Page;
  let complaints: string[] = [];

  before(async () => {
    mkdirSync(join(outputFolder, "console"), { recursive: true });
    const told = typeof settings === "function" ? await settings() : settings;
    // Each is there to be stopped, also when the other one fails.
    await Promise.all([startChromium().then((started) => (browser = started)), startServer(name, told).then((started) => (server = started))]);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    complaints = [];
    if (!kept) {
      kept = await newContext();
      anchor = await newPage(kept);
      await anchor.goto(`${server.url}/favicon.svg`);
    }
    contexts = [];
    await kept.unrouteAll();
    await kept.clearCookies();
    await anchor.evaluate(() => localStorage.clear());
    first = await newPage(kept);
  });
  afterEach(async () => {
    await Promise.all([...contexts.map((context) => context.close()), ...kept.pages().filter((page) => page !== anchor).map((page) => page.close())]);
    assert.deepEqual(complaints, []);
  });

  async function newContext(): Promise<BrowserContext> {
    const context = await browser.newContext({ viewport: size, reducedMotion: "reduce", permissions: ["clipboard-read", "clipboard-write"] });
    contexts.push(context);
    return context;
  }

  /** Opens a page, and keeps what the browser complains about, but for refusals of the API, and answers that a test keeps back. */
  async function newPage(context: BrowserContext): Promise<Page> {
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(`${error}`));
    page.on("console", (entry) => {
      if (["error", "warning"].includes(entry.type()) && !/^Failed to load resource: (the server responded with a status of 4\d\d |net::ERR_FAILED)/.test(entry.text())) {
        complaints.push(`${entry.type()}: ${entry.text()}`);
      }
    });
    page.on("request", (request) => {
      if (![server.url, "data:", "blob:", ...friends].some((start) => request.url().startsWith(start))) {
        complaints.push(`a request to ${request.url()}`);
      }
    });
    return page;
  }

  return {
    ...visitorOf(
      () => server.url,
      () => first,
      () => complaints,
    ),
    url: () => server.url,
    visitor: async () => {
      const page = await newPage(await newContext());
      return visitorOf(
        () => server.url,
        () => page,
        () => complaints,
      );
    },
    tab: async (of) => {
      const page = await newPage((of?.page() ?? first).context());
      return visitorOf(
        () => server.url,
        () => page,
        () => complaints,
      );
    },
    newAccount: async (workspaceName) => {
      const email = newAddress();
      let token: string | undefined;
      const manager = createManager({ baseUrl: server.url, sessionToken: () => token });
      const { registration } = await manager.registration.register({ email, password, workspaceName });
      const { account } = await manager.registration.verifyRegistration({
        registrationId: registration!.id,
        code: await codeMailedTo(server.url, email),
      });
      token = account!.sessionToken;
      return { manager, email, workspaceId: account!.workspace!.id, slug: account!.workspace!.slug };
    },
  };
}

/** Has axe look for what is serious, and expects nothing. */
async function axeFinds(page: Page, options: object): Promise<void> {
  if (!(await page.evaluate(() => "axe" in window))) {
    const session = await page.context().newCDPSession(page);
    await session.send("Runtime.evaluate", { expression: axe }); // which the page's policy does not stop
    await session.detach();
  }
  const found = await page.evaluate(async (options) => {
    const { violations } = await (
      window as unknown as { axe: { run(options: object): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> } }
    ).axe.run(options);
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
  }, options);
  assert.deepEqual(found, [], page.url());
}

function visitorOf(url: () => string, page: () => Page, complaints: () => string[]): Visitor {
  /** Says what the page shows when what was waited for does not come. */
  const waiting = async (found: Promise<unknown>): Promise<void> => {
    await found.catch(async (error: unknown) => {
      throw new Error(`${page().url()} shows:\n${await page().locator("body").ariaSnapshot()}\n${complaints()}`, { cause: error });
    });
  };
  const visitor: Visitor = {
    page,
    context: () => page().context(),
    open: async (path) => {
      await page().goto(url() + path);
    },
    openAs: async (email, path) => {
      const answer = await visitor.context().request.post(`${url()}/logicspike.auth.v1.AuthenticationService/SignInWithPassword`, {
        headers: { Origin: url() },
        data: { email, password, sessionTransport: "SESSION_TRANSPORT_COOKIE" },
      });
      assert.ok(answer.ok(), await answer.text());
      await visitor.open(path);
    },
    shows: (title) => waiting(page().getByRole("heading", { level: 1, name: title, exact: true }).waitFor({ timeout: 60_000 })),
    reads: (text) => waiting(page().getByText(text).filter({ visible: true }).first().waitFor()),
    fill: async (fields) => {
      for (const [label, value] of Object.entries(fields)) {
        await waiting(page().getByLabel(label, { exact: true }).and(page().locator("input, textarea")).fill(value));
      }
    },
    press: (name) => waiting(page().getByRole("button", { name, exact: true }).click()),
    answer: (name) => waiting(page().getByRole("dialog").last().getByRole("button", { name, exact: true }).click()),
    choose: async (menu, entry) => {
      await visitor.press(new RegExp(menu));
      await waiting(page().getByRole("menuitem", { name: entry, exact: true }).click());
    },
    enterCode: async (code) => {
      await page().locator("input[inputmode=numeric]").first().click();
      await page().keyboard.type(code);
    },
    clearCode: async () => {
      for (const digit of (await page().locator("input[inputmode=numeric]").all()).reverse()) {
        await digit.press("Backspace");
      }
    },
    signIn: async (email, own = password) => {
      await visitor.shows("Sign in");
      await visitor.fill({ "E-mail address": email, Password: own });
      await visitor.press("Sign in");
    },
    signOut: async () => {
      await visitor.choose("Your account", "Sign out");
      await visitor.shows("Sign in");
    },
    isAccessible: () => axeFinds(page(), {}),
    pictures: async (name) => {
      for (const [scheme, width, height] of [["light", 1000, 760], ["dark", 1000, 760], ["phone", 375, 720]] as const) {
        await page().emulateMedia({ colorScheme: scheme === "dark" ? "dark" : "light" });
        await page().setViewportSize({ width, height });
        await page().waitForFunction(() => document.documentElement.scrollWidth <= window.innerWidth, undefined, { timeout: 3000 }).catch(() => undefined);
        const wider = await page().evaluate(() =>
          document.documentElement.scrollWidth <= window.innerWidth
            ? []
            : [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > window.innerWidth).map((e) => e.outerHTML.slice(0, 300)),
        );
        assert.deepEqual(wider, [], `${name} is wider than ${width}`);
        if (scheme === "dark") {
          await axeFinds(page(), { runOnly: ["color-contrast"] }); // all else is as in light colours
        }
        await page().screenshot({ path: join(outputFolder, "console", `${name}-${scheme}.png`) });
      }
      await page().emulateMedia({ colorScheme: null });
      await page().setViewportSize(size);
    },
  };
  return visitor;
}
