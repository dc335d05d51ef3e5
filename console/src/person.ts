import { queryClient } from "./api";

let present: string | undefined;
const tabs = new BroadcastChannel("manager.person"); // of the pages that mails link to, too

// Of one person nothing stays in a page that another one uses: neither what was read nor forms.
tabs.onmessage = ({ data }: MessageEvent<string | undefined>) => {
  if (present === undefined) {
    void queryClient.invalidateQueries();
  } else if (data !== present) {
    window.location.reload();
  }
};

/** Who uses this page, by their id, as all tabs of the browser are told. */
export const person = {
  /** Reports whether a person is another one than who has used this page. */
  isAnother: (id: string | undefined): boolean => id !== undefined && present !== undefined && id !== present,
  /** Tells who uses the page, if somebody does; for another person it begins anew. */
  is(id: string | undefined): void {
    if (person.isAnother(id)) {
      window.location.reload();
    } else if (id !== undefined && id !== present) {
      present = id;
      tabs.postMessage(id);
    }
  },
  /** Tells that nobody uses the browser's tabs any more. */
  left: (): void => tabs.postMessage(undefined),
};
