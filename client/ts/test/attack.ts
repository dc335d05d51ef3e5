import { setTimeout as sleep } from "node:timers/promises";
import type { Page } from "playwright-core";

/** One try of a page to use somebody else's session, and what came of it. */
export interface Attempt {
  what: string;
  /** What the page could read: an answer's body, or "" when the browser withheld it. */
  read: string;
  /** Whether the browser sent a cookie. */
  cookie: boolean;
  /** The status that the server answered with, whatever the page may know of it. */
  status: number;
}

/**
 * Tries, from a page, to read the session of the person at the browser and to rename
 * their workspace, in every way that a page has.
 */
export async function attack(page: Page, apiUrl: string, workspaceId: string): Promise<Attempt[]> {
  const traffic = await watch(page, apiUrl);
  const read = `${apiUrl}/logicspike.auth.v1.SessionService/GetSession`;
  const change = `${apiUrl}/logicspike.tenant.v1.WorkspaceService/UpdateWorkspace`;
  const message = JSON.stringify({ workspaceId, name: "Taken over" });
  const asGet = (url: string, text: string) => `${url}?connect=v1&encoding=json&message=${encodeURIComponent(text)}`;
  const json = { "Content-Type": "application/json" };
  const requests: [what: string, url: string, init: Init][] = [
    ["read by POST", read, { method: "POST", headers: json, body: "{}" }],
    ["read by GET", asGet(read, "{}"), {}],
    ["read by GET, no-cors", asGet(read, "{}"), { mode: "no-cors" }],
    ["change by POST", change, { method: "POST", headers: json, body: message }],
    ["change by POST of text", change, { method: "POST", body: message }],
    ["change by POST of text, no-cors", change, { method: "POST", mode: "no-cors", body: message }],
    ["change by GET, no-cors", asGet(change, message), { mode: "no-cors" }],
  ];
  const attempts: Attempt[] = [];
  for (const [what, url, init] of requests) {
    const body = await page.evaluate(send, { url, init });
    attempts.push({ what, read: body, ...(await traffic.next()) });
  }

  // A form needs no script, and leads to the answer.
  const answered = page.waitForResponse(change);
  await page.evaluate(submit, { url: change, text: message });
  await answered;
  attempts.push({ what: "change by a form", read: "", ...(await traffic.next()) });
  return attempts;
}

interface Init {
  method?: string;
  mode?: "no-cors";
  headers?: Record<string, string>;
  body?: string;
}

/** In the page: sends a request and returns the body as far as the page may read it. */
async function send({ url, init }: { url: string; init: Init }): Promise<string> {
  try {
    return await (await fetch(url, { ...init, credentials: "include" })).text();
  } catch {
    return "";
  }
}

/** In the page: submits a form whose body is the text, but for a = at the end. */
function submit({ url, text }: { url: string; text: string }): void {
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: url, enctype: "text/plain" });
  const input = document.createElement("input");
  input.name = text;
  form.append(input);
  document.body.append(form);
  form.submit();
}

/** Watches what the browser sends to the API for a page, and gets, also what the page may not see. */
async function watch(page: Page, apiUrl: string) {
  const requests = new Map<string, { url?: string; cookie?: boolean; status?: number }>();
  const note = (id: string, known: { url: string } | { cookie: boolean } | { status: number }) => {
    requests.set(id, { ...requests.get(id), ...known });
  };
  const session = await page.context().newCDPSession(page);
  session.on("Network.requestWillBeSent", ({ requestId, request }) => note(requestId, { url: request.url }));
  session.on("Network.requestWillBeSentExtraInfo", ({ requestId, headers }) =>
    note(requestId, { cookie: Object.keys(headers).some((name) => name.toLowerCase() === "cookie") }),
  );
  session.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode }) => note(requestId, { status: statusCode }));
  await session.send("Network.enable");
  return {
    /** Waits for the next request that reached the server and was answered. */
    async next(): Promise<{ cookie: boolean; status: number }> {
      for (const deadline = Date.now() + 5_000; Date.now() < deadline; await sleep(10)) {
        for (const [id, { url, cookie, status }] of requests) {
          if (url?.startsWith(apiUrl) && cookie !== undefined && status !== undefined) {
            requests.delete(id);
            return { cookie, status };
          }
        }
      }
      throw new Error("the browser sent nothing");
    },
  };
}
