import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import { sentence } from "./errors";
import { ruleTexts } from "./texts/rules";

const validator = createValidator();

/**
 * What the schema's rules find wrong with a message, by the fields' names; "" is for the
 * message as a whole.
 */
export function violationsOf<I extends DescMessage>(schema: I, message: MessageShape<I>): Record<string, string> {
  const result = validator.validate(schema, message);
  const found: Record<string, string> = {};
  if (result.kind === "invalid") {
    for (const violation of result.violations) {
      const first = violation.field[0];
      const name = first?.kind === "field" ? first.localName : "";
      const value = violation.field.length === 1 ? (message as unknown as Record<string, unknown>)[name] : undefined;
      found[name] ??= value === "" || (Array.isArray(value) && value.length === 0) ? ruleTexts.required : textOf(violation);
    }
  }
  return found;
}

/** What a person reads: by the rule where the catalogue has a text for it, else as the schema says. */
function textOf({ ruleId, message }: Violation): string {
  return (ruleTexts as Partial<Record<string, string>>)[ruleId] ?? sentence(message.replace(/\b1 (\w+)s\b/, "1 $1"));
}
