import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits for the mail to an address in the mailbox for development, and returns the six
 * digits in it. It is rejected when none comes within 10 seconds.
 */
export async function codeMailedTo(serverUrl: string, address: string): Promise<string> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(25)) {
    const answer = await fetch(`${serverUrl}/mailbox/messages?to=${encodeURIComponent(address)}`);
    if (!answer.ok) {
      throw new Error(`the mailbox answers ${answer.status}: ${await answer.text()}`);
    }
    const [newest] = (await answer.json()) as { text: string }[];
    const code = newest?.text.match(/\b[0-9]{6}\b/);
    if (code) {
      return code[0];
    }
  }
  throw new Error(`no mail with a code came to ${address}`);
}

/** Returns a mail address that no other test uses. */
export function newAddress(): string {
  return `test-${crypto.randomUUID()}@example.com`;
}
