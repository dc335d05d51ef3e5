/**
 * Client of LogicSpike Manager, for browsers and Node.
 *
 * {@link createManager} makes clients of all services; the functions of errors say
 * why a call failed. The messages, enums and services of the API are exported too:
 * their comments say what each method does and how it fails.
 *
 * @packageDocumentation
 */
export { Code, ConnectError, createClient } from "@connectrpc/connect";
export * from "./api.js";
export * from "./errors.js";
export * from "./manager.js";
export * as passkeys from "./passkeys.js";
export { repeating } from "./retry.js";
export type { RefreshingTokenSource, RefreshOptions, TokenSource } from "./token-source.js";
export { bearer, knownDevice, transportOf, type DeviceToken, type SessionToken } from "./transport.js";
