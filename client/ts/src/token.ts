/**
 * Access tokens, for services that LogicSpike Manager's users call and for the clients
 * that call them.
 *
 * A service verifies tokens by itself ({@link createTokenVerifier}), with the keys that
 * the server publishes; the server is not asked. That a session ended shows at the latest
 * when its last token expires: 5 minutes later. Where that is too late, ask
 * `manager.tokens.introspectToken`.
 *
 * @packageDocumentation
 */
import { createContextKey, Code, ConnectError, type ContextKey, type Interceptor } from "@connectrpc/connect";
import { createRemoteJWKSet, customFetch, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from "jose";

export * from "./token-source.js";

/** What an access token that was verified says. */
export interface AccessToken {
  /** The token's own id. */
  readonly id: string;
  /** Who calls: the user's id, `usr_…`. */
  readonly userId: string;
  /** The session that it is of, `ses_…`. */
  readonly sessionId: string;
  /** The workspace that it is for, `wsp_…`; undefined when it is for none. */
  readonly workspaceId: string | undefined;
  /** The user's role in that workspace: a built-in one's name, or the id of a custom one. */
  readonly role: string | undefined;
  /** The user's permissions in that workspace, such as `membership.get`. */
  readonly permissions: readonly string[];
  /** How the user proved who they are, as in RFC 8176: such as `pwd`, `otp`, `mfa`. */
  readonly methods: readonly string[];
  /** When they did. */
  readonly authenticateTime: Date | undefined;
  /** When the token was issued. */
  readonly issueTime: Date;
  /** When it expires. */
  readonly expireTime: Date;
  /** The operator of the server who acts in the user's name; undefined for the user. */
  readonly impersonatorUserId: string | undefined;
  /** All that the token says. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Why a token is refused: it is malformed, not signed by the server, expired, for another service, … */
export class TokenError extends Error {
  override readonly name: string = "TokenError";
}

/** The server's keys cannot be had for now: nothing is known of the token. */
export class KeysUnavailableError extends Error {
  override readonly name: string = "KeysUnavailableError";
}

/** What to verify tokens by. */
export interface TokenVerifierOptions {
  /** The server that issues the tokens: its public URL, for example `https://accounts.example.com`. */
  readonly issuer: string;
  /**
   * The name of this service in tokens, one of the server's setting `token-audiences`;
   * or several names.
   */
  readonly audience: string | readonly string[];
  /** Where the server's keys are. Default: `/.well-known/jwks.json` below the issuer. */
  readonly jwksUrl?: string | URL;
  /** By how many seconds the clocks may differ. Default: 30. */
  readonly clockToleranceSeconds?: number;
  /** Fetches the keys. Default: the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** Verifies access tokens. It may be shared by all requests, so that the keys are fetched once. */
export interface TokenVerifier {
  /**
   * Verifies a token. It is rejected with a {@link TokenError} when the token is not to
   * be accepted, and with a {@link KeysUnavailableError}.
   */
  verify(token: string): Promise<AccessToken>;
  /**
   * Verifies the token of an `Authorization: Bearer` header, given the header's value.
   * Like {@link verify}; a missing header is a TokenError.
   */
  verifyHeader(authorization: string | null | undefined): Promise<AccessToken>;
}

/** No token is longer. */
const maxTokenLength = 8192;
/** Tokens live for 5 minutes. One that claims more is none of the server's. */
const maxTokenAgeSeconds = 5 * 60;
/** No list of keys is longer, in bytes. */
const maxKeysLength = 256 << 10;
/** For how many milliseconds keys are used when the server does not answer. */
const maxKeysAge = 60 * 60_000;

/**
 * Makes a verifier. Nothing is fetched before the first token; then the keys are kept for
 * 10 minutes, and asked for again, at most every 30 seconds, for a key that is not among
 * them. While the server does not answer, the keys are used for up to an hour.
 *
 * A token is accepted when it is a JWT access token (RFC 9068, typ `at+jwt`) that a key
 * of the server has signed by Ed25519, for this service, not expired, and no older than 5
 * minutes. Keys or addresses of keys in the token are ignored (RFC 8725, 3.10).
 *
 * ```ts
 * const verifier = createTokenVerifier({ issuer: "https://accounts.example.com", audience: "https://api.example.com" });
 * const { userId, workspaceId, permissions } = await verifier.verifyHeader(request.headers.get("Authorization"));
 * ```
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { issuer } = options;
  const audience = typeof options.audience === "string" ? [options.audience] : [...options.audience];
  if (issuer === "" || audience.length === 0 || audience.includes("")) {
    throw new TypeError("a verifier of tokens needs an issuer and an audience");
  }
  const url = new URL(options.jwksUrl ?? `${issuer.replace(/\/$/, "")}/.well-known/jwks.json`);
  const keys = createRemoteJWKSet(url, { [customFetch]: keepingKeys(options.fetch ?? ((input, init) => fetch(input, init))) });

  const verify = async (token: string): Promise<AccessToken> => {
    if (token.length > maxTokenLength) {
      throw new TokenError("the token is too long");
    }
    try {
      if (typeof decodeProtectedHeader(token).kid !== "string") {
        throw new TokenError("the token names no key");
      }
    } catch (error) {
      throw error instanceof TokenError ? error : new TokenError("this is no JWT", { cause: error });
    }
    try {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ["EdDSA", "Ed25519"],
        typ: "at+jwt",
        issuer,
        audience,
        clockTolerance: options.clockToleranceSeconds ?? 30,
        maxTokenAge: maxTokenAgeSeconds,
        requiredClaims: ["sub", "sid", "jti", "iat", "exp"],
      });
      return read(payload);
    } catch (error) {
      throw sort(error);
    }
  };

  return {
    verify,
    async verifyHeader(authorization) {
      const token = /^Bearer +([^\s]+) *$/i.exec(authorization ?? "")?.[1];
      if (token === undefined) {
        throw new TokenError("the request has no bearer token");
      }
      return verify(token);
    },
  };
}

/** Turns what was signed into what it says. */
function read(claims: JWTPayload): AccessToken {
  const { sub, sid, jti, iat, exp, auth_time, workspace_id, role, permissions, amr, act } = claims;
  if (exp! - iat! > maxTokenAgeSeconds) {
    throw new TokenError("the token lives too long");
  }
  const impersonator = act === undefined ? undefined : text((act as { sub?: unknown } | null)?.sub, "act");
  return {
    id: text(jti, "jti"),
    userId: text(sub, "sub"),
    sessionId: text(sid, "sid"),
    workspaceId: optional(workspace_id, "workspace_id"),
    role: optional(role, "role"),
    permissions: list(permissions, "permissions"),
    methods: list(amr, "amr"),
    authenticateTime: typeof auth_time === "number" ? new Date(auth_time * 1000) : undefined,
    issueTime: new Date(iat! * 1000),
    expireTime: new Date(exp! * 1000),
    impersonatorUserId: impersonator,
    claims,
  };
}

function text(value: unknown, claim: string): string {
  if (typeof value !== "string" || value === "") {
    throw new TokenError(`the token's claim ${claim} is no text`);
  }
  return value;
}

function optional(value: unknown, claim: string): string | undefined {
  return value === undefined ? undefined : text(value, claim);
}

function list(value: unknown, claim: string): string[] {
  if (value === undefined) {
    return [];
  }
  if (!Array.isArray(value)) {
    throw new TokenError(`the token's claim ${claim} is no list`);
  }
  return value.map((entry) => text(entry, claim));
}

/** Tells what is wrong with the token from what is wrong with the keys. */
function sort(error: unknown): Error {
  if (error instanceof TokenError) {
    return error;
  }
  const aboutToken = [
    errors.JWTExpired,
    errors.JWTClaimValidationFailed,
    errors.JWTInvalid,
    errors.JWSInvalid,
    errors.JWSSignatureVerificationFailed,
    errors.JOSEAlgNotAllowed,
    errors.JOSENotSupported,
    errors.JWKSNoMatchingKey,
  ];
  if (aboutToken.some((kind) => error instanceof kind)) {
    return new TokenError((error as Error).message, { cause: error });
  }
  return new KeysUnavailableError("the keys of the server that issues tokens cannot be had for now", { cause: error });
}

/** Fetches keys, and when the server does not answer gives those of the last answer. */
function keepingKeys(from: typeof fetch): (url: string, init: RequestInit) => Promise<Response> {
  let last: { readonly body: string; readonly time: number } | undefined;
  return async (url, init) => {
    try {
      const response = await from(url, init);
      if (response.status !== 200) {
        throw new Error(`${url} answers ${response.status}`);
      }
      const body = await textOf(response);
      JSON.parse(body);
      last = { body, time: Date.now() };
      return new Response(body);
    } catch (error) {
      if (last !== undefined && Date.now() - last.time < maxKeysAge) {
        return new Response(last.body);
      }
      throw error;
    }
  };
}

/** Reads a body up to the limit. */
async function textOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let length = 0;
  let text = "";
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) {
      return text + decoder.decode();
    }
    length += value.length;
    if (length > maxKeysLength) {
      await reader?.cancel();
      throw new Error("the list of keys is too long");
    }
    text += decoder.decode(value, { stream: true });
  }
}

/**
 * Reports whether the caller may do something in a workspace that a request names: the
 * token is for that workspace, and has the permission. To who may not, answer "not found".
 */
export function allows(caller: AccessToken, workspaceId: string, permission: string): boolean {
  return workspaceId !== "" && caller.workspaceId === workspaceId && caller.permissions.includes(permission);
}

/** Which callers a guard lets pass. */
export interface GuardOptions {
  /**
   * The permission that the caller must have in the token's workspace. Default: none. Where
   * a request names a workspace, ask {@link allows} instead.
   */
  readonly permission?: string;
  /** Whether to refuse operators who act in a user's name. Default: false. */
  readonly refuseImpersonation?: boolean;
}

/** Why a guard refuses a caller, in the terms of HTTP (RFC 6750, 3). */
interface Refusal {
  readonly status: 401 | 403 | 503;
  readonly challenge: string;
}

/**
 * Guards a handler of the form of the Fetch API (Bun, Cloudflare Workers, Deno, Hono,
 * Next.js, …): it is called with what the token says. Otherwise the answer is 401, 403
 * for a caller without the permission, or 503 when the keys cannot be had.
 *
 * ```ts
 * export default { fetch: guardFetch(verifier, async (request, caller) => Response.json({ hello: caller.userId })) };
 * ```
 *
 * @param more - what the handler is called with beside the request goes through
 */
export function guardFetch<More extends unknown[]>(
  verifier: TokenVerifier,
  handler: (request: Request, caller: AccessToken, ...more: More) => Response | Promise<Response>,
  options: GuardOptions = {},
): (request: Request, ...more: More) => Promise<Response> {
  return async (request, ...more) => {
    const caller = await admit(verifier, request.headers.get("Authorization"), options);
    if ("status" in caller) {
      return new Response(null, { status: caller.status, headers: headersOf(caller) });
    }
    return handler(request, caller, ...more);
  };
}

/** A request of Node's `http`, as Express and Connect (the middleware) hand it on. */
interface NodeRequest {
  readonly headers: { readonly authorization?: string | undefined };
}

/** A response of Node's `http`. */
interface NodeResponse {
  writeHead(status: number, headers: Record<string, string>): { end(): unknown };
}

const callers = new WeakMap<object, AccessToken>();

/**
 * Guards routes of Express, or of what else takes its middleware; {@link callerOf} then
 * gives what the token says. It answers like {@link guardFetch}.
 *
 * ```ts
 * app.get("/invoices", guardNode(verifier, { permission: "workspace.update" }), (request, response) => {
 *   response.json(invoicesOf(callerOf(request).workspaceId));
 * });
 * ```
 */
export function guardNode(
  verifier: TokenVerifier,
  options: GuardOptions = {},
): (request: NodeRequest, response: NodeResponse, next: (error?: unknown) => void) => void {
  return (request, response, next) => {
    admit(verifier, request.headers.authorization, options).then((caller) => {
      if ("status" in caller) {
        response.writeHead(caller.status, headersOf(caller)).end();
        return;
      }
      callers.set(request, caller);
      next();
    }, next);
  };
}

/** Returns what the token of a request that {@link guardNode} let pass says. It throws for others. */
export function callerOf(request: object): AccessToken {
  const caller = callers.get(request);
  if (caller === undefined) {
    throw new TypeError("no token of this request was verified: is the route behind guardNode?");
  }
  return caller;
}

/** Under which a Connect server's handlers find what the token says. */
export const callerKey: ContextKey<AccessToken | undefined> = createContextKey<AccessToken | undefined>(undefined, {
  description: "the caller's access token",
});

/**
 * Guards the methods of a Connect server (an interceptor of `@connectrpc/connect-node`).
 * They find what the token says in `context.values.get(callerKey)`. A call without a
 * token that is accepted fails with `unauthenticated`, one without the permission with
 * `permission_denied`, and with `unavailable` when the keys cannot be had.
 */
export function guardConnect(verifier: TokenVerifier, options: GuardOptions = {}): Interceptor {
  return (next) => async (request) => {
    const caller = await admit(verifier, request.header.get("Authorization"), options);
    if ("status" in caller) {
      const [text, code] = connectErrors[caller.status];
      throw new ConnectError(text, code, caller.challenge ? { "WWW-Authenticate": caller.challenge } : {});
    }
    request.contextValues.set(callerKey, caller);
    return next(request);
  };
}

const connectErrors: Record<Refusal["status"], [string, Code]> = {
  401: ["this needs a valid access token", Code.Unauthenticated],
  403: ["the access token does not allow this", Code.PermissionDenied],
  503: ["access tokens cannot be verified for now", Code.Unavailable],
};

/** Returns the caller, or why they are refused. */
async function admit(verifier: TokenVerifier, authorization: string | null | undefined, options: GuardOptions): Promise<AccessToken | Refusal> {
  let caller: AccessToken;
  try {
    caller = await verifier.verifyHeader(authorization);
  } catch (error) {
    if (error instanceof TokenError) {
      return { status: 401, challenge: authorization ? 'Bearer error="invalid_token"' : "Bearer" };
    }
    if (error instanceof KeysUnavailableError) {
      return { status: 503, challenge: "" };
    }
    throw error;
  }
  if (options.permission !== undefined && !allows(caller, caller.workspaceId ?? "", options.permission)) {
    return { status: 403, challenge: 'Bearer error="insufficient_scope"' };
  }
  if (options.refuseImpersonation && caller.impersonatorUserId !== undefined) {
    return { status: 403, challenge: "" };
  }
  return caller;
}

function headersOf({ status, challenge }: Refusal): Record<string, string> {
  return {
    "Cache-Control": "no-store",
    ...(challenge === "" ? {} : { "WWW-Authenticate": challenge }),
    ...(status === 503 ? { "Retry-After": "5" } : {}),
  };
}
