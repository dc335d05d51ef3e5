// What the pages have in common: the link's token, and what is said to the person.

const title = element("title");
const message = element("message");

export function element(id) {
  return document.getElementById(id);
}

/**
 * Returns the token of the mailed link, or "", and takes it out of the address bar and
 * of the history: from now on it is in memory only.
 */
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  history.replaceState(null, "", location.pathname);
  // Another link of the same kind opened in this tab: the browser would not load anew.
  addEventListener("hashchange", () => location.reload());
  return token;
}

/** Shows the form for what the link is for, without a word yet. */
export function ready(form) {
  tell();
  form.hidden = false;
}

/**
 * Says something, in paragraphs, and moves the focus there. A paragraph is a string, or
 * an array of strings and nodes.
 *
 * @param {"good" | "bad" | "info"} [kind]
 */
export function tell(kind, ...paragraphs) {
  message.replaceChildren(
    ...paragraphs.map((parts) => {
      const paragraph = document.createElement("p");
      paragraph.append(...[parts].flat());
      return paragraph;
    }),
  );
  message.className = kind ?? "";
  if (paragraphs.length > 0) {
    message.focus();
  }
}

/** Ends what the page is for: the heading and the text say how. */
export function finish(kind, heading, ...paragraphs) {
  for (const form of document.forms) {
    form.hidden = true;
    form.reset();
  }
  head(heading, kind);
  tell(undefined, ...paragraphs);
}

/** Sets the heading, and the sign above it: for "good", for "bad", or none. */
export function head(heading, kind = "") {
  title.textContent = heading;
  document.title = `${heading} · ${element("product").textContent}`;
  document.body.className = kind;
}

/** Says that the page was opened without the link. */
export function explainMissingToken() {
  finish(
    "info",
    "Open the link in the mail",
    "This page works only by the link in the mail that we sent you. Open that link again, or copy all of it into the address bar.",
    "You can also enter the code from the mail in the application where you began.",
  );
}

/** Returns text that people chose, so that it cannot disturb the text around it. */
export function quote(text) {
  const node = document.createElement("bdi");
  node.textContent = text;
  return node;
}
