/** What the overview of a workspace says on what to do first. */
export const firstStepsTexts = {
  title: "First steps",
  hide: "Hide the first steps",
  done: "Done:",
  steps: {
    invite: { title: "Invite people", text: "Work with others here, each with a role of their own." },
    domain: { title: "Verify your domain", text: "Let colleagues join by their e-mail address." },
    secondFactor: { title: "Add a second factor", text: "Protect your own account by a passkey or an authenticator app." },
    plan: { title: "Choose a plan", text: "Look at what each gives, and what it costs." },
  },
} as const;
