import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, beforeEach } from "node:test";
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import { startChromium } from "./chromium.js";
import { outputFolder } from "./paths.js";
import { startServer, type Server } from "./server.js";

/** What a window on a desk shows. */
export const desk = { width: 1000, height: 760 };

/** What {@link startBrowsing} is to start. */
export interface BrowsingOptions {
  /** Environment variables of the server beside the usual ones, or what gives them. */
  settings?: Record<string, string> | (() => Promise<Record<string, string>>);
  /** Of the contexts of the browser beside the usual ones. */
  context?: BrowserContextOptions;
  /** How the URLs begin that pages may ask beside the server. */
  friends?: string[];
  /** What the console may say of what could not be loaded, and no test is to fail for. */
  tolerated: RegExp;
}

/** A server, and a browser in which each test is a new visitor of its pages. */
export interface Browsing {
  /** Where the server is. */
  url(): string;
  /** The page of the test, in a context without cookies. */
  page(): Page;
  /** What the browser complained about in the test, which fails in the end unless it is taken out. */
  readonly complaints: string[];
  /** Another browser, so to say, until the test ends. */
  newContext(options?: BrowserContextOptions): Promise<BrowserContext>;
  /** One more page, whose complaints count as well. */
  newPage(context: BrowserContext): Promise<Page>;
}

/**
 * Starts a server and a browser for the tests of a `describe`, in which it is called. A test
 * fails when the browser complains about a page: about an error in it, a breach of its
 * policy, or a request to anybody but the server and friends.
 *
 * @param name - of the server's log in test-output
 */
export function startBrowsing(name: string, { settings = {}, context: contextOptions = {}, friends = [], tolerated }: BrowsingOptions): Browsing {
  let server: Server;
  let browser: Browser;
  // A new context costs more than what most tests do: their first pages share one, which knows the scripts already.
  let kept: BrowserContext;
  let anchor: Page; // of it, which stays open, and with it the process of its pages
  let contexts: BrowserContext[] = []; // of a test beside it
  let page: Page;
  const complaints: string[] = [];

  before(async () => {
    const told = typeof settings === "function" ? await settings() : settings;
    // Each is there to be stopped, also when the other one fails.
    await Promise.all([startChromium().then((started) => (browser = started)), startServer(name, told).then((started) => (server = started))]);
    kept = await browser.newContext({ viewport: desk, ...contextOptions });
    anchor = await kept.newPage();
    await anchor.goto(`${server.url}/favicon.svg`);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
  });
  beforeEach(async () => {
    complaints.length = 0;
    await kept.unrouteAll();
    await kept.clearCookies();
    await anchor.evaluate(() => localStorage.clear());
    page = await newPage(kept);
  });
  afterEach(async () => {
    const pages = kept.pages().filter((one) => one !== anchor);
    await Promise.all([...contexts, ...pages].map((one) => one.close()));
    contexts = [];
    assert.deepEqual(complaints, []);
  });

  async function newPage(context: BrowserContext): Promise<Page> {
    const opened = await context.newPage();
    opened.on("pageerror", (error) => complaints.push(`${error}`));
    opened.on("console", (entry) => {
      if (["error", "warning"].includes(entry.type()) && !tolerated.test(entry.text())) {
        complaints.push(`${entry.type()}: ${entry.text()}`);
      }
    });
    opened.on("request", (request) => {
      if (![`${server.url}/`, ...friends].some((start) => request.url().startsWith(start))) {
        complaints.push(`a request to ${request.url()}`);
      }
    });
    return opened;
  }

  return {
    url: () => server.url,
    page: () => page,
    complaints,
    newContext: async (options = {}) => {
      const context = await browser.newContext({ viewport: desk, ...contextOptions, ...options });
      contexts.push(context);
      return context;
    },
    newPage,
  };
}

/** How pictures for people are taken. */
export interface PictureOptions {
  /** The folder in test-output. */
  folder: string;
  phone: { width: number; height: number };
  /** Whether they show what is below the window as well. */
  fullPage?: boolean;
  /** Looks at the page once it is dark. */
  inDark?: () => Promise<void>;
}

/**
 * Takes pictures for people, in light, in dark and on a phone, and sees to it that nothing
 * stands out of a narrow window.
 */
export async function takePictures(page: Page, name: string, { folder, phone, fullPage = false, inDark }: PictureOptions): Promise<void> {
  mkdirSync(join(outputFolder, folder), { recursive: true });
  for (const [scheme, size] of [["light", desk], ["dark", desk], ["phone", phone]] as const) {
    await page.emulateMedia({ colorScheme: scheme === "dark" ? "dark" : "light" });
    await page.setViewportSize(size);
    if ((await widerThanWindow(page)) !== undefined) {
      await page.waitForFunction(() => document.documentElement.scrollWidth <= window.innerWidth, undefined, { timeout: 3000 }).catch(() => undefined);
    }
    assert.equal(await widerThanWindow(page), undefined, `${name} is wider than ${size.width}`);
    if (scheme === "dark") {
      await inDark?.();
    }
    await page.screenshot({ path: join(outputFolder, folder, `${name}-${scheme}.png`), fullPage });
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(desk);
}

/**
 * Returns what stands out of the window, or has to be scrolled sideways although no key
 * does that; nothing if all is within.
 */
function widerThanWindow(page: Page): Promise<string | undefined> {
  return page.evaluate(() => {
    const fits = document.documentElement.scrollWidth <= window.innerWidth;
    const wide = [...document.body.querySelectorAll<HTMLElement>("*")].filter(
      (element) =>
        (!fits && element.getBoundingClientRect().right > window.innerWidth) ||
        (element.scrollWidth > element.clientWidth + 1 && element.tabIndex < 0 && /auto|scroll/.test(getComputedStyle(element).overflowX)),
    );
    return fits && wide.length === 0 ? undefined : wide.map(({ outerHTML }) => outerHTML.slice(0, 300)).join("\n");
  });
}
