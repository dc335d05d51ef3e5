import { Code, ConnectError } from "@connectrpc/connect";
import { decodeJwt } from "jose";
import { errorInfoOf, reasonOf, retryAfterSeconds } from "./errors.js";
import type { Manager } from "./manager.js";

/** Gives access tokens, a new one when the last one is about to expire. */
export interface TokenSource {
  /**
   * Returns an access token that is valid for a while yet. Calls at the same time share
   * one request. It is rejected with the `ConnectError` of a request that failed.
   */
  accessToken(): Promise<string>;
  /**
   * Lets the next call ask for a new token, for example when a service refused the last
   * one; given a token, only if that is the last one.
   */
  expire(token?: string): void;
}

/** For which service and workspace access tokens are to be. */
export interface TokenSourceOptions {
  /** The service, one of the server's setting `token-audiences`. Default: the first of them. */
  readonly audience?: string;
  /** The workspace, `wsp_…`. Default: none. */
  readonly workspaceId?: string;
}

/** How to keep a refresh token. */
export interface RefreshOptions {
  /** The refresh token to begin with: from `createRefreshToken`, or the one stored last. */
  readonly refreshToken: string;
  /**
   * Stores the next refresh token, whenever one takes the place of the one before, which
   * must not be used any more. No access token is given out until it is stored; when that
   * fails, the call fails, and the next one stores it first.
   */
  readonly store: (refreshToken: string) => void | Promise<void>;
}

/** Gives access tokens by a refresh token. */
export interface RefreshingTokenSource extends TokenSource {
  /**
   * Ends the refresh token, with all tokens that came of it. A refresh that is under way is
   * waited for; once this has ended no access token is given out any more.
   */
  revoke(): Promise<void>;
}

/** How many seconds before its end a token is not given out any more. */
const margin = 30;
/** After how many milliseconds to try again when an answer is lost. */
const pauses = [250, 1_000, 3_000, 6_000];
/** For how many milliseconds to do so: less than the 30 seconds that a used refresh token still works. */
const patience = 27_000;
/** How many milliseconds to wait for an answer. */
const timeout = 4_000;
/** For how many milliseconds a token is not replaced again: the next one would be refused for the same reason. */
const leastAge = 10_000;

/**
 * Makes a source of access tokens for who has a session: a browser's, or a client's with
 * the session's token.
 */
export function createTokenSource(manager: Pick<Manager, "tokens">, options: TokenSourceOptions = {}): TokenSource {
  return caching(async () => {
    const { audience = "", workspaceId = "" } = options;
    return (await manager.tokens.createAccessToken({ audience, workspaceId })).accessToken;
  });
}

/**
 * Makes a source of access tokens for a native or server client that keeps a refresh
 * token. Use one source for one refresh token: each token can be used once, and a second
 * use later ends the whole chain.
 *
 * When an answer is lost it asks again by the same refresh token, which the server allows
 * for 30 seconds. Once it is rejected for the reason `TOKEN_INVALID` the chain has ended:
 * sign in again.
 *
 * ```ts
 * const source = createRefreshingTokenSource(manager, { refreshToken: await keychain.read(), store: keychain.write });
 * await fetch(url, { headers: { Authorization: `Bearer ${await source.accessToken()}` } });
 * ```
 */
export function createRefreshingTokenSource(manager: Pick<Manager, "tokens">, options: RefreshOptions): RefreshingTokenSource {
  let refreshToken = options.refreshToken;
  let stored = true;
  let ended: unknown;
  let revoking: Promise<void> | undefined;

  const store = async () => {
    await options.store(refreshToken);
    stored = true;
  };
  const source = caching(async () => {
    if (ended !== undefined) {
      throw ended;
    }
    if (!stored) {
      await store();
    }
    try {
      const answer = await persist(() => manager.tokens.refreshAccessToken({ refreshToken }, { timeoutMs: timeout }));
      refreshToken = answer.refreshToken;
      stored = false;
      await store();
      return answer.accessToken;
    } catch (error) {
      if (reasonOf(error) === "TOKEN_INVALID") {
        ended = error;
      }
      throw error;
    }
  });
  return {
    accessToken: () => (revoking === undefined ? source.accessToken() : Promise.allSettled([revoking]).then(source.accessToken)),
    expire: source.expire,
    revoke() {
      revoking = (async () => {
        await source.settled(); // or what a refresh under way gets would outlive this
        source.expire();
        await manager.tokens.revokeToken({ token: refreshToken });
      })();
      return revoking;
    },
  };
}

/**
 * Returns a `fetch` that sends an access token with each request. Of a request that the
 * service refuses by 401 another try is made with a new token. For a service of Connect,
 * give it to the transport:
 *
 * ```ts
 * const transport = createConnectTransport({ baseUrl: "https://api.example.com", fetch: authorizedFetch(source) });
 * ```
 *
 * Whatever it is called with gets the token: call nothing by it but your services.
 *
 * @param send - sends the requests. Default: the global `fetch`.
 */
export function authorizedFetch(source: TokenSource, send: typeof fetch = (input, init) => fetch(input, init)): typeof fetch {
  let replaced = -Infinity;
  return async (input, init) => {
    const again = input instanceof Request ? input.clone() : input;
    const withToken = (to: typeof input, token: string) => {
      const headers = new Headers(init?.headers ?? (to instanceof Request ? to.headers : undefined));
      headers.set("Authorization", `Bearer ${token}`);
      return send(to, { ...init, headers });
    };
    const token = await source.accessToken();
    const response = await withToken(input, token);
    if (response.status !== 401 || init?.body instanceof ReadableStream) {
      return response;
    }
    if (Date.now() - replaced > leastAge) {
      replaced = Date.now();
      source.expire(token);
    }
    const next = await source.accessToken().catch(() => token);
    if (next === token) {
      return response;
    }
    await response.body?.cancel();
    return withToken(again, next);
  };
}

/** Keeps a token until it is about to expire, and asks for one at a time. */
function caching(issue: () => Promise<string>): TokenSource & { settled(): Promise<unknown> } {
  let token: string | undefined;
  let until = 0;
  let running: Promise<string> | undefined;

  const renew = async () => {
    // The clock of this machine need not be right: what counts is how long the token lives.
    const asked = Date.now();
    const issued = await issue();
    const { iat = 0, exp = 0 } = decodeJwt(issued);
    const lifetime = exp - iat;
    token = issued;
    until = asked + Math.max(lifetime - margin, lifetime / 2) * 1000;
    return issued;
  };
  return {
    accessToken() {
      if (token !== undefined && Date.now() < until) {
        return Promise.resolve(token);
      }
      running ??= renew().finally(() => (running = undefined));
      return running;
    },
    expire(which = token) {
      if (which === token) {
        token = undefined;
      }
    },
    /** Waits for the request that is under way, however it ends. */
    settled: () => Promise.allSettled([running]),
  };
}

/** Repeats a request whose answer was lost. */
async function persist<T>(request: () => Promise<T>): Promise<T> {
  const begun = Date.now();
  for (const pause of pauses) {
    try {
      return await request();
    } catch (error) {
      const wait = Math.max(pause, (retryAfterSeconds(error) ?? 0) * 1000);
      if (!mayHaveBeenLost(error) || Date.now() + wait - begun > patience) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
  return request();
}

/** Reports whether the server may have done what it was asked for, or may do it soon. */
function mayHaveBeenLost(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  if (errorInfoOf(error) !== undefined) {
    return code === Code.Unavailable || code === Code.Internal;
  }
  return [Code.Unknown, Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.Internal].includes(code);
}
