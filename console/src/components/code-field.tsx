import "@mantine/core/styles/PinInput.css";
import { PinInput } from "@mantine/core";
import { texts } from "../texts";

/** A field for a code of six digits; complete is told of all six. */
export default function CodeField({ code, change, complete }: { code: string; change: (code: string) => void; complete?: (code: string) => void }) {
  return (
    <PinInput
      length={6}
      type="number"
      oneTimeCode
      autoFocus
      aria-label={texts.signIn.code}
      value={code}
      onChange={change}
      {...(complete && { onComplete: complete })}
    />
  );
}
