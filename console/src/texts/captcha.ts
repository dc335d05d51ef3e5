/** What the dialog says in which people show that they are people. */
export const captchaTexts = {
  title: "Are you a person?",
  text: "One more step, to keep bots out.",
  widget: "Check that you are a person",
  unavailable: "It cannot be checked whether you are a person. Try again in a moment.",
} as const;
