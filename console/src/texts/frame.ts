/** What stands around pages. */
export const frameTexts = {
  account: "Your account",
  manageAccount: "Manage your account",
  theme: "Light or dark",
  skip: "Skip to the content",
  menu: "Menu",
} as const;
