// Passkeys (WebAuthn Level 3).
import { call } from "./call.js";

/** Reports whether this browser has passkeys here. */
export function canUsePasskeys() {
  return typeof PublicKeyCredential === "function" && Boolean(navigator.credentials);
}

/**
 * Lets the person answer a challenge by a passkey. It returns what the API takes for it, or
 * null when they did not, and throws a Failure.
 */
export async function usePasskey() {
  const { challengeId, optionsJson } = await call("auth.v1.PasskeyService/StartPasskeyAssertion", {});
  const publicKey = read(JSON.parse(optionsJson));
  const credential = await navigator.credentials.get({ publicKey }).catch(() => null);
  return credential && { challengeId, credentialJson: JSON.stringify(write(credential)) };
}

/** Reads PublicKeyCredentialRequestOptionsJSON, which older browsers cannot. */
function read(options) {
  if (PublicKeyCredential.parseRequestOptionsFromJSON) {
    return PublicKeyCredential.parseRequestOptionsFromJSON(options);
  }
  const { challenge, allowCredentials = [], extensions, ...rest } = options;
  return {
    ...rest,
    challenge: decode(challenge),
    allowCredentials: allowCredentials.map((credential) => ({ ...credential, id: decode(credential.id) })),
  };
}

/** Returns AuthenticationResponseJSON, which older browsers, and some extensions, cannot. */
function write(credential) {
  try {
    return credential.toJSON();
  } catch {
    const parts = ["clientDataJSON", "authenticatorData", "signature", "userHandle"].filter((name) => credential.response[name]);
    return {
      id: credential.id,
      rawId: encode(credential.rawId),
      type: credential.type,
      clientExtensionResults: {},
      response: Object.fromEntries(parts.map((name) => [name, encode(credential.response[name])])),
    };
  }
}

/** base64url without padding. */
function encode(buffer) {
  const text = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function decode(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
}
