import { TextInput, type TextInputProps } from "@mantine/core";
import { texts } from "../texts";

/**
 * A field for a code of six digits, which may be typed or pasted with spaces or dashes
 * between them. `complete` is called with the code once its last digit is there.
 */
export function CodeField({
  value,
  onChange,
  complete,
  ...more
}: {
  value: string;
  onChange: (event: { currentTarget: { value: string } }) => void;
  complete?: (code: string) => unknown;
} & Omit<TextInputProps, "value" | "onChange">) {
  return (
    <TextInput
      label={texts.signIn.code}
      inputMode="numeric"
      autoComplete="one-time-code"
      autoFocus
      data-autofocus
      styles={{ input: { letterSpacing: "0.2em", fontVariantNumeric: "tabular-nums" } }}
      {...more}
      value={value}
      onChange={({ currentTarget }) => {
        const code = currentTarget.value.replace(/\D/g, "").slice(0, 6);
        onChange({ currentTarget: { value: code } });
        if (code.length === 6 && code !== value) {
          complete?.(code);
        }
      }}
    />
  );
}
