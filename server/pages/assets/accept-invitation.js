// Shows the invitation that a link stands for, and lets its holder join by it: with a new
// account, after a sign-in, or at once.
import { call, newRequestId } from "./call.js";
import { callAsPerson, showCaptcha } from "./captcha.js";
import { onSubmit, refuse } from "./form.js";
import { element, explainMissingToken, finish, head, quote, takeToken, tell } from "./page.js";
import { askSecondFactor, owesSecondFactor } from "./second-factor.js";

const token = takeToken();
const about = element("invitation");
const load = element("load");
const accept = element("accept");
const register = element("register");
const verify = element("verify");
const resend = element("resend");
const signIn = element("sign-in");
const renewal = element("renewal");
const decline = element("decline");
const toSignIn = element("to-sign-in");
const toRegister = element("to-register");
const goOn = element("go-on"); // where the server has an application

const askWhoInvited = "If you have joined by it, go to the application and sign in. If not, ask for a new one who invited you.";
const notKept = "You signed in, but this browser did not keep it. Allow cookies for this site, and open it by https.";

let received; // What the server said last of the token.
let signedInHere = false;
let registration = { id: "", requestId: "" }; // That of a link waits for a code.

/** What to show for each next step. */
const steps = {
  INVITATION_STEP_REGISTER: askToRegister,
  INVITATION_STEP_SIGN_IN: askToSignIn,
  INVITATION_STEP_ACCEPT: askToAccept,
  INVITATION_STEP_SWITCH_ACCOUNT: askToSwitch,
  INVITATION_STEP_REQUEST_RENEWAL: offerRenewal,
  INVITATION_STEP_NONE: explainOver,
};

onSubmit(load, async () => {
  try {
    received = await call("team.v1.InvitationService/GetInvitationByToken", { token });
  } catch (failure) {
    if (failure.reason === "CODE_INVALID" || failure.reason === "FIELD_INVALID") {
      return end(
        "bad",
        "This link does not work",
        "It is not complete, a newer mail took its place, or the workspace does not exist any more.",
        "Open the link in the newest mail. If there is none, ask for a new one who invited you.",
      );
    }
    show(load);
    load.classList.remove("loading");
    throw failure;
  }
  if (!isLink()) {
    element("address")?.remove(); // The invitation says which it is.
  }
  if (received.invitation.state === "INVITATION_STATE_PENDING") {
    accept.querySelector("button").textContent = `Join ${received.invitation.workspaceName}`;
    head("You are invited");
    describe();
  }
  await steps[received.nextStep]();
});

onSubmit(accept, async () => {
  try {
    await call("team.v1.InvitationService/AcceptInvitation", { token });
    welcome();
  } catch (failure) {
    if (failure.reason === "SECOND_FACTOR_REQUIRED") {
      return continueSignIn();
    }
    if (failure.code === "unauthenticated") {
      askToSignIn();
      return signedInHere
        ? tell("bad", notKept)
        : tell("info", "You are not signed in any more. Sign in to join.");
    }
    if (failure.reason === "EMAIL_MISMATCH") {
      return askToSwitch();
    }
    if (failure.reason === "EMAIL_UNVERIFIED") {
      askToSignIn();
      return tell(
        "bad",
        "The address of this account is not confirmed yet. Confirm it in the application and open the link again, or sign in with another account.",
      );
    }
    explain(failure);
  }
});

onSubmit(register, async ({ email, name, password }) => {
  try {
    const { registrationId } = await call("team.v1.InvitationService/RegisterWithInvitation", {
      token,
      email,
      password,
      displayName: name,
      requestId: requestIdOf(email, name, password),
      sessionCookie: true,
    });
    if (registrationId) {
      registration = { id: registrationId, requestId: newRequestId() };
      askForCode(email);
    } else {
      welcome();
    }
  } catch (failure) {
    refuseAccount(failure);
  }
});

onSubmit(verify, async ({ code }) => {
  try {
    await call("auth.v1.RegistrationService/VerifyRegistration", {
      registrationId: registration.id,
      code: code.replace(/[\s-]/g, ""),
      requestId: registration.requestId,
      sessionTransport: "SESSION_TRANSPORT_COOKIE",
    });
    welcome();
  } catch (failure) {
    if (failure.reason === "CODE_INVALID" || failure.reason === "FIELD_INVALID") {
      return refuse(element("code"), "This code is wrong or does not work any more. Enter the newest one, or ask for a new one.");
    }
    explain(failure);
  }
});

onSubmit(resend, async () => {
  try {
    await call("auth.v1.RegistrationService/ResendRegistrationCode", { registrationId: registration.id });
    tell("info", "A new code is on its way. The one before does not work any more.");
  } catch (failure) {
    if (failure.reason !== "REGISTRATION_EXPIRED") {
      throw failure;
    }
    askToRegister();
    tell("bad", "That took too long. Create your account again.");
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
      return tell("bad", "The address or the password is wrong.");
    }
    if (failure.reason === "ACCOUNT_DISABLED") {
      return tell("bad", "This account is disabled. Write to who runs the application.");
    }
    throw failure;
  }
  signedInHere = true;
  signIn.reset();
  if (owesSecondFactor(answer)) {
    return continueSignIn();
  }
  acceptAgain();
});

onSubmit(renewal, async () => {
  try {
    await call("team.v1.InvitationService/RequestInvitationRenewal", { token });
    end(
      "good",
      "You asked for a new invitation",
      "Who invited you, or an owner of the workspace, gets a mail that says so. They decide whether to invite you again.",
    );
  } catch (failure) {
    explain(failure);
  }
});

onSubmit(decline, async () => {
  try {
    await call("team.v1.InvitationService/DeclineInvitation", { token });
    explainDeclined();
  } catch (failure) {
    explain(failure);
  }
});

toSignIn.addEventListener("click", () => {
  tell();
  askToSignIn();
  element("email").focus();
});

toRegister.addEventListener("click", () => {
  tell();
  askToRegister();
  register.querySelector("input").focus();
});

if (token === "") {
  explainMissingToken();
} else {
  load.hidden = false;
  load.requestSubmit();
}

/** Whether the token is of a link for several people, and not of one address. */
function isLink() {
  return !received.maskedEmail;
}

/** Says in the page who invites to what. It stays while the forms come and go. */
function describe() {
  const { invitation, maskedEmail, domains = [] } = received;
  const who = invitation.inviterName ? [quote(invitation.inviterName), " invites you"] : ["You are invited"];
  const until = [" can be used until ", moment(invitation.expireTime), "."];
  write(
    [...who, " to join the workspace “", quote(invitation.workspaceName), "”, with the role “", quote(invitation.roleName), "”."],
    maskedEmail ? ["The invitation is for ", quote(maskedEmail), " and", ...until] : ["The link", ...until],
  );
  if (domains.length > 0) {
    write(...about.children, ["It is for e-mail addresses of ", quote(domains.join(", ")), "."]);
  }
}

async function askToAccept() {
  showAccept();
  if (isLink()) {
    // Who has several accounts sees which one joins.
    const { user } = await call("identity.v1.UserService/GetMe", {}).catch(() => ({}));
    if (user) {
      write(...about.children, ["You are signed in as ", quote(user.email), "."]);
    }
  }
}

function acceptAgain() {
  showAccept();
  accept.requestSubmit();
}

async function continueSignIn() {
  show();
  await askSecondFactor({
    done: acceptAgain,
    lost: (kept) => {
      askToSignIn();
      tell("bad", kept ? "That took too long. Sign in again." : notKept);
    },
  });
}

function showAccept() {
  toSignIn.textContent = "Use another account";
  show(accept, isLink() ? toSignIn : decline);
}

function askToRegister() {
  toSignIn.textContent = "I have an account";
  show(register, ...beside(toSignIn));
}

function askToSignIn() {
  showCaptcha();
  show(signIn, ...beside(toRegister));
}

/** Returns what is offered beside a form: the other form, unless only one fits the invited address, and the way out. */
function beside(other) {
  if (isLink()) {
    return [other];
  }
  return received.nextStep === "INVITATION_STEP_SWITCH_ACCOUNT" ? [other, decline] : [decline];
}

function askToSwitch() {
  askToSignIn();
  const { maskedEmail } = received;
  tell(
    "info",
    maskedEmail
      ? ["You are signed in with another address, or with one that is not confirmed yet. Sign in with ", quote(maskedEmail), " to join."]
      : "The link is not for the address that you are signed in with, or this address is not confirmed yet. Sign in with another one to join.",
  );
}

function askForCode(email) {
  toSignIn.textContent = "Sign in instead";
  show(verify, resend, toSignIn);
  tell(
    "info",
    ["We mailed a code to ", quote(email), ". Enter it to confirm your address and join."],
    "If the address has an account already, the mail says so. Then sign in instead.",
  );
}

function offerRenewal() {
  const expired = received.invitation.state === "INVITATION_STATE_EXPIRED";
  end(
    "bad",
    expired ? "This invitation has expired" : "This invitation was revoked",
    ["It was for the workspace “", quote(received.invitation.workspaceName), "”, and cannot be used any more."],
    "If a newer mail came, open the link in that one. If not, you can ask for a new invitation.",
  );
  show(renewal);
}

/** Says why an invitation or a link is over that nobody can renew from here. */
function explainOver() {
  const what = isLink() ? "This link" : "This invitation";
  switch (received.invitation.state) {
    case "INVITATION_STATE_DECLINED":
      return explainDeclined();
    case "INVITATION_STATE_EXPIRED":
      return end("bad", `${what} has expired`, askWhoInvited);
    case "INVITATION_STATE_REVOKED":
      return end("bad", `${what} was revoked`, askWhoInvited);
  }
  end("bad", `${what} was used already`, askWhoInvited);
}

function explainDeclined() {
  end(
    "info",
    "This invitation is declined",
    ["You do not join the workspace “", quote(received.invitation.workspaceName), "”. You can close this page."],
  );
}

function welcome() {
  end(
    "good",
    "Welcome",
    ["You are a member of the workspace “", quote(received.invitation.workspaceName), "” now."],
    // A browser keeps the cookie only where it trusts the connection.
    isSecureContext
      ? goOn
        ? "You are signed in."
        : "You are signed in. You can close this page and go to the application."
      : "Go to the application and sign in.",
  );
  if (goOn) {
    goOn.href = `/?workspace=${received.invitation.workspaceId}`;
    goOn.hidden = false;
  }
}

/** Says why no account can be made, at the field that it is about if there is one. */
function refuseAccount(failure) {
  const [, field, text] = /^(\w+): (.*)/s.exec(failure.message) ?? [];
  switch (failure.reason) {
    case "EMAIL_TAKEN":
      askToSignIn();
      return tell("info", "This address has an account already. Sign in with it to join.");
    case "EMAIL_MISMATCH":
      return refuse(element("new-email"), sentence(failure.message));
    case "PASSWORD_COMMON":
      return refuse(element("new-password"), "This password is too easily guessed. Choose another one.");
    case "PASSWORD_LEAKED":
      return refuse(element("new-password"), "This password was found among stolen ones. Choose another one, and change it wherever else you use it.");
    case "PASSWORD_LENGTH":
    case "FIELD_INVALID":
      switch (field) {
        case "password":
          return refuse(element("new-password"), `The password is not accepted: ${text}.`);
        case "display_name":
          return refuse(element("name"), `The name is not accepted: ${text}.`);
        case "email":
          return refuse(element("new-email"), "This is not an e-mail address.");
      }
  }
  explain(failure);
}

/** Says why a call failed as the server says it. What has changed meanwhile is shown anew. */
function explain(failure) {
  switch (failure.reason) {
    case "INVITATION_EXPIRED":
    case "INVITATION_REVOKED":
    case "INVITATION_USED":
    case "INVITATION_PENDING":
    case "CODE_INVALID":
      return load.requestSubmit();
    case "SEATS_EXHAUSTED":
    case "MEMBERSHIP_DEACTIVATED":
    case "REQUEST_ID_REUSED":
    case "FIELD_INVALID":
      return tell("bad", sentence(failure.message));
  }
  throw failure;
}

/** Ends what the page is for. */
function end(...said) {
  write();
  show();
  finish(...said);
}

/** Shows these forms and buttons, and no others. */
function show(...parts) {
  for (const part of [...document.forms, toSignIn, toRegister]) {
    part.hidden = !parts.includes(part);
  }
}

/** Writes paragraphs about the invitation. */
function write(...paragraphs) {
  about.replaceChildren(
    ...paragraphs.map((parts) => {
      if (parts instanceof Node) {
        return parts;
      }
      const paragraph = document.createElement("p");
      paragraph.append(...parts);
      return paragraph;
    }),
  );
}

/** Returns a time as people write it where they are. */
function moment(time) {
  const node = document.createElement("time");
  node.dateTime = time;
  node.textContent = new Intl.DateTimeFormat("en-GB", {
    day: "numeric",
    month: "long",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    timeZoneName: "short",
  }).format(new Date(time));
  return node;
}

/** Returns what the server says of a failure as a sentence. */
function sentence(message) {
  const text = message.replace(/^\w+: /, "");
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

let lastSent = "";
let lastId = "";

/** Returns the same id as long as the content is the same: when an answer is lost, the next try has it. */
function requestIdOf(...content) {
  const sent = JSON.stringify(content);
  if (sent !== lastSent) {
    lastSent = sent;
    lastId = newRequestId();
  }
  return lastId;
}
