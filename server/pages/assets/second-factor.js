// Asks for the second factor that a session owes: a passkey, the code of an authenticator
// app, or a recovery code.
import { call } from "./call.js";
import { onSubmit, refuse } from "./form.js";
import { element, tell } from "./page.js";
import { canUsePasskeys, usePasskey } from "./passkey.js";

const section = element("second-factor");
const wrong = "This code is wrong, or was used before.";

/** The ways, the safest first. */
const ways = {
  SECOND_FACTOR_KIND_PASSKEY: { form: element("use-passkey"), button: element("to-passkey") },
  SECOND_FACTOR_KIND_TOTP: { form: element("use-totp"), button: element("to-totp") },
  SECOND_FACTOR_KIND_RECOVERY_CODE: { form: element("use-recovery"), button: element("to-recovery") },
};

let kinds = []; // those that the account has
let done; // what to do once the session owes nothing more
let lost; // what to do when there is no session

/** Reports whether what a sign-in has answered says that the session owes its second factor. */
export function owesSecondFactor({ requirements = [] }) {
  return requirements.includes("ACCOUNT_REQUIREMENT_SECOND_FACTOR_REQUIRED");
}

/**
 * Asks for the second factor of the browser's session, and then does what is next. It
 * throws a Failure.
 *
 * @param {{done: () => void, lost: (kept: boolean) => void}} next - for when the session has
 *   it, and for when there is no session: it ended, or the browser never kept it
 */
export async function askSecondFactor(next) {
  ({ done, lost } = next);
  let session, secondFactors;
  try {
    ({ session, secondFactors = [] } = await call("auth.v1.SessionService/GetSession", {}));
  } catch (failure) {
    return endIfLost(failure, false);
  }
  if (!session.secondFactorPending) {
    return end(done);
  }
  kinds = Object.keys(ways).filter((kind) => secondFactors.includes(kind) && (canUsePasskeys() || kind !== "SECOND_FACTOR_KIND_PASSKEY"));
  section.hidden = false;
  if (kinds.length === 0) {
    return tell("bad", "Your account asks for a passkey, and this browser has none. Sign in with a browser or device that does.");
  }
  tell("info", "One step is left: your account asks for a second proof that it is you.");
  show(kinds[0]);
}

for (const [kind, { button }] of Object.entries(ways)) {
  button.addEventListener("click", () => {
    tell();
    show(kind);
    ways[kind].form.querySelector("input, [type=submit]").focus();
  });
}

onSubmit(ways.SECOND_FACTOR_KIND_PASSKEY.form, async () => {
  const passkey = await usePasskey().catch((failure) => endIfLost(failure, true));
  if (passkey === null) {
    return tell("bad", kinds.length > 1 ? "No passkey was used. Try again, or use another way." : "No passkey was used. Try again.");
  }
  if (passkey) {
    await verify({ passkey }, () => tell("bad", "This passkey was not accepted. Try again, or use another one."));
  }
});

onSubmit(ways.SECOND_FACTOR_KIND_TOTP.form, async ({ code }) => {
  await verify({ totpCode: code.replace(/[\s-]/g, "") }, () => refuse(element("totp-code"), `${wrong} Enter the one that the app shows now.`));
});

onSubmit(ways.SECOND_FACTOR_KIND_RECOVERY_CODE.form, async ({ code }) => {
  await verify({ recoveryCode: code.trim() }, () => refuse(element("recovery-code"), `${wrong} Enter another one.`));
});

async function verify(proof, refuseIt) {
  try {
    await call("auth.v1.MfaService/VerifySecondFactor", proof);
  } catch (failure) {
    switch (failure.reason) {
      case "SECOND_FACTOR_INVALID":
      case "CHALLENGE_INVALID":
      case "FIELD_INVALID":
        return refuseIt();
      case "FACTOR_MISSING": // It was given meanwhile, as in another tab.
        return end(done);
    }
    return endIfLost(failure, true);
  }
  end(done);
}

function show(shown) {
  for (const [kind, { form, button }] of Object.entries(ways)) {
    form.hidden = kind !== shown;
    button.hidden = kind === shown || !kinds.includes(kind);
  }
}

function endIfLost(failure, kept) {
  if (failure.reason !== "SESSION_REQUIRED") {
    throw failure;
  }
  end(() => lost(kept));
}

function end(next) {
  section.hidden = true;
  for (const { form } of Object.values(ways)) {
    form.reset();
  }
  next();
}
