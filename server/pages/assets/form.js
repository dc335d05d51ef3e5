// Forms: one call at a time, and what to say when it fails.
import { Failure } from "./call.js";
import { element, tell } from "./page.js";

/**
 * Runs an action with the form's fields when it is submitted and each has a value. The
 * action throws a Failure that it does not explain itself.
 */
export function onSubmit(form, action) {
  const button = form.querySelector("[type=submit]");
  const label = button.textContent;
  let running = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) {
      return;
    }
    const inputs = [...form.querySelectorAll("input[data-what]")]; // A CAPTCHA has fields of its own.
    inputs.forEach((input) => clear(input));
    tell();
    const empty = inputs.filter((input) => input.value === "");
    if (empty.length > 0) {
      empty.reverse().forEach((input) => refuse(input, `Enter ${input.dataset.what}.`));
      return;
    }
    running = true;
    button.setAttribute("aria-disabled", "true"); // Disabled, it would lose the focus.
    button.textContent = button.dataset.busy;
    let next = label;
    try {
      await action(Object.fromEntries(inputs.map(({ name, value }) => [name, value])));
    } catch (error) {
      tell("bad", explain(error));
      next = "Try again";
    } finally {
      running = false;
      button.textContent = next;
      button.removeAttribute("aria-disabled");
    }
  });
  for (const show of form.querySelectorAll(".show")) {
    offerToShow(show, document.getElementById(show.getAttribute("aria-controls")), form);
  }
}

/** Says at a field what is wrong with it, and moves the focus there. */
export function refuse(input, text) {
  document.getElementById(`${input.id}-error`).textContent = text;
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

function clear(input) {
  document.getElementById(`${input.id}-error`).textContent = "";
  input.removeAttribute("aria-invalid");
}

/** Lets a button show and hide what is in a password's field. */
function offerToShow(button, input, form) {
  const set = (shown) => {
    input.type = shown ? "text" : "password";
    button.firstElementChild.textContent = shown ? "Hide" : "Show";
  };
  button.addEventListener("click", () => set(input.type === "password"));
  form.addEventListener("submit", () => set(false)); // So that browsers offer to keep it.
}

/** Returns what to say of a failure that any call may have. */
function explain(error) {
  if (!(error instanceof Failure)) {
    console.error(error);
    return "Something went wrong in this page. Reload it by opening the link in the mail again.";
  }
  switch (error.reason) {
    case "NETWORK":
      return "The server could not be reached. Check your connection, then try again.";
    case "RATE_LIMITED":
      return `That was tried too often. Try again ${after(error.wait)}.`;
    case "CAPTCHA_REQUIRED":
      return element("captcha")
        ? "Confirm above the button that you are a person. Then try again."
        : "Sign in to the application first. Then open the link in the mail again.";
    case "CAPTCHA_UNAVAILABLE":
      return `It cannot be checked whether you are a person. If your browser blocks something on this page, allow it. Try again ${after(error.wait)}.`;
    case "OVERLOADED":
    case "UNAVAILABLE":
      return `The server is very busy. Try again ${after(error.wait)}.`;
  }
  const number = error.requestId ? ` If it happens again, report the number ${error.requestId}.` : "";
  return `Something went wrong on the server. Try again in a moment.${number}`;
}

/** Returns in words how long to wait. */
function after(seconds) {
  if (seconds === undefined) {
    return "in a moment";
  }
  const [count, unit] = seconds < 90 ? [Math.ceil(seconds), "second"] : [Math.ceil(seconds / 60), "minute"];
  return `in ${count} ${unit}${count === 1 ? "" : "s"}`;
}
