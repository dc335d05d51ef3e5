import type { DescMethod } from "@bufbuild/protobuf";
import { answerFor } from "./api";
import { isReason } from "./errors";
import { question } from "./question";

/** The CAPTCHA that the page was told of; undefined where there is none to be shown. */
export const captcha = document.querySelector<HTMLMetaElement>("meta[name=captcha]") ?? undefined;

const { ask, Host } = question<string>(() => import("./components/captcha-dialog"));

/** Where the dialog of {@link asPerson} appears. */
export const Captcha = Host;

/**
 * Calls a method that may be for people alone: if the server asks for the answer of a
 * CAPTCHA, a dialog shows it, and the call is made again with what it gave. It is rejected
 * with {@link Cancelled} when the person does not solve it.
 */
export async function asPerson<T>(method: DescMethod, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!captcha || !isReason(error, "CAPTCHA_REQUIRED")) {
      throw error;
    }
    return answerFor(method, await ask(), act);
  }
}
