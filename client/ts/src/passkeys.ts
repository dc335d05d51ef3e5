/**
 * Passkeys in a browser: what lies between the methods of `manager.passkeys` and
 * `navigator.credentials` (WebAuthn Level 3).
 *
 * A call is rejected with a {@link PasskeyError} when it is the browser or the person
 * that refuses, and with a `ConnectError`, of which `reasonOf` tells more, when it is
 * the server.
 *
 * A browser does one of these at a time. One that begins ends a sign-in by autofill that
 * waits.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  PasskeyAssertionSchema,
  ReauthenticateResponse,
  RegisterPasskeyResponse,
  SessionTransport,
  SignInWithPasskeyResponse,
  VerifySecondFactorResponse,
} from "./api.js";
import type { Manager } from "./manager.js";

/**
 * Why a browser gave no passkey:
 *
 * - `UNSUPPORTED`: it has no passkeys, or the page did not come by https (or from localhost);
 * - `CANCELLED`: the person declined, had no passkey that fits, or took too long: browsers
 *   do not tell which;
 * - `ALREADY_REGISTERED`: this device has a passkey of the account already;
 * - `ABORTED`: the signal that was given, or another of these calls, ended it;
 * - `ORIGIN`: the page's origin is not of the site that the server's
 *   passkeys are for;
 * - `FAILED`: anything else; `cause` is what the browser said.
 */
export type PasskeyErrorReason = "UNSUPPORTED" | "CANCELLED" | "ALREADY_REGISTERED" | "ABORTED" | "ORIGIN" | "FAILED";

/** The browser gave no passkey. */
export class PasskeyError extends Error {
  override readonly name = "PasskeyError";

  constructor(
    /** Why. */
    readonly reason: PasskeyErrorReason,
    options?: ErrorOptions,
  ) {
    super(messages[reason], options);
  }
}

const messages: Record<PasskeyErrorReason, string> = {
  UNSUPPORTED: "this browser has no passkeys here",
  CANCELLED: "no passkey was chosen",
  ALREADY_REGISTERED: "this device has a passkey of the account already",
  ABORTED: "the request for a passkey was ended",
  ORIGIN: "this page may not use passkeys of the server",
  FAILED: "the browser could not use the passkey",
};

/** Ends a call that waits. */
export interface PasskeyOptions {
  /** When it is aborted, the call is rejected with the reason `ABORTED`. */
  readonly signal?: AbortSignal;
}

/** How to register a passkey. */
export interface RegisterOptions extends PasskeyOptions {
  /** What its owner will call it. Default: "Passkey". */
  readonly displayName?: string;
}

/** How to sign in. */
export interface SignInOptions extends PasskeyOptions {
  /**
   * How the session's token travels. Default: as the manager was made: in a cookie with
   * `credentials: "cookie"`, else in the answer.
   */
  readonly transport?: SessionTransport;
  /**
   * Whether to wait until the person picks a passkey in the autofill of a field that has
   * `autocomplete="username webauthn"`, without a window. Begin it when the page with the
   * field is shown, and only if {@link isAutofillSupported}. Default: false.
   */
  readonly autofill?: boolean;
}

/** Reports whether this browser, on this page, can use passkeys. */
export function isSupported(): boolean {
  return typeof PublicKeyCredential === "function" && typeof navigator === "object" && "credentials" in navigator;
}

/** Reports whether this device itself can hold passkeys (Touch ID, Windows Hello, …). */
export async function isDeviceSupported(): Promise<boolean> {
  return isSupported() && (await PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable().catch(() => false));
}

/** Reports whether {@link signIn} can wait in the autofill of a field. */
export async function isAutofillSupported(): Promise<boolean> {
  return isSupported() && ((await PublicKeyCredential.isConditionalMediationAvailable?.().catch(() => false)) ?? false);
}

/**
 * Registers a passkey of the caller, who must have signed in or reauthenticated recently.
 * With the first second factor of the account the answer holds its recovery codes: show
 * them, they are told this once.
 */
export async function register(manager: Pick<Manager, "passkeys">, options: RegisterOptions = {}): Promise<RegisterPasskeyResponse> {
  requireSupport();
  const { challengeId, optionsJson } = await abortable(options.signal, (call) => manager.passkeys.startPasskeyRegistration({}, call));
  const publicKey = creationOptions(optionsJson);
  const credential = await alone(options.signal, (signal) => navigator.credentials.create({ publicKey, signal }));
  return manager.passkeys.registerPasskey({
    challengeId,
    credentialJson: serialize(credential),
    displayName: options.displayName ?? "",
  });
}

/**
 * Signs in by a passkey, without a user name. The session owes no second factor.
 *
 * The caller must have no session: sign out first, and in one that still owes its second
 * factor call {@link verifySecondFactor}.
 *
 * ```ts
 * // On a page that also asks for address and password:
 * const leaving = new AbortController();
 * if (await passkeys.isAutofillSupported()) {
 *   passkeys.signIn(manager, { autofill: true, signal: leaving.signal }).then(showAccount, showUnlessAborted);
 * }
 * ```
 */
export async function signIn(manager: Pick<Manager, "passkeys">, options: SignInOptions = {}): Promise<SignInWithPasskeyResponse> {
  const passkey = options.autofill ? await assertByAutofill(manager, options.signal) : await assert(manager, options);
  return manager.passkeys.signInWithPasskey(options.transport === undefined ? { passkey } : { passkey, sessionTransport: options.transport });
}

/** Gives the session the second factor that it owes. It goes on under the answer's token. */
export async function verifySecondFactor(
  manager: Pick<Manager, "passkeys" | "secondFactors">,
  options: PasskeyOptions = {},
): Promise<VerifySecondFactorResponse> {
  const passkey = await assert(manager, options);
  return manager.secondFactors.verifySecondFactor({ proof: { case: "passkey", value: passkey } });
}

/** Proves again who the caller is. The session goes on under the answer's token. */
export async function reauthenticate(
  manager: Pick<Manager, "passkeys" | "authentication">,
  options: PasskeyOptions = {},
): Promise<ReauthenticateResponse> {
  return manager.authentication.reauthenticate({ passkey: await assert(manager, options) });
}

/** Lets the person answer a challenge of the server, and returns what its methods take. */
export async function assert(
  manager: Pick<Manager, "passkeys">,
  options: PasskeyOptions = {},
): Promise<MessageInitShape<typeof PasskeyAssertionSchema>> {
  requireSupport();
  const { challengeId, optionsJson } = await abortable(options.signal, (call) => manager.passkeys.startPasskeyAssertion({}, call));
  const publicKey = requestOptions(optionsJson);
  const credential = await alone(options.signal, (signal) => navigator.credentials.get({ publicKey, signal }));
  return { challengeId, credentialJson: serialize(credential) };
}

/** For how long a challenge waits in a field before it is replaced; the server's last 5 minutes. */
const autofillRenewal = 4 * 60_000;

/** Waits in the autofill, with a new challenge whenever one grows old. */
async function assertByAutofill(
  manager: Pick<Manager, "passkeys">,
  signal: AbortSignal | undefined,
): Promise<MessageInitShape<typeof PasskeyAssertionSchema>> {
  requireSupport();
  throwIfAborted(signal);
  const ended = new AbortController();
  const stop = () => ended.abort();
  signal?.addEventListener("abort", stop);
  waiting?.abort();
  waiting = ended;
  try {
    for (;;) {
      const { challengeId, optionsJson } = await abortable(ended.signal, (call) => manager.passkeys.startPasskeyAssertion({}, call));
      const publicKey = requestOptions(optionsJson);
      const grownOld = new AbortController();
      const timer = setTimeout(() => grownOld.abort(), autofillRenewal);
      const both = () => grownOld.abort();
      ended.signal.addEventListener("abort", both);
      try {
        const credential = await navigator.credentials.get({ publicKey, mediation: "conditional", signal: grownOld.signal });
        return { challengeId, credentialJson: serialize(credential) };
      } catch (error) {
        if (!grownOld.signal.aborted || ended.signal.aborted) {
          throw toPasskeyError(error, ended.signal);
        }
      } finally {
        clearTimeout(timer);
        ended.signal.removeEventListener("abort", both);
      }
      await shown(ended.signal); // A page that nobody looks at asks for nothing.
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    if (waiting === ended) {
      waiting = undefined;
    }
  }
}

/** What ends the sign-in that waits in the autofill. */
let waiting: AbortController | undefined;

/** Asks the browser for a passkey, after the end of a sign-in that waits in the autofill. */
async function alone(signal: AbortSignal | undefined, ask: (signal: AbortSignal) => Promise<Credential | null>): Promise<Credential | null> {
  throwIfAborted(signal);
  waiting?.abort();
  try {
    return await ask(signal ?? new AbortController().signal);
  } catch (error) {
    throw toPasskeyError(error, signal);
  }
}

/** Resolves when the page is shown, or at the signal. */
function shown(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (signal.aborted || document.visibilityState === "visible") {
        document.removeEventListener("visibilitychange", check);
        signal.removeEventListener("abort", check);
        resolve();
      }
    };
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check);
    check();
  });
}

function requireSupport(): void {
  if (!isSupported()) {
    throw new PasskeyError("UNSUPPORTED");
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new PasskeyError("ABORTED", { cause: signal.reason });
  }
}

/** Makes a call that the signal ends. */
async function abortable<T>(signal: AbortSignal | undefined, call: (options: { signal?: AbortSignal }) => Promise<T>): Promise<T> {
  throwIfAborted(signal);
  try {
    return await call(signal ? { signal } : {});
  } finally {
    throwIfAborted(signal);
  }
}

/** Sorts what browsers throw (WebAuthn Level 3, 5.1.3 and 5.1.4). */
function toPasskeyError(error: unknown, signal?: AbortSignal): PasskeyError {
  const options = { cause: error };
  if (signal?.aborted) {
    return new PasskeyError("ABORTED", options);
  }
  switch (error instanceof Error ? error.name : "") {
    case "AbortError":
      return new PasskeyError("ABORTED", options);
    case "NotAllowedError":
      return new PasskeyError("CANCELLED", options);
    case "InvalidStateError":
      return new PasskeyError("ALREADY_REGISTERED", options);
    case "SecurityError":
      return new PasskeyError("ORIGIN", options);
    case "NotSupportedError":
      return new PasskeyError("UNSUPPORTED", options);
  }
  return new PasskeyError("FAILED", options);
}

/** Reads PublicKeyCredentialCreationOptionsJSON, also in browsers that cannot. */
function creationOptions(json: string): PublicKeyCredentialCreationOptions {
  const options = JSON.parse(json) as PublicKeyCredentialCreationOptionsJSON;
  if (typeof PublicKeyCredential.parseCreationOptionsFromJSON === "function") {
    return PublicKeyCredential.parseCreationOptionsFromJSON(options);
  }
  const { extensions: _, ...rest } = options;
  return {
    ...(rest as object as PublicKeyCredentialCreationOptions),
    challenge: decode(options.challenge),
    user: { ...options.user, id: decode(options.user.id) },
    excludeCredentials: (options.excludeCredentials ?? []).map(descriptor),
  };
}

/** Reads PublicKeyCredentialRequestOptionsJSON, also in browsers that cannot. */
function requestOptions(json: string): PublicKeyCredentialRequestOptions {
  const options = JSON.parse(json) as PublicKeyCredentialRequestOptionsJSON;
  if (typeof PublicKeyCredential.parseRequestOptionsFromJSON === "function") {
    return PublicKeyCredential.parseRequestOptionsFromJSON(options);
  }
  const { extensions: _, ...rest } = options;
  return {
    ...(rest as object as PublicKeyCredentialRequestOptions),
    challenge: decode(options.challenge),
    allowCredentials: (options.allowCredentials ?? []).map(descriptor),
  };
}

function descriptor({ id, type, transports }: PublicKeyCredentialDescriptorJSON): PublicKeyCredentialDescriptor {
  return {
    id: decode(id),
    type: type as PublicKeyCredentialType,
    ...(transports ? { transports: transports as AuthenticatorTransport[] } : {}),
  };
}

/** Writes RegistrationResponseJSON or AuthenticationResponseJSON, also for browsers that cannot. */
function serialize(credential: Credential | null): string {
  if (credential === null || credential.type !== "public-key") {
    throw new PasskeyError("CANCELLED");
  }
  const given = credential as PublicKeyCredential;
  if (typeof given.toJSON === "function") {
    try {
      return JSON.stringify(given.toJSON());
    } catch {
      // Some extensions of browsers put a credential of their own there, which cannot.
    }
  }
  const response = given.response as AuthenticatorResponse & Partial<AuthenticatorAttestationResponse & AuthenticatorAssertionResponse>;
  return JSON.stringify({
    id: given.id,
    rawId: encode(given.rawId),
    type: given.type,
    authenticatorAttachment: given.authenticatorAttachment ?? undefined,
    clientExtensionResults: {},
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      ...(response.attestationObject
        ? { attestationObject: encode(response.attestationObject), transports: response.getTransports?.() ?? [] }
        : {
            authenticatorData: encode(response.authenticatorData!),
            signature: encode(response.signature!),
            userHandle: response.userHandle ? encode(response.userHandle) : undefined,
          }),
    },
  });
}

/** base64url without padding (RFC 4648, 5). */
function encode(bytes: ArrayBuffer): string {
  const text = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function decode(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
}
