import { lazy, Suspense, useSyncExternalStore } from "react";
import { textOf } from "../errors";
import { Cancelled } from "../reauthentication";

const load = () => import("./toast-host");
const Host = lazy(load);

let wanted = false;
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Where toasts appear: its code is fetched with the first of them. */
export function Toasts() {
  const shown = useSyncExternalStore(subscribe, () => wanted);
  return (
    shown && (
      <Suspense>
        <Host />
      </Suspense>
    )
  );
}

/** Tells briefly that something is done. */
export function tell(message: string): void {
  void toast(message);
}

/** Tells briefly why something failed, unless the person themselves ended it. */
export function tellFailure(error: unknown): void {
  if (!(error instanceof Cancelled)) {
    void toast(textOf(error), "red");
  }
}

async function toast(message: string, color?: "red"): Promise<void> {
  wanted = true;
  listeners.forEach((listener) => listener());
  (await load()).show({ message, ...(color && { color }) });
}
