import { Code, ConnectError } from "@connectrpc/connect";
import { errorInfoOf, reasonOf, retryAfterSeconds, violationsOf } from "@client/errors";
import { soon } from "./components/time";
import { passkeyTextOf } from "./passkey-errors";
import { fill, texts } from "./texts";

export { isReason, reasonOf, type ReasonName } from "@client/errors";

const further: Partial<Record<string, string>> = {};

/** Adds texts by reason which only some pages need. */
export function addReasons(reasons: Record<string, string>): void {
  Object.assign(further, reasons);
}

/** What a person reads about a failed call: by its reason where the catalogue has a text for it. */
export function textOf(error: unknown): string {
  const passkey = passkeyTextOf(error);
  if (passkey !== undefined) {
    return passkey;
  }
  const reason = reasonOf(error);
  const known = reason === undefined ? undefined : (further[reason] ?? (texts.reasons as Partial<Record<string, string>>)[reason]);
  if (known !== undefined) {
    return fill(known, { ...errorInfoOf(error)?.metadata, time: soon(Math.ceil(retryAfterSeconds(error) ?? 60)) });
  }
  const failure = ConnectError.from(error);
  switch (failure.code) {
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.Unknown:
      return navigator.onLine ? texts.common.unavailable : texts.common.offline;
    case Code.Internal:
      return texts.common.failed;
    default:
      return sentence(failure.rawMessage);
  }
}

/** What is wrong with the fields of a request, by their names in TypeScript. */
export function fieldErrorsOf(error: unknown): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { field, description } of violationsOf(error)) {
    const name = field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    found[name] ??= (reasonOf(error) === "FIELD_INVALID" ? undefined : textOf(error)) ?? sentence(description);
  }
  return found;
}

/** What a server or a rule says of a thing that it does not name, as a sentence. */
export function sentence(text: string): string {
  const whole = text.replace(/^(?=(is|holds|has) )/, "this ");
  return whole === "" ? texts.common.failed : whole.charAt(0).toUpperCase() + whole.slice(1) + (/[.!?]$/.test(whole) ? "" : ".");
}
