// Sets a new password by the mailed link.
import { call } from "./call.js";
import { onSubmit, refuse } from "./form.js";
import { element, explainMissingToken, finish, ready, takeToken } from "./page.js";

const token = takeToken();

onSubmit(element("reset"), async ({ password }) => {
  try {
    await call("auth.v1.PasswordService/ResetPassword", { token, newPassword: password });
    finish(
      "good",
      "Your password is changed",
      "Your new password is set, and all your sessions have ended. You can sign in with it now.",
    );
  } catch (failure) {
    refuseReset(failure);
  }
});

if (token === "") {
  explainMissingToken();
} else {
  ready(element("reset"));
}

function refuseReset(failure) {
  const aboutPassword = /^new_password: (.*)/s.exec(failure.message)?.[1];
  switch (failure.reason) {
    case "PASSWORD_COMMON":
      return refuse(element("password"), "This password is too easily guessed. Choose another one.");
    case "PASSWORD_LEAKED":
      return refuse(element("password"), "This password was found among stolen ones. Choose another one, and change it wherever else you use it.");
    case "PASSWORD_LENGTH":
    case "FIELD_INVALID":
      if (aboutPassword) {
        return refuse(element("password"), `The password is not accepted: ${aboutPassword}.`);
      }
    // Else it is the token that is none.
    case "CODE_INVALID":
      return finish(
        "bad",
        "This link no longer works",
        "It was used already, is older than 10 minutes, or a newer mail took its place.",
        "If you have set a new password with it, sign in with that one. If not, ask in the application for a new mail.",
      );
  }
  throw failure;
}
