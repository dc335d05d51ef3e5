import { isReason } from "./errors";
import { question } from "./question";

const { ask, Host } = question<void>(() => import("./components/reauthentication-dialog"));

/** Where the dialog of {@link guarded} appears. */
export const Reauthentication = Host;

export { Cancelled } from "./question";

/**
 * Does what may need a proof, not long ago, that the caller is who they are: if the server
 * asks for it, a dialog does, and then it is done again. It is rejected with
 * {@link Cancelled} when the person gives none.
 */
export async function guarded<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!isReason(error, "REAUTHENTICATION_REQUIRED")) {
      throw error;
    }
    await ask();
    return act();
  }
}
