import assert from "node:assert/strict";
import { beforeEach } from "node:test";
import { createManager, isReason, type Manager } from "@logicspike/manager";
import type { BrowserContext, Cookie } from "playwright-core";
import { startBrowsing, takePictures } from "./browsing.js";
import { codeMailedTo, linkMailedTo, newAddress } from "./mailbox.js";

export const password = "maple-lantern-quartz";
export const newPassword = "walnut-harbour-violin";
export const voidLink = "This link no longer works";

/** An account that owns a workspace. */
export interface Account {
  manager: Manager;
  email: string;
  workspaceId: string;
}

/**
 * Starts a server and a browser for the tests of a `describe`, in which it is called; each
 * test is somebody who opens the pages that mails link to. A test fails when the browser
 * complains about a page, or when a token of a link is in a URL or a header.
 *
 * @param name - of the server's log in test-output
 */
export function startPages(name: string) {
  const t = startBrowsing(name, {
    // The browser notes each answer that is an error of the API. Nothing else may be there.
    tolerated: /^Failed to load resource: the server responded with a status of 4\d\d /,
  });
  const { url, page, complaints } = t;
  const calls: string[] = []; // of the API, by the page
  let secrets: string[]; // that must be in no URL and no header

  beforeEach(() => {
    calls.length = 0;
    secrets = [];
    page().on("request", (request) => {
      const { pathname, search } = new URL(request.url()); // without the fragment, which is not sent
      const sent = decodeURIComponent(pathname + search) + JSON.stringify(request.headers());
      if (secrets.some((secret) => sent.includes(secret))) {
        complaints.push(`a token in the URL or a header of ${request.method()} ${pathname}`);
      }
      if (request.method() !== "GET") {
        calls.push(pathname.replace(/.*\//, ""));
      }
    });
  });

  function context(): BrowserContext {
    return page().context();
  }

  async function register(email: string, workspaceName = "Analytical Engines"): Promise<string> {
    const { registration } = await createManager({ baseUrl: url() }).registration.register({ email, password, workspaceName });
    return registration!.id;
  }

  /** Makes an account by the API, and a client that is signed in to it. */
  async function newAccount(workspaceName?: string): Promise<Account> {
    const email = newAddress();
    const registrationId = await register(email, workspaceName);
    let token: string | undefined;
    const manager = createManager({ baseUrl: url(), sessionToken: () => token });
    const { account } = await manager.registration.verifyRegistration({
      registrationId,
      code: await codeMailedTo(url(), email),
    });
    token = account!.sessionToken;
    return { manager, email, workspaceId: account!.workspace!.id };
  }

  /** Invites an address, and returns the mailed link and the invitation's id. */
  async function invite({ manager, workspaceId }: Account, email: string): Promise<{ link: string; id: string }> {
    const { invitation } = await manager.invitations.createInvitation({ workspaceId, email });
    return { link: await linkMailedTo(url(), email, "/accept-invitation"), id: invitation!.id };
  }

  async function membersOf({ manager, workspaceId }: Account): Promise<string[]> {
    return (await manager.memberships.listMemberships({ workspaceId })).memberships.map(({ email }) => email);
  }

  async function fillIn(fields: Record<string, string>): Promise<void> {
    for (const [label, value] of Object.entries(fields)) {
      await page().getByLabel(label, { exact: true }).fill(value);
    }
  }

  async function seesButtons(...names: string[]): Promise<void> {
    const seen = await page().getByRole("main").getByRole("button").allInnerTexts();
    assert.deepEqual(seen.map((text) => text.replace(/\s+/g, " ")), names);
  }

  async function canSignIn(email: string, password: string): Promise<boolean> {
    return createManager({ baseUrl: url() })
      .authentication.signInWithPassword({ email, password })
      .then(
        () => true,
        (error) => {
          assert.ok(isReason(error, "CREDENTIALS_INVALID"), `${error}`);
          return false;
        },
      );
  }

  /** Signs the browser in, beside the page. */
  async function signIn(email: string): Promise<void> {
    await callWithCookie("auth.v1.AuthenticationService/SignInWithPassword", {
      email,
      password,
      sessionTransport: "SESSION_TRANSPORT_COOKIE",
    });
  }

  /** Returns the browser's cookies, but for that by which the server knows its device again. */
  async function cookies(): Promise<Cookie[]> {
    return (await context().cookies()).filter(({ name }) => name !== "__Host-manager_device");
  }

  /** Returns the address of the account that the browser is signed in to. */
  async function getMe(): Promise<string> {
    return (await callWithCookie("identity.v1.UserService/GetMe", {})).user.email;
  }

  async function callWithCookie(method: string, data: object) {
    const sent = (await context().cookies()).map(({ name, value }) => `${name}=${value}`);
    const answer = await fetch(`${url()}/logicspike.${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Origin: url(), Cookie: sent.join("; ") },
      body: JSON.stringify(data),
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    const set = answer.headers.get("Set-Cookie")?.match(/^(.*?)=(.*?);/);
    if (set) {
      await context().addCookies([{ name: set[1]!, value: set[2]!, url: url().replace("http:", "https:"), secure: true }]);
    }
    return answer.json();
  }

  /** Opens a link as from a mail, and sees to it that its token is nowhere to be seen. */
  async function open(link: string): Promise<void> {
    const token = decodeURIComponent(link.replace(/.*#token=/, ""));
    secrets.push(token);
    await page().goto(link);
    await page().waitForURL(link.replace(/#.*/, ""));
    await page().locator("main button:visible").first().waitFor();
    const seen = await page().evaluate(() => [
      location.href,
      document.documentElement.outerHTML,
      JSON.stringify([history.state, { ...localStorage }, { ...sessionStorage }, document.cookie]),
    ]);
    assert.ok(!seen.some((text) => text.includes(token)), `${seen}`);
  }

  async function confirmRegistration(): Promise<void> {
    await page().getByLabel("Your password", { exact: true }).fill(password);
    await press("Confirm registration");
  }

  async function press(name: string): Promise<void> {
    await page().getByRole("button", { name, exact: true }).click();
  }

  /** Waits until the page has this heading and title. */
  async function shows(heading: string): Promise<void> {
    await page().getByRole("heading", { level: 1, name: heading, exact: true }).waitFor({ timeout: 10_000 });
    assert.equal(await page().title(), `${heading} · LogicSpike Manager`);
  }

  /** Waits until the page says this, with the focus on what it says. */
  async function says(text: string | RegExp): Promise<void> {
    await page().getByRole("status").filter({ hasText: text }).waitFor({ timeout: 10_000 });
    assert.equal(await page().evaluate(() => document.activeElement?.id), "message");
  }

  /** Waits until the page says this at a field. */
  async function refuses(label: string, text: string | RegExp): Promise<void> {
    const field = page().getByLabel(label, { exact: true });
    await page().locator(".error").filter({ hasText: text }).waitFor({ timeout: 10_000 });
    const described = (await field.getAttribute("aria-describedby"))!.split(" ").at(-1);
    assert.match((await page().locator(`#${described}`).textContent())!, text instanceof RegExp ? text : new RegExp(`^${text}$`));
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    assert.match(await page().evaluate(() => document.activeElement!.id), /^((new-)?(email|password)|name|((totp|recovery)-)?code)$/);
  }

  async function pictures(name: string): Promise<void> {
    await page().emulateMedia({ reducedMotion: "reduce" });
    await takePictures(page(), name, { folder: "pages", phone: { width: 320, height: 640 }, fullPage: true });
    await page().emulateMedia({ reducedMotion: null });
  }

  return {
    ...t,
    calls,
    context,
    register,
    newAccount,
    invite,
    membersOf,
    fillIn,
    seesButtons,
    canSignIn,
    signIn,
    cookies,
    getMe,
    callWithCookie,
    open,
    confirmRegistration,
    press,
    shows,
    says,
    refuses,
    pictures,
  };
}
