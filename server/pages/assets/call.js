// Calls of the API: Connect's unary protocol with JSON, under the cookie's session.

const timeout = 30_000;

/** Why a call failed. */
export class Failure extends Error {
  /**
   * @param {string} reason - one of the API, or NETWORK when there was no answer of it
   * @param {{code?: string, message?: string, wait?: number, requestId?: string}} [about] -
   *   the error's code and text, in how many seconds to try again, and what the
   *   server's log calls the request
   */
  constructor(reason, { code = "", message = "", wait, requestId } = {}) {
    super(message);
    Object.assign(this, { reason, code, wait, requestId });
  }
}

/**
 * Calls a method, such as "auth.v1.SessionService/GetSession", perhaps with more headers.
 * It throws a Failure.
 */
export async function call(method, request, headers) {
  let response, answer;
  try {
    response = await fetch(`/logicspike.${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Connect-Protocol-Version": "1", ...headers },
      body: JSON.stringify(request),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(timeout),
    });
    answer = await response.json();
  } catch {
    throw new Failure("NETWORK");
  }
  if (response.ok) {
    if (request.sessionTransport || request.sessionCookie) {
      changePerson();
    }
    return answer;
  }
  throw new Failure(reasonOf(answer), {
    code: answer.code,
    message: answer.message,
    wait: Number(response.headers.get("Retry-After")) || undefined,
    requestId: response.headers.get("X-Request-Id") ?? undefined,
  });
}

/** Tells the console in other tabs that somebody may use the browser who was not there before. */
function changePerson() {
  const tabs = new BroadcastChannel("manager.person");
  tabs.postMessage(undefined);
  tabs.close();
}

/** Returns a new UUID, also where the page did not come by https. */
export function newRequestId() {
  if (crypto.randomUUID) {
    return crypto.randomUUID();
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40; // version 4
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // variant of RFC 9562
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Reads the first field, `reason`, of the google.rpc.ErrorInfo that an error carries. */
function reasonOf({ details = [] }) {
  const info = details.find(({ type }) => type === "google.rpc.ErrorInfo");
  const bytes = info ? atob(info.value) : "";
  return bytes.charCodeAt(0) === 0x0a ? bytes.slice(2, 2 + bytes.charCodeAt(1)) : "";
}
