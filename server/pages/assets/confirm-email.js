// Gives an account its new address by the mailed link. Only the account's owner may:
// who is not signed in does so on the way.
import { call } from "./call.js";
import { callAsPerson, showCaptcha } from "./captcha.js";
import { onSubmit, refuse } from "./form.js";
import { element, explainMissingToken, finish, head, quote, ready, takeToken, tell } from "./page.js";
import { askSecondFactor, owesSecondFactor } from "./second-factor.js";

const token = takeToken();
const heading = element("title").textContent;
const confirm = element("confirm");
const signIn = element("sign-in");
const other = element("other");
let signedInHere = false;

onSubmit(confirm, async () => {
  try {
    const { user } = await call("identity.v1.UserService/ConfirmEmailChange", { token });
    finish("good", "Your address is changed", [
      "The address of your account is now ",
      quote(user.email),
      ". Use it the next time you sign in.",
    ]);
  } catch (failure) {
    if (failure.code === "unauthenticated") {
      return askToSignIn();
    }
    if (failure.reason === "SECOND_FACTOR_REQUIRED") {
      return continueSignIn();
    }
    if (failure.reason !== "CODE_INVALID" && failure.reason !== "FIELD_INVALID") {
      throw failure;
    }
    finish(
      "bad",
      "This link does not work",
      "It was used already, is older than 10 minutes, a newer mail took its place, or it is for another account than the one that is signed in here.",
      "If it is for another account, sign in with that one. If not, ask in the application for a new mail.",
    );
    other.hidden = false;
  }
});

onSubmit(signIn, async ({ email, password }) => {
  let answer;
  try {
    answer = await callAsPerson("auth.v1.AuthenticationService/SignInWithPassword", {
      email,
      password,
      sessionTransport: "SESSION_TRANSPORT_COOKIE",
    });
  } catch (failure) {
    if (failure.reason === "FIELD_INVALID" && failure.message.startsWith("email")) {
      return refuse(element("email"), "This is not an e-mail address.");
    }
    if (failure.reason === "FIELD_INVALID" || failure.reason === "CREDENTIALS_INVALID") {
      return tell("bad", "The address or the password is wrong. Use the address that your account has had so far.");
    }
    if (failure.reason === "ACCOUNT_DISABLED") {
      return tell("bad", "This account is disabled. Write to who runs the application.");
    }
    throw failure;
  }
  signedInHere = true;
  signIn.reset();
  signIn.hidden = true;
  if (owesSecondFactor(answer)) {
    return continueSignIn();
  }
  confirmAgain();
});

other.addEventListener("click", () => {
  head(heading);
  askToSignIn();
});

if (token === "") {
  explainMissingToken();
} else {
  ready(confirm);
}

function confirmAgain() {
  confirm.hidden = false;
  confirm.requestSubmit();
}

async function continueSignIn() {
  confirm.hidden = true;
  await askSecondFactor({
    done: confirmAgain,
    lost: (kept) => {
      signedInHere &&= !kept;
      askToSignIn();
    },
  });
}

function askToSignIn() {
  showCaptcha();
  confirm.hidden = true;
  signIn.hidden = false;
  other.hidden = true;
  if (signedInHere) {
    tell("bad", "You signed in, but this browser did not keep it. Allow cookies for this site, and open it by https.");
  } else {
    tell("info", "Sign in to go on. Use the address that your account has had so far.");
  }
}
