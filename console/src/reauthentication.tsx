import { lazy, Suspense, useSyncExternalStore } from "react";
import { isReason } from "./errors";

const Dialog = lazy(() => import("./components/reauthentication-dialog"));

/** A person did not go on with what they had begun: nothing that they need to be told. */
export class Cancelled extends Error {
  override readonly name = "Cancelled";
}

/** The proof that the dialog asks for, and what ends the wait for it. */
interface Asked {
  given: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
}

let asked: Asked | undefined;
const listeners = new Set<() => void>();

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
    await proof();
    return act();
  }
}

/** Waits for the proof; several calls wait for the same one. */
function proof(): Promise<void> {
  if (!asked) {
    let [resolve, reject]: [() => void, (error: Error) => void] = [() => undefined, () => undefined];
    const given = new Promise<void>((...how) => ([resolve, reject] = how));
    asked = { given, resolve, reject };
    tellListeners();
  }
  return asked.given;
}

function settle(how: (asked: Asked) => void): void {
  const settled = asked!;
  asked = undefined;
  tellListeners();
  how(settled);
}

function tellListeners(): void {
  listeners.forEach((listener) => listener());
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Where the dialog of {@link guarded} appears: its code is fetched when it first does. */
export function Reauthentication() {
  const now = useSyncExternalStore(subscribe, () => asked);
  return (
    now && (
      <Suspense>
        <Dialog done={() => settle(({ resolve }) => resolve())} cancel={() => settle(({ reject }) => reject(new Cancelled()))} />
      </Suspense>
    )
  );
}
