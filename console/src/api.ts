import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { callUnaryMethod } from "@connectrpc/connect-query";
import { QueryClient } from "@tanstack/react-query";
import { reasonOf } from "@client/errors";
import { transportOf } from "@client/transport";

/**
 * How all calls travel: to the server that the page is of, in the session of its HttpOnly
 * cookie. No script ever sees a token. Calls are repeated by the queries (see below).
 */
export const transport = transportOf({ baseUrl: window.location.origin, credentials: "cookie", attempts: 1 });

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
    mutations: { onSuccess: () => queryClient.invalidateQueries() },
  },
});

/** Reports whether a failure may pass by itself: the network's, or a server that is busy or away. */
function isPassing(error: unknown): boolean {
  const { code } = ConnectError.from(error);
  return code === Code.Unavailable || code === Code.DeadlineExceeded || (code === Code.Unknown && reasonOf(error) === undefined);
}
