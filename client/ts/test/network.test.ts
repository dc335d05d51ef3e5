import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import * as api from "@logicspike/manager";
import { ConnectError, createManager, isReason, type Manager } from "@logicspike/manager";
import { authorizedFetch, callerOf, createTokenVerifier, guardNode, type TokenSource } from "@logicspike/manager/token";
import { startChromium } from "./chromium.js";
import { codeMailedTo, newAddress } from "./mailbox.js";
import type { Functions } from "./network-page.js";
import { startNetwork, type Fault, type Network } from "./network.js";
import { freePort, startServer, type Server } from "./server.js";
import { bundlePage, startSite } from "./site.js";

const password = "maple-lantern-quartz";

describe("on a bad network", () => {
  let server: Server;
  let network: Network;
  let pagePort: number;

  before(async () => {
    pagePort = await freePort();
    server = await startServer("network", { MANAGER_ALLOWED_ORIGINS: `http://localhost:${pagePort}` });
    network = await startNetwork(server.url);
  });
  after(async () => {
    network?.close();
    await server?.stop();
  });

  const losses: Record<string, Fault[]> = {
    "the answer is lost": ["lost"],
    "half of the answer is lost": ["cut"],
    "the answer is lost, and so on": ["lost", "never", "gateway"],
  };
  for (const [what, faults] of Object.entries(losses)) {
    it(`makes one thing when ${what}`, async () => {
      const { sessionToken } = await newAccount();
      const manager = createManager({ baseUrl: network.url, sessionToken });
      network.fail("CreateWorkspace", ...faults);
      const request = { name: "Engines" };
      const { workspace } = await manager.workspaces.createWorkspace(request);
      assert.equal(network.times("CreateWorkspace").length, faults.length + 1);
      assert.deepEqual([request, await engines(manager)], [{ name: "Engines" }, [workspace!.id]]);
      await manager.workspaces.createWorkspace(request);
      assert.equal((await engines(manager)).length, 2, "the same request again is another call");
    });
  }

  it("makes one thing in Chromium, too", async () => {
    const browser = await startChromium();
    const site = await startSite(await bundlePage("network-page.ts"), network.url, pagePort);
    try {
      const { sessionToken } = await newAccount();
      const page = await browser.newPage();
      await page.goto(`http://localhost:${pagePort}`);
      let made = 0;
      for (const fault of ["lost", "cut", "never", "gateway"] as const) {
        network.fail("CreateWorkspace", fault);
        network.fail("ListWorkspaces", fault);
        const names = await page.evaluate(inPage, { baseUrl: network.url, sessionToken, name: `Engines ${fault}` });
        assert.equal(names.filter((name) => name.startsWith("Engines")).length, ++made, fault);
        assert.ok(network.times("CreateWorkspace").length >= 2 && network.times("ListWorkspaces").length >= 2, fault);
      }
    } finally {
      site.close();
      await browser.close();
    }
  });

  it("repeats what is safe, and nothing else", async (t) => {
    t.mock.method(Math, "random", () => 0);
    const sent: Record<string, number> = {};
    t.mock.method(globalThis, "fetch", async (url: string) => {
      sent[new URL(url).pathname] = (sent[new URL(url).pathname] ?? 0) + 1;
      throw new TypeError("fetch failed");
    });
    for (const attempts of [1, 3]) {
      const manager = createManager({ baseUrl: "http://localhost:1", attempts });
      const methods = Object.values(manager).flatMap((client) => Object.entries(client)) as [name: string, method: (request: object) => Promise<unknown>][];
      await Promise.all(methods.map(([name, method]) => name !== "importUsers" && method({}).catch(() => undefined))); // but the stream
      let safe = 0;
      for (const service of Object.values(api).filter(isService)) {
        for (const { name, idempotency, input } of service.methods.filter((method) => method.methodKind === "unary")) {
          const isSafe = idempotency === 1 || (input.fields.some((field) => field.name === "request_id") && name !== "CreateApiKey");
          safe += Number(isSafe);
          const path = `/${service.typeName}/${name}`;
          assert.equal(sent[path], isSafe ? attempts : 1, path);
          delete sent[path];
        }
      }
      assert.ok(safe > 50, `${safe} methods`);
    }
  });

  it("does not repeat what makes a key, of which a later answer holds none", async () => {
    const { sessionToken, workspaceId } = await newAccount();
    const { apiKeys } = createManager({ baseUrl: network.url, sessionToken });
    const request = { workspaceId, displayName: "Report", permissions: ["membership.get"] };
    network.fail("CreateApiKey", "lost");
    await assert.rejects(apiKeys.createApiKey(request), ConnectError);
    assert.equal(network.times("CreateApiKey").length, 1);
    network.fail("CreateApiKey", "lost");
    const { token } = await apiKeys.createApiKey({ ...request, requestId: crypto.randomUUID() });
    assert.deepEqual([network.times("CreateApiKey").length, token], [2, ""]);
  });

  it("waits for as long as the server asks, if that is not long", async () => {
    const cases: [fault: Fault, calls: number, pause: number][] = [
      [{ code: "unavailable", reason: "UNAVAILABLE", retryAfter: 1 }, 2, 1000],
      [{ code: "resource_exhausted", reason: "OVERLOADED", retryAfter: 1 }, 2, 1000],
      [{ code: "unavailable", reason: "UNAVAILABLE" }, 2, 50],
      [{ code: "unavailable", reason: "UNAVAILABLE", retryAfter: 60 }, 1, 0],
      [{ code: "resource_exhausted", reason: "RATE_LIMITED", retryAfter: 1 }, 1, 0],
      [{ code: "internal", reason: "INTERNAL" }, 1, 0],
      [{ code: "invalid_argument", reason: "FIELD_INVALID" }, 1, 0],
    ];
    const { users } = createManager({ baseUrl: network.url, sessionToken: (await newAccount()).sessionToken });
    for (const [fault, calls, pause] of cases) {
      network.fail("GetMe", fault);
      const failed = await users.getMe({}).then(() => false, () => true);
      const times = network.times("GetMe");
      assert.deepEqual([times.length, failed], [calls, calls === 1], JSON.stringify(fault));
      assert.ok(calls === 1 || times[1]! - times[0]! >= pause - 1, `${times[1]! - times[0]!} ms`);
    }
    network.fail("GetMe", "gateway", "gateway", "never", "never", "never");
    await assert.rejects(users.getMe({}), ConnectError);
    assert.equal(network.times("GetMe").length, 4);
  });

  it("ends with its signal, and with its time", async () => {
    const { users } = createManager({ baseUrl: network.url, sessionToken: (await newAccount()).sessionToken });
    for (const options of [{ signal: AbortSignal.timeout(300) }, { timeoutMs: 300 }]) {
      network.fail("GetMe", { code: "unavailable", reason: "UNAVAILABLE", retryAfter: 4 });
      const begun = Date.now();
      await assert.rejects(users.getMe({}, options), ConnectError);
      assert.ok(Date.now() - begun < 2000, `${Date.now() - begun} ms`);
      assert.equal(network.times("GetMe").length, 1);
    }
  });

  it("refreshes once for all, stores what comes next, and survives lost answers", async () => {
    const { refreshToken, userId, workspaceId } = await newAccount();
    const stored: string[] = [];
    const { accessTokens } = createManager({ baseUrl: network.url, refresh: { refreshToken, store: (next) => void stored.push(next) } });
    const verifier = createTokenVerifier({ issuer: server.url, audience: server.url });
    const given = new Set<string>();
    for (const faults of [[], ["lost", "gateway", "cut"]] as Fault[][]) {
      network.fail("RefreshAccessToken", ...faults);
      const tokens = new Set(await Promise.all(Array.from({ length: 30 }, () => accessTokens.accessToken())));
      assert.deepEqual([tokens.size, network.times("RefreshAccessToken").length], [1, faults.length + 1]);
      const [token] = [...tokens];
      const caller = await verifier.verify(token!);
      assert.deepEqual([caller.userId, caller.workspaceId], [userId, workspaceId]);
      given.add(token!);
      accessTokens.expire("another");
      assert.equal(await accessTokens.accessToken(), token);
      accessTokens.expire();
    }
    assert.deepEqual([given.size, new Set([refreshToken, ...stored]).size], [2, 3]);

    // What was stored last goes on elsewhere. Once the line has ended, the server is asked once and not again.
    const other = createManager({ baseUrl: network.url, refresh: { refreshToken: stored.at(-1)!, store: () => undefined } });
    await other.accessTokens.accessToken();
    await other.accessTokens.revoke();
    network.fail("RefreshAccessToken");
    for (let tries = 0; tries < 3; tries++) {
      await assert.rejects(other.accessTokens.accessToken(), (error) => isReason(error, "TOKEN_INVALID"));
    }
    assert.equal(network.times("RefreshAccessToken").length, 1);
  });

  it("sends access tokens to a service, and a new one in the place of a refused one", async () => {
    const { refreshToken, userId } = await newAccount();
    const { accessTokens } = createManager({ baseUrl: server.url, refresh: { refreshToken, store: () => undefined } });
    const guard = guardNode(createTokenVerifier({ issuer: server.url, audience: server.url }));
    const refused: (string | undefined)[] = [];
    const service = createServer((request, response) => {
      if (refused.includes(request.headers.authorization)) {
        return void response.writeHead(401).end();
      }
      guard(request, response, () => {
        request.setEncoding("utf8").on("data", (body: string) => response.end(`${callerOf(request).userId} ${body}`));
      });
    });
    await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`;
      const call = authorizedFetch(accessTokens);
      const first = await accessTokens.accessToken();
      const says = async (input: string | Request, init?: RequestInit) => (await call(input, init)).text();
      assert.equal(await says(url, { method: "POST", body: "hello" }), `${userId} hello`);
      refused.push(`Bearer ${first}`);
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, n) => says(n % 2 ? url : new Request(url, { method: "POST", body: "hello" }), n % 2 ? { method: "POST", body: "hello" } : undefined)),
      );
      assert.deepEqual(new Set(answers), new Set([`${userId} hello`]));
      const second = await accessTokens.accessToken();
      assert.notEqual(second, first);
      refused.push(`Bearer ${second}`); // as a service does that never accepts
      assert.equal((await call(url, { method: "POST", body: "hello" })).status, 401);
      assert.equal(await accessTokens.accessToken(), second);
    } finally {
      service.close();
      service.closeAllConnections();
    }
  });

  it("has no tokens to send when there are none, and the server itself takes none", async () => {
    const { accessTokens, users } = createManager({ baseUrl: server.url, refresh: { refreshToken: "lsmf_none", store: () => undefined } });
    const send = async () => assert.fail("it was sent");
    await assert.rejects(authorizedFetch(accessTokens as TokenSource, send)("http://localhost:1"), (error) => isReason(error, "TOKEN_INVALID"));
    await assert.rejects(users.getMe({}), (error) => isReason(error, "SESSION_REQUIRED"));
  });

  async function newAccount() {
    const email = newAddress();
    const { registration } = createManager({ baseUrl: server.url });
    const begun = await registration.register({ email, password, workspaceName: "Acme" });
    const code = await codeMailedTo(server.url, email);
    const { account } = await registration.verifyRegistration({ registrationId: begun.registration!.id, code });
    const { sessionToken } = account!;
    const workspaceId = account!.workspace!.id;
    const { refreshToken } = await createManager({ baseUrl: server.url, sessionToken }).tokens.createRefreshToken({ workspaceId });
    return { sessionToken, workspaceId, refreshToken, userId: account!.user!.id };
  }
});

declare const window: Window & Functions;

async function inPage({ baseUrl, sessionToken, name }: { baseUrl: string; sessionToken: string; name: string }): Promise<string[]> {
  const { workspaces } = window.createManager({ baseUrl, sessionToken });
  await workspaces.createWorkspace({ name });
  return (await workspaces.listWorkspaces({})).workspaces.map(({ workspace }) => workspace!.name);
}

async function engines({ workspaces }: Manager): Promise<string[]> {
  const list = await workspaces.listWorkspaces({});
  return list.workspaces.flatMap(({ workspace }) => (workspace!.name === "Engines" ? [workspace!.id] : []));
}

function isService(value: unknown): value is typeof api.UserService {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}
