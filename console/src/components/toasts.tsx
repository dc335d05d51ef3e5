import { useEffect, useSyncExternalStore, type ComponentType } from "react";
import { textOf } from "../errors";
import { Cancelled } from "../reauthentication";

const load = () => import("./toast-host");
const whenIdle = 5_000;

let Host: ComponentType | undefined;
const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Where toasts appear: its code is fetched a while after the page, or with the first of them. */
export function Toasts() {
  const Shown = useSyncExternalStore(subscribe, () => Host);
  useEffect(() => {
    const timer = setTimeout(() => void load().catch(() => undefined), whenIdle); // The first toast may tell that there is no network.
    return () => clearTimeout(timer);
  }, []);
  return Shown && <Shown />;
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
  try {
    const host = await load();
    Host = host.default;
    listeners.forEach((listener) => listener());
    host.show({ message, ...(color && { color }) });
  } catch {
    // Without its code there is no toast; all else goes on.
  }
}
