// A page whose functions the test of passkeys calls. The session is in a cookie.
import { createManager, passkeys, reasonOf } from "@logicspike/manager";

const manager = createManager({ baseUrl: document.documentElement.dataset["api"]!, credentials: "cookie" });

/** What the test calls in the page. */
const functions = {
  manager,
  passkeys,

  /** Says in one word how a call went. */
  async outcome(call: Promise<unknown>): Promise<string> {
    return call.then(
      () => "done",
      (error: unknown) => (error instanceof passkeys.PasskeyError ? error.reason : (reasonOf(error) ?? `${error}`)),
    );
  },
};

/** The functions. */
export type Functions = typeof functions;

Object.assign(window, functions);
