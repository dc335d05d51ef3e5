import "@mantine/core/styles/PinInput.css";
import { Input, PinInput } from "@mantine/core";
import { useId } from "react";
import { texts } from "../texts";

/** The field of a form for a code of six digits. With the last of them the form is sent, unless there is more to fill in. */
export default function CodeField({
  form,
  more = false,
}: {
  more?: boolean;
  form: {
    field(name: "code"): { value: string; error?: string };
    set(values: { code: string }): void;
    submitWith(values: { code: string }): Promise<void>;
  };
}) {
  const id = useId();
  const { value, error } = form.field("code");
  return (
    <div>
      <PinInput
        length={6}
        type="number"
        oneTimeCode
        autoFocus
        aria-label={texts.signIn.code}
        error={error !== undefined}
        {...(error !== undefined && { "aria-describedby": id })}
        value={value}
        onChange={(code) => form.set({ code })}
        {...(!more && { onComplete: (code: string) => void form.submitWith({ code }) })}
      />
      {error !== undefined && (
        <Input.Error id={id} mt={6}>
          {error}
        </Input.Error>
      )}
    </div>
  );
}
