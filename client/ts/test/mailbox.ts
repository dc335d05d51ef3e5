import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits for the mail to an address in the mailbox for development, and returns the six
 * digits in it. It is rejected when none comes within 10 seconds.
 */
export async function codeMailedTo(serverUrl: string, address: string): Promise<string> {
  return findMailedTo(serverUrl, address, /\b[0-9]{6}\b/);
}

/**
 * Waits for a mail to an address with a link to a page of the server, for example
 * `/reset-password`, and returns the link of the newest one. It is rejected when none
 * comes within 10 seconds.
 *
 * @param but - a link that came before
 */
export async function linkMailedTo(serverUrl: string, address: string, page: string, but?: string): Promise<string> {
  return findMailedTo(serverUrl, address, new RegExp(`^${but === undefined ? "" : `(?!${but}$)`}${serverUrl}${page}#token=\\S+$`, "m"));
}

/**
 * Waits for a mail to an address in whose text there is this, and returns what of it
 * matches. It is rejected when none comes within 10 seconds.
 */
export async function findMailedTo(serverUrl: string, address: string, pattern: RegExp): Promise<string> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(25)) {
    const answer = await fetch(`${serverUrl}/mailbox/messages?to=${encodeURIComponent(address)}`);
    if (!answer.ok) {
      throw new Error(`the mailbox answers ${answer.status}: ${await answer.text()}`);
    }
    for (const { text } of (await answer.json()) as { text: string }[]) {
      const found = text.match(pattern);
      if (found) {
        return found[0];
      }
    }
  }
  throw new Error(`no mail with ${pattern} came to ${address}`);
}

/** Returns an e-mail address that no other test uses. */
export function newAddress(): string {
  return `test-${crypto.randomUUID()}@example.com`;
}
