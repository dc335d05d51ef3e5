import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createRouterTransport, type Transport } from "@connectrpc/connect";
import * as api from "@logicspike/manager";
import { bearer, createManager, SessionService, SessionTransport } from "@logicspike/manager";

describe("createManager with a transport", () => {
  it("uses it as it is, with the token that bearer adds before each call", async () => {
    const seen: (string | null)[] = [];
    let token: string | undefined;
    const transport = createRouterTransport(
      ({ service }) => {
        service(SessionService, {
          getSession(_, context) {
            seen.push(context.requestHeader.get("Authorization"));
            return { session: { id: "ses_1" } };
          },
        });
      },
      { transport: { interceptors: [bearer(() => token)] } },
    );
    const { sessions } = createManager({ transport });

    assert.equal((await sessions.getSession({})).session?.id, "ses_1");
    token = "first";
    await sessions.getSession({});
    token = "second";
    await sessions.getSession({});
    await sessions.getSession({}, { headers: { Authorization: "Bearer own" } });
    assert.deepEqual(seen, [null, "Bearer first", "Bearer second", "Bearer own"]);
  });

  it("keeps the token of a device", async (t) => {
    const sent: (string | null)[] = [];
    t.mock.method(globalThis, "fetch", async (_: unknown, init: RequestInit) => {
      sent.push(new Headers(init.headers).get("Device-Token"));
      return new Response("{}", { headers: { "Content-Type": "application/json", ...(sent.length === 1 ? { "Device-Token": "lsmd_1" } : {}) } });
    });
    let kept: string | undefined;
    const deviceToken = { read: () => kept, write: (token: string) => void (kept = token) };
    const { authentication } = createManager({ baseUrl: "http://localhost:1", deviceToken });
    await authentication.signInWithPassword({ email: "e", password: "p" });
    await authentication.signInWithPassword({ email: "e", password: "p" });
    assert.deepEqual([sent, kept], [[null, "lsmd_1"], "lsmd_1"]);
  });
});

describe("createManager", () => {
  it("makes a client of every service, with every method", async () => {
    const called: string[] = [];
    const transport: Transport = {
      async unary(method) {
        called.push(`${method.parent.typeName}/${method.name}`);
        throw new Error("not sent");
      },
      async stream(method) {
        called.push(`${method.parent.typeName}/${method.name}`);
        throw new Error("not sent");
      },
    };
    const clients: object[] = Object.values(createManager({ transport }));
    for (const method of clients.flatMap((client) => Object.values(client) as ((request: object) => Promise<unknown>)[])) {
      await method({}).catch(() => undefined);
    }
    const services = Object.values(api).flatMap((value) => (isService(value) ? [value] : []));
    assert.ok(services.length >= 22, `${services.length} services`);
    assert.deepEqual(
      called.sort(),
      services.flatMap(({ typeName, methods }) => methods.map(({ name }) => `${typeName}/${name}`)).sort(),
    );
  });

  it("asks for the cookie where a session begins, and only there", async (t) => {
    const sent: unknown[] = [];
    t.mock.method(globalThis, "fetch", async (_: unknown, init: RequestInit) => {
      assert.equal(init.credentials, "include");
      sent.push(JSON.parse(new TextDecoder().decode(init.body as Uint8Array)));
      return new Response("{}", { headers: { "Content-Type": "application/json" } });
    });
    const manager = createManager({ baseUrl: "http://localhost:1", credentials: "cookie" });
    const request = { token: "lsmi_1", password: "p", requestId: "1" };
    await manager.invitations.registerWithInvitation(request);
    await manager.invitations.acceptInvitation({ token: "lsmi_1" });
    await manager.authentication.signInWithPassword({ email: "e", password: "p" });
    await manager.authentication.signInWithPassword({ email: "e", password: "p", sessionTransport: SessionTransport.BEARER });
    assert.deepEqual(sent, [
      { ...request, sessionCookie: true },
      { token: "lsmi_1" },
      { email: "e", password: "p", sessionTransport: "SESSION_TRANSPORT_COOKIE" },
      { email: "e", password: "p", sessionTransport: "SESSION_TRANSPORT_BEARER" },
    ]);
    assert.deepEqual(request, { token: "lsmi_1", password: "p", requestId: "1" });
  });
});

function isService(value: unknown): value is { typeName: string; methods: { name: string }[] } {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "service";
}
