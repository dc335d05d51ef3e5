import { Button, Stack, Text } from "@mantine/core";
import { useEffect, useId, useState } from "react";
import { retryAfterSeconds } from "@client/errors";
import { fill } from "../texts";
import { startTexts } from "../texts/start";
import { soon } from "./time";
import { tell, tellFailure } from "./toasts";

const interval = 60; // seconds between two codes: the server mails no more of them

/**
 * Has a code mailed once more, no sooner than the server does that, or leads back to the
 * address: below the field of a code that was mailed just now.
 */
export function SendAgain({ send, correct }: { send: () => Promise<unknown>; correct: () => void }) {
  const id = useId();
  const [until, setUntil] = useState(() => Date.now() + interval * 1000);
  const [now, setNow] = useState(Date.now);
  const [pending, setPending] = useState(false);
  const left = Math.ceil((until - now) / 1000);
  const early = left > 0;
  useEffect(() => {
    const timer = early ? setInterval(() => setNow(Date.now()), 1000) : undefined;
    return () => clearInterval(timer);
  }, [early]);
  const wait = (seconds: number) => {
    setNow(Date.now());
    setUntil(Date.now() + seconds * 1000);
  };
  const again = async () => {
    setPending(true);
    try {
      await send();
      wait(interval);
      tell(startTexts.again.sent);
    } catch (error) {
      const seconds = retryAfterSeconds(error);
      if (seconds !== undefined) {
        wait(seconds);
      }
      tellFailure(error);
    } finally {
      setPending(false);
    }
  };
  return (
    <Stack gap="xs">
      <Button
        variant="default"
        loading={pending}
        {...(early && { "data-disabled": true, "aria-disabled": true, "aria-describedby": id })} // Disabled, it would lose the focus.
        onClick={() => !early && void again()}
      >
        {startTexts.again.send}
      </Button>
      {early && (
        <Text size="xs" c="dimmed" id={id}>
          {fill(startTexts.again.wait, { time: soon(left) })}
        </Text>
      )}
      <Button variant="subtle" size="xs" onClick={correct}>
        {startTexts.again.correct}
      </Button>
    </Stack>
  );
}
