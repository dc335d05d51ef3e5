import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { clientOf } from "../../user-agent";

const texts = accountTexts.sessions;

/** What people read about the browser or program that a `User-Agent` names. */
export function clientName(userAgent: string): string {
  const { browser, system } = clientOf(userAgent);
  if (browser !== undefined) {
    return system === undefined ? browser : fill(texts.device, { browser, system });
  }
  return /^[\w.-]+/.exec(userAgent)?.[0] ?? texts.unknown;
}
