import { PasskeyError } from "@client/passkeys";
import { texts } from "./texts";

/** What a person reads when the browser or they themselves refused; undefined for other failures. */
export function passkeyTextOf(error: unknown): string | undefined {
  return error instanceof PasskeyError ? texts.passkeys[error.reason] : undefined;
}
