import assert from "node:assert/strict";
import { createServer, request as send, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { Code, ConnectError, createClient, createRouterTransport, type ConnectRouter } from "@connectrpc/connect";
import { createManager, isReason, SessionService, TokenService } from "@logicspike/manager";
import {
  allows,
  callerKey,
  callerOf,
  createRefreshingTokenSource,
  createTokenSource,
  createTokenVerifier,
  guardConnect,
  guardFetch,
  guardNode,
  KeysUnavailableError,
  TokenError,
  type AccessToken,
  type TokenVerifier,
} from "@logicspike/manager/token";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey, type JWK } from "jose";

const audience = "https://api.example.com";
const user = "usr_00000000000000000000000001";

interface Key {
  kid: string;
  privateKey: CryptoKey;
  jwk: JWK;
}

describe("createTokenVerifier", () => {
  let keysServer: Server;
  let issuer: string;
  let fetched: number;
  let answer: () => { status: number; body: string };
  let key: Key;
  let verifier: TokenVerifier;

  before(async () => {
    key = await newKey();
    keysServer = createServer((request, response) => {
      fetched++;
      const { status, body } = request.url === "/.well-known/jwks.json" ? answer() : { status: 404, body: "" };
      response.writeHead(status, { "Content-Type": "application/json" }).end(body);
    });
    await new Promise<void>((resolve) => keysServer.listen(0, "127.0.0.1", resolve));
    issuer = `http://localhost:${(keysServer.address() as AddressInfo).port}`;
  });
  after(() => {
    keysServer.close();
    keysServer.closeAllConnections();
  });
  beforeEach(() => {
    fetched = 0;
    answer = () => keys(key);
    verifier = createTokenVerifier({ issuer, audience });
  });

  it("says what a token says", async () => {
    const now = Math.floor(Date.now() / 1000);
    const token = await verifier.verify(
      await sign(key, {
        workspace_id: "wsp_1",
        role: "admin",
        permissions: ["membership.get", "membership.delete"],
        amr: ["pwd", "otp", "mfa"],
        auth_time: now - 60,
        act: { sub: "usr_operator" },
        more: 1,
      }),
    );
    const { claims, issueTime, expireTime, ...said } = token;
    assert.deepEqual(said, {
      id: "token-1",
      userId: user,
      sessionId: "ses_1",
      workspaceId: "wsp_1",
      role: "admin",
      permissions: ["membership.get", "membership.delete"],
      methods: ["pwd", "otp", "mfa"],
      authenticateTime: new Date((now - 60) * 1000),
      impersonatorUserId: "usr_operator",
    });
    assert.equal(expireTime.getTime() - issueTime.getTime(), 300_000);
    assert.equal(claims["more"], 1);

    const bare = await verifier.verify(await sign(key));
    assert.deepEqual(
      [bare.workspaceId, bare.role, bare.permissions, bare.methods, bare.authenticateTime, bare.impersonatorUserId],
      [undefined, undefined, [], [], undefined, undefined],
    );
  });

  it("accepts any of its names, in a token for several services, too", async () => {
    const several = createTokenVerifier({ issuer, audience: ["https://old.example.com", audience] });
    await several.verify(await sign(key));
    await several.verify(await sign(key, { aud: ["https://other.example.com", "https://old.example.com"] }));
    await refuses(several, await sign(key, { aud: ["https://other.example.com"] }));
    for (const options of [{ issuer: "", audience }, { issuer, audience: "" }, { issuer, audience: [] }]) {
      assert.throws(() => createTokenVerifier(options), TypeError);
    }
  });

  it("refuses what is not of the server, not for the service, or not of now", async () => {
    const now = Math.floor(Date.now() / 1000);
    const cases: Record<string, Record<string, unknown>> = {
      "another issuer": { iss: "https://accounts.example.com" },
      "an issuer with a slash": { iss: `${issuer}/` },
      "no issuer": { iss: undefined },
      "another audience": { aud: "https://other.example.com" },
      "an audience that begins alike": { aud: `${audience}/more` },
      "no audience": { aud: undefined },
      expired: { iat: now - 290, exp: now - 40 },
      "no expiry": { exp: undefined },
      "an expiry in text": { exp: `${now + 100}` },
      "issued in the future": { iat: now + 60, exp: now + 200 },
      "not valid yet": { nbf: now + 60 },
      "no time of issue": { iat: undefined },
      "longer than tokens live": { iat: now, exp: now + 301 },
      "older than tokens live": { iat: now - 340, exp: now + 100 },
      "no user": { sub: undefined },
      "an empty user": { sub: "" },
      "no session": { sid: undefined },
      "no id": { jti: undefined },
      "a user that is no text": { sub: 1 },
      "permissions in text": { permissions: "membership.get" },
      "permissions that are no texts": { permissions: [1] },
      "a workspace that is no text": { workspace_id: { id: "wsp_1" } },
      "an actor who is nobody": { act: {} },
      "an actor that is null": { act: null },
    };
    for (const [what, claims] of Object.entries(cases)) {
      await refuses(verifier, await sign(key, claims), what);
    }
    assert.equal(fetched, 1);
  });

  it("allows clocks to differ a little", async () => {
    const now = Math.floor(Date.now() / 1000);
    const late = await sign(key, { iat: now - 200, exp: now - 20 });
    await verifier.verify(late);
    await verifier.verify(await sign(key, { iat: now + 20, exp: now + 200 }));
    await refuses(createTokenVerifier({ issuer, audience, clockToleranceSeconds: 0 }), late);
  });

  it("refuses other kinds of tokens, other algorithms and other people's keys", async () => {
    const other = await newKey();
    await refuses(verifier, await sign(key, {}, { typ: "JWT" }), "another type");
    await refuses(verifier, await sign(key, {}, { typ: "id+jwt" }), "another type");
    await refuses(verifier, await sign(key, {}, { typ: undefined }), "no type");
    await refuses(verifier, await sign(key, {}, { kid: undefined }), "no key id");
    await refuses(verifier, await sign(key, {}, { crit: ["more"], more: 1 }), "an extension that must be understood");
    await refuses(verifier, await sign({ ...other, kid: key.kid }), "another's key under the id");
    await refuses(verifier, await sign(other), "an unknown key");

    // Keys that come with the token count for nothing.
    const { jwk } = other;
    await refuses(verifier, await sign({ ...other, kid: key.kid }, {}, { jwk }), "its own key");
    await refuses(verifier, await sign(other, {}, { jku: `${issuer}/others.json` }), "its own list of keys");
    assert.equal(fetched, 1);

    // "alg": none, and the public key taken for a secret that both sides have.
    const [head = "", body = ""] = (await sign(key)).split(".");
    const none = new UnsecuredJWT({ sub: user }).setIssuer(issuer).setAudience(audience).encode();
    await refuses(verifier, none, "no signature");
    await refuses(verifier, `${encode({ alg: "none", typ: "at+jwt", kid: key.kid })}.${body}.`, "no signature");
    const secret = new TextEncoder().encode(key.jwk.x);
    const shared = await new SignJWT(claimsOf()).setProtectedHeader({ alg: "HS256", typ: "at+jwt", kid: key.kid }).sign(secret);
    await refuses(verifier, shared, "a shared secret");
    const es = await generateKeyPair("ES256");
    const curve = await new SignJWT(claimsOf()).setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: key.kid }).sign(es.privateKey);
    await refuses(verifier, curve, "another algorithm");

    for (const [what, token] of Object.entries({
      empty: "",
      "no token": "lsmk_abc",
      "a session's": "lsms_abc",
      "a part missing": `${head}.${body}`,
      "a part too many": `${await sign(key)}.x`,
      "its signature cut off": `${head}.${body}.`,
      "its content changed": `${head}.${encode({ ...claimsOf(), sub: "usr_other" })}.${(await sign(key)).split(".")[2]}`,
      "too long": await sign(key, { more: "x".repeat(9000) }),
    })) {
      await refuses(verifier, token, what);
    }
  });

  it("fetches keys once, and again for a new one, though not for each unknown one", async (t) => {
    const [next, unknown] = [await newKey(), await newKey()];
    await Promise.all(Array.from({ length: 20 }, async () => verifier.verify(await sign(key))));
    assert.equal(fetched, 1);
    answer = () => keys(key, next);
    t.mock.timers.enable({ apis: ["Date"], now: Date.now() + 31_000 });
    await verifier.verify(await sign(next));
    assert.equal(fetched, 2);
    for (let i = 0; i < 5; i++) {
      await refuses(verifier, await sign(unknown));
    }
    assert.equal(fetched, 2);
    t.mock.timers.setTime(Date.now() + 601_000);
    answer = () => keys(next); // The old key is not used any more.
    await refuses(verifier, await sign(key));
    await verifier.verify(await sign(next));
  });

  it("tells that the keys cannot be had, and does without for a while", async (t) => {
    const down = () => ({ status: 503, body: "" });
    for (const broken of [down, () => ({ status: 200, body: "<html>" }), () => ({ status: 200, body: "{}" }), () => ({ status: 200, body: `{"keys":[${" ".repeat(300_000)}]}` })]) {
      answer = broken;
      await assert.rejects(createTokenVerifier({ issuer, audience }).verify(await sign(key)), KeysUnavailableError);
    }
    const nowhere = createTokenVerifier({ issuer, audience, jwksUrl: "http://localhost:1/jwks.json" });
    await assert.rejects(nowhere.verify(await sign(key)), KeysUnavailableError);

    answer = () => keys(key);
    await verifier.verify(await sign(key));
    answer = down;
    const begun = Date.now();
    t.mock.timers.enable({ apis: ["Date"], now: begun + 30 * 60_000 });
    await verifier.verify(await sign(key));
    await refuses(verifier, await sign(await newKey()));
    t.mock.timers.setTime(begun + 75 * 60_000);
    await assert.rejects(verifier.verify(await sign(key)), KeysUnavailableError);
    answer = () => keys(key);
    await verifier.verify(await sign(key));
  });

  it("reads the header of requests", async () => {
    const token = await sign(key);
    assert.equal((await verifier.verifyHeader(`Bearer ${token}`)).userId, user);
    assert.equal((await verifier.verifyHeader(`bearer  ${token}`)).userId, user);
    for (const header of [undefined, null, "", token, `Basic ${token}`, `Bearer`, `Bearer ${token} more`, `Bearer ${token},Bearer x`]) {
      await assert.rejects(verifier.verifyHeader(header), TokenError, `${header}`);
    }
  });

  it("tells what the caller may do in a workspace that a request names", async () => {
    const caller = await verifier.verify(await sign(key, { workspace_id: "wsp_1", permissions: ["workspace.get"] }));
    assert.deepEqual(
      [allows(caller, "wsp_1", "workspace.get"), allows(caller, "wsp_1", "workspace.delete"), allows(caller, "wsp_2", "workspace.get"), allows(caller, "", "workspace.get")],
      [true, false, false, false],
    );
    const nowhere = await verifier.verify(await sign(key, { permissions: ["workspace.get"] }));
    assert.equal(allows(nowhere, "", "workspace.get"), false);
  });

  describe("guards", () => {
    const permission = "membership.get";
    const down = () => ({ status: 503, body: "" });
    const cases = [
      { what: "nothing", header: async () => undefined, status: 401, challenge: "Bearer" },
      { what: "rubbish", header: async () => "Bearer x", status: 401, challenge: 'Bearer error="invalid_token"' },
      { what: "less than it needs", header: () => bearer({ workspace_id: "wsp_1", permissions: ["other"] }), status: 403, challenge: 'Bearer error="insufficient_scope"' },
      { what: "it in no workspace", header: () => bearer({ permissions: [permission] }), status: 403, challenge: 'Bearer error="insufficient_scope"' },
      { what: "an operator", header: () => bearer({ workspace_id: "wsp_1", permissions: [permission], act: { sub: "usr_2" } }), status: 403, challenge: null },
      { what: "what it needs", header: () => bearer({ workspace_id: "wsp_1", permissions: [permission] }), status: 200, challenge: null },
      { what: "it while no keys can be had", header: () => bearer({ workspace_id: "wsp_1", permissions: [permission] }), status: 503, challenge: null, keys: down },
    ];
    const bearer = async (claims: Record<string, unknown>) => `Bearer ${await sign(key, claims)}`;
    const options = { permission, refuseImpersonation: true };

    for (const { what, header, status, challenge, keys } of cases) {
      const prepare = async () => {
        answer = keys ?? answer;
        const value = await header();
        return value === undefined ? {} : { Authorization: value };
      };

      it(`of the Fetch API, for ${what}`, async () => {
        const guarded = guardFetch(verifier, (_, caller, env: string) => new Response(`${caller.userId} ${env}`), options);
        const response = await guarded(new Request(audience, { headers: await prepare() }), "more");
        assert.deepEqual([response.status, response.headers.get("WWW-Authenticate")], [status, challenge]);
        assert.equal(await response.text(), status === 200 ? `${user} more` : "");
      });

      it(`of Node, for ${what}`, async () => {
        const guard = guardNode(verifier, options);
        const server = createServer((request, response) => {
          assert.throws(() => callerOf(request), TypeError);
          guard(request, response, (error) => response.end(error === undefined ? callerOf(request).userId : "an error"));
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        const headers = await prepare();
        const response = await new Promise<IncomingMessage>((resolve, reject) =>
          send({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", headers }, resolve).once("error", reject).end(),
        );
        assert.deepEqual([response.statusCode, response.headers["www-authenticate"] ?? null], [status, challenge]);
        assert.equal((await response.toArray()).join(""), status === 200 ? user : "");
        server.close();
        server.closeAllConnections();
      });

      it(`of Connect, for ${what}`, async () => {
        const routes = ({ service }: ConnectRouter) =>
          service(SessionService, { getSession: (_, { values }) => ({ session: { userId: values.get(callerKey)!.userId } }) });
        const transport = createRouterTransport(routes, { router: { interceptors: [guardConnect(verifier, options)] } });
        const headers = await prepare();
        const call = createClient(SessionService, transport).getSession({}, { headers });
        if (status === 200) {
          return assert.equal((await call).session?.userId, user);
        }
        const error = ConnectError.from(await call.catch((error) => error));
        const codes: Record<number, Code> = { 401: Code.Unauthenticated, 403: Code.PermissionDenied, 503: Code.Unavailable };
        assert.deepEqual([error.code, error.metadata.get("WWW-Authenticate")], [codes[status], challenge]);
      });
    }
  });

  function claimsOf(claims: Record<string, unknown> = {}): Record<string, unknown> {
    const now = Math.floor(Date.now() / 1000);
    return { iss: issuer, aud: audience, sub: user, sid: "ses_1", jti: "token-1", iat: now, exp: now + 300, ...claims };
  }

  function sign({ kid, privateKey }: Key, claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
    const protectedHeader = { alg: "EdDSA", typ: "at+jwt", kid, ...header };
    const crit = Object.fromEntries(((header["crit"] as string[]) ?? []).map((name) => [name, true]));
    return new SignJWT(claimsOf(claims)).setProtectedHeader(protectedHeader as never).sign(privateKey, { crit });
  }
});

describe("sources of access tokens", () => {
  let calls: string[];
  let lifetime: number;
  let broken: (() => unknown)[]; // what the next calls fail with, after they have had their effect

  const transport = () =>
    createRouterTransport(({ service }) => {
      let current = "refresh-0";
      service(TokenService, {
        createAccessToken({ audience, workspaceId }) {
          calls.push(`create ${audience} ${workspaceId}`);
          return { accessToken: jwt(calls.length) };
        },
        refreshAccessToken({ refreshToken }) {
          calls.push(`refresh ${refreshToken}`);
          const previous = `refresh-${Number(current.slice(8)) - 1}`;
          if (refreshToken !== current && refreshToken !== previous) {
            throw invalid();
          }
          if (refreshToken === current) {
            current = `refresh-${Number(current.slice(8)) + 1}`;
          }
          const failure = broken.shift();
          if (failure) {
            throw failure();
          }
          return { accessToken: jwt(calls.length), refreshToken: current };
        },
        revokeToken({ token }) {
          calls.push(`revoke ${token}`);
          current = "refresh-1000"; // which nobody has
          return {};
        },
      });
    });
  // The reason TOKEN_INVALID, as google.rpc.ErrorInfo: reason = 1, domain = 2.
  const invalid = () => {
    const error = new ConnectError("the token is not valid", Code.Unauthenticated);
    const field = (number: number, text: string) => [number * 8 + 2, text.length, ...new TextEncoder().encode(text)];
    error.details.push({ type: "google.rpc.ErrorInfo", value: new Uint8Array([...field(1, "TOKEN_INVALID"), ...field(2, "manager.logicspike")]) });
    return error;
  };
  const jwt = (n: number) => `${encode({ alg: "EdDSA" })}.${encode({ iat: 1000, exp: 1000 + lifetime, jti: `${n}` })}.${"A".repeat(86)}`;

  beforeEach(() => {
    calls = [];
    lifetime = 300;
    broken = [];
  });

  it("keep a token until it is about to expire, whatever the clock says", async (t) => {
    t.mock.timers.enable({ apis: ["Date"], now: 5_000_000_000_000 });
    const source = createTokenSource(createManager({ transport: transport() }), { audience, workspaceId: "wsp_1" });
    const tokens = await Promise.all(Array.from({ length: 10 }, () => source.accessToken()));
    assert.equal(new Set(tokens).size, 1);
    t.mock.timers.setTime(5_000_000_000_000 + 269_000);
    assert.equal(await source.accessToken(), tokens[0]);
    assert.deepEqual(calls, [`create ${audience} wsp_1`]);
    t.mock.timers.setTime(5_000_000_000_000 + 270_000);
    assert.notEqual(await source.accessToken(), tokens[0]);
    assert.equal(calls.length, 2);
    source.expire();
    await source.accessToken();
    assert.equal(calls.length, 3);
  });

  it("refresh once for all who ask at the same time, and store before they give", async () => {
    const stored: string[] = [];
    const store = async (token: string) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      stored.push(token);
    };
    const source = createRefreshingTokenSource(createManager({ transport: transport() }), { refreshToken: "refresh-0", store });
    const asked = Array.from({ length: 10 }, () => source.accessToken().then((token) => [token, stored.length]));
    for (const [, count] of await Promise.all(asked)) {
      assert.equal(count, 1);
    }
    source.expire();
    await source.accessToken();
    assert.deepEqual([calls, stored], [["refresh refresh-0", "refresh refresh-1"], ["refresh-1", "refresh-2"]]);
    await source.revoke();
    assert.equal(calls.at(-1), "revoke refresh-2");
  });

  it("revoke what a refresh under way gets, and give nothing out afterwards", async () => {
    const store = () => new Promise<void>((resolve) => setTimeout(resolve, 20));
    const source = createRefreshingTokenSource(createManager({ transport: transport() }), { refreshToken: "refresh-0", store });
    const early = source.accessToken();
    const revoked = source.revoke();
    const late = source.accessToken();
    await Promise.all([early, revoked, assert.rejects(late, (error) => isReason(error, "TOKEN_INVALID"))]);
    assert.deepEqual(calls, ["refresh refresh-0", "revoke refresh-1", "refresh refresh-1"]);
    await assert.rejects(source.accessToken(), (error) => isReason(error, "TOKEN_INVALID"));
  });

  it("ask again by the same refresh token when an answer is lost", async () => {
    broken = [() => new TypeError("fetch failed"), () => new ConnectError("late", Code.DeadlineExceeded)];
    const stored: string[] = [];
    const source = createRefreshingTokenSource(createManager({ transport: transport() }), {
      refreshToken: "refresh-0",
      store: (token) => void stored.push(token),
    });
    await source.accessToken();
    assert.deepEqual([calls, stored], [["refresh refresh-0", "refresh refresh-0", "refresh refresh-0"], ["refresh-1"]]);
  });

  it("never use a refresh token again of which the next one could not be stored", async () => {
    let full = true;
    const stored: string[] = [];
    const store = (token: string) => {
      if (full) {
        throw new Error("the disk is full");
      }
      stored.push(token);
    };
    const source = createRefreshingTokenSource(createManager({ transport: transport() }), { refreshToken: "refresh-0", store });
    await assert.rejects(source.accessToken(), /the disk is full/);
    await assert.rejects(source.accessToken(), /the disk is full/);
    assert.deepEqual(calls, ["refresh refresh-0"]);
    full = false;
    await source.accessToken();
    assert.deepEqual([calls, stored], [["refresh refresh-0", "refresh refresh-1"], ["refresh-1", "refresh-2"]]);
  });

  it("end with the chain, without asking again", async () => {
    const source = createRefreshingTokenSource(createManager({ transport: transport() }), { refreshToken: "stolen", store: () => undefined });
    await assert.rejects(source.accessToken(), /the token is not valid/);
    await assert.rejects(source.accessToken(), /the token is not valid/);
    assert.deepEqual(calls, ["refresh stolen"]);
  });
});

async function newKey(): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const jwk = await exportJWK(publicKey);
  return { kid: await calculateJwkThumbprint(jwk), privateKey, jwk };
}

function keys(...list: Key[]): { status: number; body: string } {
  return { status: 200, body: JSON.stringify({ keys: list.map(({ kid, jwk }) => ({ ...jwk, kid, alg: "EdDSA", use: "sig" })) }) };
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

async function refuses(verifier: TokenVerifier, token: string, what = ""): Promise<void> {
  await verifier.verify(token).then(
    ({ claims }: AccessToken) => assert.fail(`${what}: ${JSON.stringify(claims)}`),
    (error: unknown) => assert.ok(error instanceof TokenError, `${what}: ${error}`),
  );
}
