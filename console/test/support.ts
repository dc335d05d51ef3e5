import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createManager, type Manager } from "@logicspike/manager";
import type { BrowserContext, Locator, Page } from "playwright-core";
import { startBrowsing, takePictures } from "../../client/ts/test/browsing.js";
import { codeMailedTo, newAddress } from "../../client/ts/test/mailbox.js";

/** The password of every account that {@link Console.newAccount} makes. */
export const password = "maple-lantern-quartz";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

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
  /** Presses a button of the dialog that is open, by its whole name or what is in it. */
  answer(name: string | RegExp): Promise<void>;
  /** Chooses an entry of the menu that a button opens which has this in its name. */
  choose(menu: string, entry: string): Promise<void>;
  /** Pastes a code into the field of six digits. */
  enterCode(code: string): Promise<void>;
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
  /** What the browser complained about in the test, which fails it. */
  readonly complaints: string[];
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
  const { url, page, complaints, newContext, newPage } = startBrowsing(name, {
    settings,
    friends: ["data:", "blob:", ...friends],
    context: { reducedMotion: "reduce", permissions: ["clipboard-read", "clipboard-write"] },
    // But for refusals of the API, and answers that a test keeps back.
    tolerated: /^Failed to load resource: (the server responded with a status of 4\d\d |net::ERR_FAILED)/,
  });
  const visitorOn = (opened: Page) => visitorOf(url, () => opened, complaints);
  return {
    ...visitorOf(url, page, complaints),
    url,
    complaints,
    visitor: async () => visitorOn(await newPage(await newContext())),
    tab: async (of) => visitorOn(await newPage((of?.page() ?? page()).context())),
    newAccount: async (workspaceName) => {
      const email = newAddress();
      let token: string | undefined;
      const manager = createManager({ baseUrl: url(), sessionToken: () => token });
      const { registration } = await manager.registration.register({ email, password, workspaceName });
      const { account } = await manager.registration.verifyRegistration({
        registrationId: registration!.id,
        code: await codeMailedTo(url(), email),
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

function visitorOf(url: () => string, page: () => Page, complaints: string[]): Visitor {
  /** Says what the page shows when what was waited for does not come. */
  const waiting = async (found: Promise<unknown>): Promise<void> => {
    await found.catch(async (error: unknown) => {
      throw new Error(`${page().url()} shows:\n${await page().locator("body").ariaSnapshot()}\n${complaints}`, { cause: error });
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
    enterCode: (code) => waiting(page().locator("input[inputmode=numeric][autocomplete=one-time-code]").fill(code)),
    signIn: async (email, own = password) => {
      await visitor.shows("Sign in");
      await visitor.fill({ "E-mail address": email, Password: own });
      await visitor.press("Sign in");
    },
    signOut: async () => {
      await visitor.choose("Your account", "Sign out");
      await visitor.shows("Sign in");
    },
    isAccessible: () => axeFinds(page(), { iframes: false }), // which are of others
    pictures: (name) =>
      takePictures(page(), name, {
        folder: "console",
        phone: { width: 375, height: 720 },
        inDark: () => axeFinds(page(), { runOnly: ["color-contrast"] }), // all else is as in light colours
      }),
  };
  return visitor;
}

/** Has somebody join a workspace, by the API. */
export async function joins({ manager, workspaceId }: Account, guest: Account): Promise<void> {
  const { invitation } = await manager.invitations.createInvitation({ workspaceId, email: guest.email });
  await guest.manager.invitations.acceptInvitation({ invitationId: invitation!.id });
}

/** What somebody is called who gave no name. */
export function nameIn(email: string): string {
  return email.split("@")[0]!;
}

/** The row of a table in which there is this. */
export function row(within: Page | Locator, text: string): Locator {
  return within.getByRole("row").filter({ hasText: text });
}

/** Waits for rows of tables that hold texts. */
export async function rows(visitor: Visitor, ...expected: (string | RegExp)[][]): Promise<void> {
  for (const texts of expected) {
    let found = visitor.page().getByRole("row");
    for (const hasText of texts) {
      found = found.filter({ hasText });
    }
    await found.first().waitFor().catch(async (error: unknown) => {
      throw new Error(`no row with ${texts.join(", ")}:\n${await visitor.page().locator("body").ariaSnapshot()}`, { cause: error });
    });
  }
}

/** The pages that are offered. */
export async function entries(page: Page): Promise<string[]> {
  return page.getByRole("navigation").getByRole("link").allTextContents();
}

/** Waits until nothing covers the page for a picture, which begins at its top. */
export async function toastsGo(page: Page): Promise<void> {
  for (const button of await page.locator(".mantine-Notifications-root").getByRole("button", { name: "Close" }).all()) {
    await button.click().catch(() => undefined); // gone already
  }
  await page.evaluate(() => window.scrollTo(0, 0));
}
