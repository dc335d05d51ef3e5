import { useSyncExternalStore, type ComponentType } from "react";

/** A person did not go on with what they had begun: nothing that they need to be told. */
export class Cancelled extends Error {
  override readonly name = "Cancelled";
}

/** What a dialog that asks something is told. */
export interface Asking<T> {
  done: (answer: T) => void;
  cancel: () => void;
}

/**
 * Something that any call may have to ask a person, in a dialog whose code is fetched when
 * it is first asked. `ask` waits for the answer, several calls for the same one, and is
 * rejected with {@link Cancelled} when there is none, and with what failed when the code
 * cannot be fetched; `Host` is where the dialog appears.
 */
export function question<T>(load: () => Promise<{ default: ComponentType<Asking<T>> }>): { ask: () => Promise<T>; Host: ComponentType } {
  let answer: Promise<T> | undefined;
  let shown: { Dialog: ComponentType<Asking<T>>; asking: Asking<T> } | undefined;
  const listeners = new Set<() => void>();
  const become = (now: typeof shown) => {
    shown = now;
    listeners.forEach((listener) => listener());
  };
  const subscribe = (listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  const put = async () => {
    try {
      const { default: Dialog } = await load();
      return await new Promise<T>((done, reject) => become({ Dialog, asking: { done, cancel: () => reject(new Cancelled()) } }));
    } finally {
      answer = undefined;
      become(undefined);
    }
  };
  return {
    ask: () => (answer ??= put()),
    Host: () => {
      const now = useSyncExternalStore(subscribe, () => shown);
      return now && <now.Dialog {...now.asking} />;
    },
  };
}
