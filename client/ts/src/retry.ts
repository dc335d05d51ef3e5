import { clone, type DescMethod, type Message } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { errorInfoOf, isReason, retryAfterSeconds } from "./errors.js";

/** How many milliseconds to wait after the first try; after each further one twice as long. */
const firstPause = 100;
const longestPause = 2_000;
/** A server that asks for more patience than this is not asked again. */
const longestWait = 5_000;
/** Whose answer holds a secret the first time alone: the caller is to know that it was lost. */
const createsKey = "logicspike.auth.v1.CreateApiKeyRequest";

/**
 * An interceptor that repeats calls that are safe to repeat: those without side effects,
 * and those whose request has a `requestId`, which gets a new one when it has none and
 * thus takes effect once however often it is sent. `createApiKey` is repeated with a
 * `requestId` of yours alone, since only its first answer holds the key: when that is
 * lost, the `token` of a later one is empty. `createManager` has it already; give it to a
 * transport of your own.
 *
 * Such a call is sent again when it fails with `unavailable` or for the reason
 * `OVERLOADED`, and when no answer came, after a pause that grows from 0.1 to 2 seconds,
 * or that the server asks for. It is not when that is more than 5 seconds, nor when the
 * call was aborted.
 *
 * @param attempts - how often a call is sent at most
 */
export function repeating(attempts = 4): Interceptor {
  return (next) => async (request) => {
    if (request.stream || attempts <= 1) {
      return next(request);
    }
    const message = repeatable(request.method, request.message);
    if (message === undefined) {
      return next(request);
    }
    for (let tried = 1; ; tried++) {
      try {
        return await next({ ...request, message });
      } catch (error) {
        if (tried >= attempts || !isPassing(error) || !(await rest(pauseAfter(tried, error), request.signal))) {
          throw error;
        }
      }
    }
  };
}

/** Returns the message to send as often as needed, and undefined if that is not safe. */
function repeatable(method: DescMethod, message: Message): Message | undefined {
  if (method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) {
    return message;
  }
  if (method.input.field["requestId"] === undefined) {
    return undefined;
  }
  if ((message as Message & WithRequestId).requestId !== "") {
    return message;
  }
  if (method.input.typeName === createsKey) {
    return undefined;
  }
  // Browsers have it on pages of HTTPS and of localhost alone.
  const requestId = crypto.randomUUID?.();
  return requestId && Object.assign(clone(method.input, message), { requestId });
}

interface WithRequestId {
  requestId: string;
}

/** Reports whether the server cannot serve the call now, or its answer was lost. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof ConnectError)) {
    return error instanceof TypeError || error instanceof SyntaxError; // of fetch; half of an answer
  }
  if (errorInfoOf(error) !== undefined) {
    return error.code === Code.Unavailable || isReason(error, "OVERLOADED");
  }
  return [Code.Unavailable, Code.Unknown, Code.DeadlineExceeded].includes(error.code);
}

/** How many milliseconds to wait: no less than the server told, and each client a little differently. */
function pauseAfter(tried: number, error: unknown): number {
  const backoff = Math.min(firstPause * 2 ** (tried - 1), longestPause);
  return Math.max((retryAfterSeconds(error) ?? 0) * 1000, backoff / 2) + (Math.random() * backoff) / 2;
}

/** Waits, and reports whether there may be another try. */
function rest(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  if (milliseconds > longestWait || signal.aborted) {
    return Promise.resolve(false);
  }
  return new Promise((resolve) => {
    const end = (more: boolean) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      resolve(more);
    };
    const stop = () => end(false);
    const timer = setTimeout(end, milliseconds, true);
    signal.addEventListener("abort", stop);
  });
}
