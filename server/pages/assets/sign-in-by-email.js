// Signs in by the mailed link, and by the second factor of an account that has one.
import { call } from "./call.js";
import { onSubmit } from "./form.js";
import { element, explainMissingToken, finish, ready, takeToken } from "./page.js";
import { askSecondFactor, owesSecondFactor } from "./second-factor.js";

const token = takeToken();
const confirm = element("confirm");

onSubmit(confirm, async () => {
  let answer;
  try {
    answer = await call("auth.v1.EmailChallengeService/CompleteEmailSignIn", { token });
  } catch (failure) {
    return refuseSignIn(failure);
  }
  if (!owesSecondFactor(answer)) {
    return welcome();
  }
  confirm.hidden = true;
  await continueSignIn();
});

if (token !== "") {
  ready(confirm);
} else if (!(await continueReloaded())) {
  explainMissingToken();
}

/** Goes on where the page was reloaded, with a session that owes its second factor. */
async function continueReloaded() {
  const { session } = await call("auth.v1.SessionService/GetSession", {}).catch(() => ({}));
  if (!session?.secondFactorPending) {
    return false;
  }
  await continueSignIn();
  return true;
}

async function continueSignIn() {
  await askSecondFactor({
    done: welcome,
    lost: (kept) =>
      kept
        ? finish("bad", "That took too long", "Your sign-in has ended. Ask in the application for a new mail.")
        : finish("bad", "This browser did not keep your sign-in", "Allow cookies for this site, and open it by https. Then ask in the application for a new mail."),
  });
}

function welcome() {
  finish("good", "Welcome", "This browser is signed in. You can close this page and go back to the application.");
}

function refuseSignIn(failure) {
  switch (failure.reason) {
    case "CODE_INVALID":
    case "FIELD_INVALID":
      return finish(
        "bad",
        "This link does not work here",
        "It works only in the browser in which you asked for it. If that was another one, open the link there. If it was an app or another device, type the code from the mail in there.",
        "It also stops working when it was used, after 10 minutes, and when a newer mail takes its place. Then ask in the application for a new one.",
      );
    case "ACCOUNT_DISABLED":
      return finish("bad", "This account is disabled", "You cannot sign in to it. If you think that this is a mistake, write to who runs the application.");
  }
  throw failure;
}
