import { ConnectError } from "@connectrpc/connect";
import { Reason } from "./api.js";
import { decodeBadRequest, decodeErrorInfo, decodeRetryInfo, type ErrorInfo, type FieldViolation } from "./details.js";

export type { ErrorInfo, FieldViolation } from "./details.js";

/** The name of a reason, for example `"CREDENTIALS_INVALID"`. */
export type ReasonName = Exclude<keyof typeof Reason, "UNSPECIFIED">;

/** The domain of the reasons that this API gives. */
const domain = "manager.logicspike";

/**
 * Returns why a call failed, given what was caught.
 *
 * It is undefined when the server gave no reason (the network failed, the call was
 * aborted, it is no error of a call), and when the server is newer than this package
 * and gave one that it does not know: then go by the error's code alone.
 */
export function reasonOf(error: unknown): ReasonName | undefined {
  const reason = errorInfoOf(error)?.reason;
  return reason !== undefined && isReasonName(reason) ? reason : undefined;
}

/**
 * Reports whether a call failed for this reason.
 *
 * ```ts
 * if (isReason(error, "REAUTHENTICATION_REQUIRED")) { ... }
 * ```
 */
export function isReason(error: unknown, reason: ReasonName): boolean {
  return reasonOf(error) === reason;
}

/**
 * Returns what the server says to programs of why a call failed: the reason, also one
 * that this package does not know, and what belongs to it, such as the `request_id` of
 * an INTERNAL error. It is undefined when the server said nothing.
 */
export function errorInfoOf(error: unknown): ErrorInfo | undefined {
  return detailsOf(error, "google.rpc.ErrorInfo", decodeErrorInfo).find((info) => info.domain === domain);
}

/**
 * Returns which fields of the request are wrong, and why; for FIELD_INVALID and the
 * other reasons that concern fields. Otherwise the list is empty.
 */
export function violationsOf(error: unknown): FieldViolation[] {
  return detailsOf(error, "google.rpc.BadRequest", decodeBadRequest).flat();
}

/**
 * Returns in how many seconds, perhaps a fraction, a call may be tried again; for
 * RATE_LIMITED, OVERLOADED, UNAVAILABLE and CAPTCHA_UNAVAILABLE. It is undefined when the
 * server did not say.
 */
export function retryAfterSeconds(error: unknown): number | undefined {
  const [told] = detailsOf(error, "google.rpc.RetryInfo", decodeRetryInfo);
  if (told !== undefined || !(error instanceof ConnectError)) {
    return told;
  }
  const header = error.metadata.get("Retry-After");
  return header !== null && /^[0-9]{1,9}$/.test(header) ? Number(header) : undefined;
}

function isReasonName(name: string): name is ReasonName {
  return name !== "UNSPECIFIED" && Object.hasOwn(Reason, name) && !/^[0-9]/.test(name);
}

/** Decodes the details of one type that came with an error. Broken ones are left out. */
function detailsOf<T>(error: unknown, type: string, decode: (value: Uint8Array) => T | undefined): T[] {
  if (!(error instanceof ConnectError)) {
    return [];
  }
  return error.details.flatMap((detail) => {
    if (!("type" in detail) || detail.type !== type) {
      return [];
    }
    try {
      return decode(detail.value) ?? [];
    } catch {
      return [];
    }
  });
}
