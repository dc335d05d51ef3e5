import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
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
      found[name] ??= textOf(violation);
    }
  }
  return found;
}

/** What a person reads: by the rule where the catalogue has a text for it, else as the schema says. */
function textOf({ ruleId, message }: Violation): string {
  return (ruleTexts as Partial<Record<string, string>>)[ruleId] ?? message.charAt(0).toUpperCase() + message.slice(1) + ".";
}
