/**
 * What the application says everywhere and on its first page, in English; the other files
 * of this folder are what one area says, and are fetched with its pages. Another language
 * is other objects of the same types. `{name}` stands for a value that {@link fill} puts in.
 */
export const texts = {
  common: {
    back: "Back",
    cancel: "Cancel",
    close: "Close",
    continue: "Continue",
    copied: "Copied",
    copy: "Copy",
    delete: "Delete",
    email: "E-mail address",
    failed: "Something went wrong on the server. Try again; if it happens again, tell your administrator.",
    loading: "Loading…",
    loadMore: "Show more",
    name: "Name",
    notFound: "This page does not exist, or you may not see it.",
    offline: "You are offline. Check your connection and try again.",
    password: "Password",
    retry: "Try again",
    save: "Save",
    saved: "Saved",
    signOut: "Sign out",
    showPassword: "Show the password",
    search: "Search",
    typeToConfirm: "Type “{text}” to confirm",
    unavailable: "The server does not answer. Try again in a moment.",
  },
  signIn: {
    title: "Sign in",
    ended: "Your session has ended. Sign in again.",
    submit: "Sign in",
    forgot: "Forgot your password?",
    noAccount: "No account yet?",
    toSignUp: "Sign up",
    or: "or",
    byCode: "Get a code by e-mail",
    byPasskey: "Use a passkey",
    byProvider: "Continue with {name}",
    codeTitle: "Enter the code",
    codeSent: "If {email} has an account, a code is on its way. It is valid for 10 minutes, in this browser.",
    code: "6-digit code",
    otherWay: "Sign in another way",
  },
  passkeys: {
    UNSUPPORTED: "This browser does not support passkeys.",
    CANCELLED: "That was canceled, or took too long.",
    ALREADY_REGISTERED: "This device already has a passkey for your account.",
    ABORTED: "That was canceled.",
    ORIGIN: "Passkeys cannot be used at this address.",
    FAILED: "The device could not do that. Try again.",
  },
  reasons: {
    CREDENTIALS_INVALID: "The e-mail address or the password is wrong.",
    RATE_LIMITED: "Too many attempts. Try again {time}.",
    OVERLOADED: "The server is busy. Wait a moment and try again.",
    SECOND_FACTOR_INVALID: "That is not right, or it was used before.",
    CODE_INVALID: "The code is wrong or has expired.",
    ACCOUNT_DISABLED: "This account is disabled. Ask your administrator.",
    REAUTHENTICATION_REQUIRED: "Confirm that it is you, then try again.",
    PASSWORD_COMMON: "This password is easy to guess. Choose another one.",
    PASSWORD_LEAKED: "This password is known from a leak. Choose another one.",
    SLUG_TAKEN: "Another workspace has this address.",
    SEATS_EXHAUSTED: "The plan has no free seat.",
    CAPTCHA_REQUIRED: "We could not confirm that you are a person. Try again.",
    CAPTCHA_UNAVAILABLE: "We cannot check at the moment whether you are a person. Try again.",
    EMAIL_UNVERIFIED: "Confirm your e-mail address first.",
    LAST_SIGN_IN_METHOD: "This is your only way to sign in. Add another one first.",
    PASSKEY_TAKEN: "This passkey has already been added.",
    IDENTITY_TAKEN: "That account is already linked to another account here.",
    PROVIDER_FAILED: "The provider did not answer properly. Try again.",
    TOO_MANY: "You cannot have any more of these.",
    CHALLENGE_INVALID: "That took too long. Try again.",
    ETAG_MISMATCH: "Somebody changed this in the meantime. Look at it again.",
  },
} as const;

/** Puts values into a text. */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
