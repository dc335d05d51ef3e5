import { Alert, Button, Group, Stack, TextInput } from "@mantine/core";
import { useState, type ReactNode } from "react";
import { textOf } from "../errors";
import { Cancelled, guarded } from "../reauthentication";
import { fill, texts } from "../texts";
import { Dialog } from "./dialog";

/**
 * Asks before something is done that cannot be taken back, or that costs: render it while
 * it asks.
 *
 * `typed` is what has to be typed first, for what destroys much. `act` is sent as
 * {@link guarded}; when it is done the dialog closes, when it fails it says why.
 */
export function Confirm({
  title,
  children,
  action,
  keep = texts.common.cancel,
  typed,
  harmless = false,
  disabled = false,
  size,
  act,
  close,
}: {
  title: string;
  children: ReactNode;
  /** What the button says. */
  action: string;
  /** What the button says that leaves all as it is. */
  keep?: string;
  typed?: string;
  /** Whether nothing is lost by it. */
  harmless?: boolean;
  /** Whether there is nothing to do yet. */
  disabled?: boolean;
  size?: "lg" | "xl";
  act: () => Promise<unknown>;
  close: () => void;
}) {
  const [text, setText] = useState("");
  const [pending, setPending] = useState(false);
  const [failure, setFailure] = useState<string>();
  const go = async () => {
    setPending(true);
    setFailure(undefined);
    try {
      await guarded(act);
      close();
    } catch (error) {
      setFailure(error instanceof Cancelled ? undefined : textOf(error));
    } finally {
      setPending(false);
    }
  };
  return (
    <Dialog title={title} close={close} {...(size && { size })}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          event.stopPropagation(); // This may stand in a form of the page.
          void go();
        }}
      >
        <Stack>
          <div>{children}</div>
          {typed !== undefined && (
            <TextInput
              label={fill(texts.common.typeToConfirm, { text: typed })}
              autoComplete="off"
              data-autofocus
              value={text}
              onChange={({ currentTarget: { value } }) => setText(value)}
            />
          )}
          {failure !== undefined && (
            <Alert color="red" variant="light" role="alert">
              {failure}
            </Alert>
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              {keep}
            </Button>
            <Button type="submit" {...(!harmless && { color: "red" })} loading={pending} disabled={disabled || (typed !== undefined && text.trim() !== typed)}>
              {action}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
