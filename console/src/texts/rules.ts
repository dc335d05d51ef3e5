/** What is wrong with a field, by the rule of the schema that it breaks. */
export const ruleTexts = {
  required: "Fill this in.",
  "string.pattern": "This does not have the right form.",
  "string.uuid": "This does not have the right form.",
  proof: "Fill this in.",
} as const;
