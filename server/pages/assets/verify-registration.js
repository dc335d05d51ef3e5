// Completes a registration by the mailed link.
import { call, newRequestId } from "./call.js";
import { onSubmit, refuse } from "./form.js";
import { element, explainMissingToken, finish, quote, ready, takeToken } from "./page.js";

const token = takeToken();
const requestId = newRequestId(); // The same for each try: when an answer is lost, the next one has it.

onSubmit(element("confirm"), async ({ password }) => {
  try {
    const { account } = await call("auth.v1.RegistrationService/VerifyRegistration", {
      token,
      password,
      requestId,
      sessionTransport: "SESSION_TRANSPORT_COOKIE",
    });
    welcome(account);
  } catch (failure) {
    if (failure.reason === "CREDENTIALS_INVALID") {
      return refuse(element("password"), "This is not the password that you chose when you registered.");
    }
    if (failure.reason !== "CODE_INVALID" && failure.reason !== "FIELD_INVALID") {
      throw failure;
    }
    finish(
      "bad",
      "This link no longer works",
      "It was used already, is older than 10 minutes, or a newer mail took its place.",
      "If you have confirmed before, go to the application and sign in. If not, ask there for a new code, or register again.",
    );
  }
});

if (token === "") {
  explainMissingToken();
} else {
  ready(element("confirm"));
}

function welcome({ user, workspace }) {
  finish(
    "good",
    "Welcome",
    ["Your address ", quote(user.email), " is confirmed, and your workspace “", quote(workspace.name), "” is ready."],
    // A browser keeps the cookie only where it trusts the connection.
    isSecureContext
      ? "You are signed in. You can close this page and go back to the application."
      : "Go back to the application and sign in.",
  );
}
