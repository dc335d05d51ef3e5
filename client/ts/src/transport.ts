import { clone, ScalarType, type Message } from "@bufbuild/protobuf";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { SessionTransport, SessionTransportSchema } from "./api.js";
import { repeating } from "./retry.js";
import type { RefreshOptions } from "./token-source.js";

/** How to reach a server, and how the caller's session travels. */
export type ManagerOptions = CookieOptions | TokenOptions | TransportOptions;

/**
 * For browsers: the session travels in a cookie that the server sets and that no
 * script can read. Methods that begin a session ask for the cookie unless the call
 * says otherwise, so that no token is in an answer.
 *
 * A page of another origin than the server must be of the same site and stand on the
 * server's list (its setting `allowed-origins`). The cookie needs HTTPS, or localhost.
 */
export interface CookieOptions {
  /** Where the server is, for example `https://accounts.example.com`. */
  baseUrl: string;
  credentials: "cookie";
  /** How often a call that is safe to repeat is sent at most, as {@link repeating} does it. Default: 4. */
  attempts?: number;
  sessionToken?: never;
  deviceToken?: never;
  refresh?: never;
  transport?: never;
}

/** The session's token travels in a header. Cookies are neither sent nor stored. */
export interface TokenOptions {
  /** Where the server is, for example `http://localhost:8080`. */
  baseUrl: string;
  /** The token, or an API key. Default: none, which suffices for the public methods. */
  sessionToken?: SessionToken;
  /** For the client of one person, such as a native app: where to keep the device's token. */
  deviceToken?: DeviceToken;
  /**
   * Gives access tokens by a refresh token, for services of one's own: `accessTokens` of
   * the manager. The server's own API takes the `sessionToken`.
   */
  refresh?: RefreshOptions;
  /** How often a call that is safe to repeat is sent at most, as {@link repeating} does it. Default: 4. */
  attempts?: number;
  credentials?: never;
  transport?: never;
}

/**
 * Keeps the token by which the server knows the device again from which a person signed
 * in. It signs nobody in: a device that is known is not held up when others try out
 * passwords of the account, and its sign-ins are not told by mail as those of a new one.
 */
export interface DeviceToken {
  /** Returns the token that was kept last. */
  read(): string | undefined;
  /** Keeps the token of a sign-in. */
  write(token: string): void;
}

/**
 * A transport of one's own: a test's, or gRPC by `@connectrpc/connect-node`. It is used
 * as it is: give it {@link bearer} and {@link repeating} as interceptors, and
 * {@link knownDevice} for the client of one person.
 */
export interface TransportOptions {
  transport: Transport;
  baseUrl?: never;
  credentials?: never;
  sessionToken?: never;
  deviceToken?: never;
  refresh?: never;
  attempts?: never;
}

/** A session's token or an API key, or a function that returns the present one before each call. */
export type SessionToken = string | (() => string | undefined);

/**
 * An interceptor that sends the token, when there is one, as `Authorization: Bearer`.
 * A call that has that header already keeps its own.
 */
export function bearer(token: SessionToken): Interceptor {
  return (next) => (request) => {
    const present = typeof token === "function" ? token() : token;
    if (present && !request.header.has("Authorization")) {
      request.header.set("Authorization", `Bearer ${present}`);
    }
    return next(request);
  };
}

/** An interceptor that sends the device's token, and keeps what a sign-in answers with. */
export function knownDevice(token: DeviceToken): Interceptor {
  return (next) => async (request) => {
    const present = token.read();
    if (present) {
      request.header.set(deviceHeader, present);
    }
    const response = await next(request);
    const given = response.header.get(deviceHeader);
    if (given) {
      token.write(given);
    }
    return response;
  };
}

const deviceHeader = "Device-Token";

/**
 * Returns the transport by which `createManager` calls with these options. A page that
 * needs few services makes their clients by itself, and does not load the others:
 *
 * ```ts
 * const transport = transportOf({ baseUrl: "https://accounts.example.com", credentials: "cookie" });
 * const authentication = createClient(AuthenticationService, transport);
 * ```
 */
export function transportOf(options: ManagerOptions): Transport {
  if (options.transport) {
    return options.transport;
  }
  if (options.credentials === "cookie") {
    return createConnectTransport({
      baseUrl: options.baseUrl,
      fetch: fetchWith("include"),
      interceptors: [askForCookie, repeating(options.attempts)],
    });
  }
  return createConnectTransport({
    baseUrl: options.baseUrl,
    fetch: fetchWith("omit"),
    interceptors: [
      ...(options.sessionToken ? [bearer(options.sessionToken)] : []),
      ...(options.deviceToken ? [knownDevice(options.deviceToken)] : []),
      repeating(options.attempts),
    ],
  });
}

function fetchWith(credentials: RequestCredentials): typeof fetch {
  return (input, init) => fetch(input, { ...init, credentials });
}

/** Sets the request's `session_transport`, or `session_cookie`, if its message has one that is not set. */
const askForCookie: Interceptor = (next) => (request) => {
  const { sessionTransport, sessionCookie } = request.method.input.field;
  const asked = sessionTransport?.enum?.typeName === SessionTransportSchema.typeName;
  if (request.stream || !(asked || sessionCookie?.scalar === ScalarType.BOOL)) {
    return next(request);
  }
  const message = clone(request.method.input, request.message) as Message & Partial<SessionFields>;
  if (asked) {
    message.sessionTransport ||= SessionTransport.COOKIE;
  } else {
    message.sessionCookie = true;
  }
  return next({ ...request, message });
};

interface SessionFields {
  sessionTransport: SessionTransport;
  sessionCookie: boolean;
}
