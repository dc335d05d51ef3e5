import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";

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
      found[name] ??= violation.message.charAt(0).toUpperCase() + violation.message.slice(1) + ".";
    }
  }
  return found;
}
