import type { DescMessage, DescMethod, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { callUnaryMethod, createConnectQueryKey } from "@connectrpc/connect-query";
import { QueryClient } from "@tanstack/react-query";
import { AuthenticationService } from "@gen/auth/v1/authentication_pb";
import { SessionService } from "@gen/auth/v1/session_pb";
import { reasonOf } from "@client/errors";
import { transportOf } from "@client/transport";

const plain = transportOf({ baseUrl: window.location.origin, credentials: "cookie", attempts: 1 });

/** What the next call of a method has to bring along: the answer of a CAPTCHA. */
let answered: { method: DescMethod; answer: string } | undefined;

/**
 * How all calls travel: to the server that the page is of, in the session of its HttpOnly
 * cookie. No script ever sees a token. Calls are repeated by the queries (see below).
 */
export const transport: Transport = {
  ...plain,
  unary: async (method, signal, timeoutMs, header, ...rest) => {
    const headers = new Headers(header);
    if (answered?.method === method) {
      headers.set("Captcha-Response", answered.answer);
    }
    try {
      return await plain.unary(method, signal, timeoutMs, headers, ...rest);
    } catch (error) {
      if (reasonOf(error) === "SESSION_REQUIRED" && !tellsOfSession.includes(method)) {
        void queryClient.invalidateQueries({ queryKey: sessionKey });
      }
      if (reasonOf(error) === "SECOND_FACTOR_REQUIRED_BY_WORKSPACE") {
        void queryClient.invalidateQueries({ queryKey: ["workspaces"] }); // the pages of it are closed by what that says
      }
      throw error;
    }
  },
};

// Where another call finds the session ended, it is read anew, and the page that is shown follows.
const sessionKey = createConnectQueryKey({ schema: SessionService.method.getSession, cardinality: "finite" });
const tellsOfSession: DescMethod[] = [SessionService.method.getSession, AuthenticationService.method.signOut];

/** Makes a call of a method, with the answer of a CAPTCHA. */
export async function answerFor<T>(method: DescMethod, answer: string, act: () => Promise<T>): Promise<T> {
  answered = { method, answer };
  try {
    return await act();
  } finally {
    answered = undefined;
  }
}

/** Calls a method outside of a component. */
export function call<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  input: MessageInitShape<I>,
): Promise<MessageShape<O>> {
  return callUnaryMethod(transport, method, input);
}

/** What was read, and for how long it counts as fresh. What the server refused is not asked for again. */
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: { staleTime: 10_000, retry: (count, error) => count < 2 && isPassing(error) },
    // The answer of a mutation is there at once: what it shows may be shown this once.
    mutations: { onSuccess: () => void queryClient.invalidateQueries() },
  },
});

/** Reports whether a failure may pass by itself: the network's, or a server that is busy or away. */
function isPassing(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  return code === Code.Unavailable || code === Code.DeadlineExceeded || (code === Code.Unknown && reasonOf(error) === undefined);
}
