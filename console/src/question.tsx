import { lazy, Suspense, useSyncExternalStore, type ComponentType } from "react";

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
 * rejected with {@link Cancelled} when there is none; `Host` is where the dialog appears.
 */
export function question<T>(load: () => Promise<{ default: ComponentType<Asking<T>> }>): { ask: () => Promise<T>; Host: ComponentType } {
  const Dialog = lazy(load);
  let asked: { answer: Promise<T>; asking: Asking<T> } | undefined;
  const listeners = new Set<() => void>();
  const become = (now: typeof asked) => {
    asked = now;
    listeners.forEach((listener) => listener());
  };
  const subscribe = (listener: () => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return {
    ask: () => {
      if (!asked) {
        let asking: Asking<T>;
        const answer = new Promise<T>((resolve, reject) => {
          asking = {
            done: (answer) => {
              become(undefined);
              resolve(answer);
            },
            cancel: () => {
              become(undefined);
              reject(new Cancelled());
            },
          };
        });
        become({ answer, asking: asking! });
      }
      return asked!.answer;
    },
    Host: () => {
      const now = useSyncExternalStore(subscribe, () => asked);
      return (
        now && (
          <Suspense>
            <Dialog {...now.asking} />
          </Suspense>
        )
      );
    },
  };
}
