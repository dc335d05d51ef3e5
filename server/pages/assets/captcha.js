// The CAPTCHA that people solve before they sign in, where the server asks for one.
import { call, Failure } from "./call.js";

const timeout = 15_000;
const box = document.getElementById("captcha"); // null where there is none to be shown

let widget; // a promise of the provider's object and the widget's id, once it is to be shown
let answer = ""; // what proves that it was solved, once

/** Shows the CAPTCHA, which is loaded only then. */
export function showCaptcha() {
  if (!box || widget) {
    return;
  }
  widget = load().then((provider) => ({ provider, id: render(provider) }));
  widget.catch(() => {
    widget = undefined; // the next time is another try
  });
}

/**
 * Calls a method that is for people, with the answer of the CAPTCHA. It throws a Failure:
 * CAPTCHA_REQUIRED when it is not solved, and CAPTCHA_UNAVAILABLE when it cannot be shown.
 */
export async function callAsPerson(method, request) {
  if (!box) {
    return call(method, request);
  }
  showCaptcha();
  const { provider, id } = await widget;
  if (answer === "") {
    throw new Failure("CAPTCHA_REQUIRED");
  }
  try {
    return await call(method, request, { "Captcha-Response": answer });
  } finally {
    answer = ""; // Each one is good for one call.
    provider.reset(id);
  }
}

function load() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      script.remove();
      reject(new Failure("CAPTCHA_UNAVAILABLE"));
    };
    const late = setTimeout(fail, timeout);
    window.captchaLoaded = () => {
      clearTimeout(late);
      resolve(window[box.dataset.object]);
    };
    script.addEventListener("error", fail);
    script.src = box.dataset.script;
    script.async = true;
    document.head.append(script);
  });
}

function render(provider) {
  const is = (query) => matchMedia(query).matches;
  const forget = () => {
    answer = "";
  };
  return provider.render(box, {
    sitekey: box.dataset.siteKey,
    theme: is("(prefers-color-scheme: dark)") ? "dark" : "light",
    size: is("(max-width: 400px)") ? "compact" : "normal",
    callback: (solved) => {
      answer = solved;
    },
    "expired-callback": forget,
    "error-callback": forget,
  });
}
