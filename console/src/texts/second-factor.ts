/** What is said where a workspace requires a second factor. */
export const secondFactorTexts = {
  title: "{name} requires a second factor",
  text: "Its members prove an authenticator app or a passkey beside their password. You have signed in without one.",
  confirm: "Confirm with a factor of your account:",
  or: "or",
  missing: "Your account has no second factor yet. Add an authenticator app or a passkey, then come back here.",
  add: "Add a second factor",
  goTo: "Go to {name}",
  confirmed: "Confirmed.",

  policy: {
    title: "Security",
    label: "Require a second factor",
    hint: "Members must prove an authenticator app or a passkey. Until they do, the workspace is closed to them. API keys of service accounts work on.",
    on: "A second factor is required. The members are told by e-mail.",
    off: "A second factor is no longer required.",
    proveFirst: "Prove a second factor yourself first:",
  },
} as const;
