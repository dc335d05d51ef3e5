/** What the dialog says in which people prove again who they are. */
export const reauthenticationTexts = {
  title: "Confirm that it is you",
  text: "This is a sensitive change, and it has been a while since you signed in.",
  submit: "Confirm",
  otherWays: "Another way",
  password: "Password",
  wrongPassword: "The password is wrong.",
  passkey: "Use a passkey",
  passkeyText: "Your browser will ask for your passkey.",
  totp: "Authenticator app",
  totpCode: "Code from your authenticator app",
  email: "Code by e-mail",
  emailText: "We send a code to your address. It is valid for 10 minutes.",
  sendCode: "Send a code",
  none: "Sign out and sign in again, then repeat what you wanted to do.",
} as const;
