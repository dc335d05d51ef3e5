import "@mantine/core/styles/Overlay.css";
import "@mantine/core/styles/ModalBase.css";
import "@mantine/core/styles/Modal.css";
import { Alert, Button, Group, Modal, Stack } from "@mantine/core";
import { useState, type ReactNode } from "react";
import { textOf } from "../errors";
import { guarded } from "../reauthentication";
import { texts } from "../texts";

/** What is to be confirmed before it is done. */
export interface Question {
  title: string;
  /** What happens then; perhaps with fields that act reads. */
  children: ReactNode;
  /** What the button says that does it. */
  label: string;
  /** Whether something ends by it. Default: yes. */
  destructive?: boolean;
  /** Does it. What fails is told in the dialog, which then stays for another try. */
  act(): Promise<unknown>;
  close(): void;
}

/** Asks before something is done. */
export function Confirm({ title, children, label, destructive = true, act, close }: Question) {
  const [pending, setPending] = useState(false);
  const [error, setError] = useState<unknown>();
  const run = async () => {
    setPending(true);
    setError(undefined);
    try {
      await guarded(act);
      close();
    } catch (error) {
      setError(error);
    } finally {
      setPending(false);
    }
  };
  return (
    <Modal opened onClose={close} title={title} closeButtonProps={{ "aria-label": texts.common.close }} centered>
      <Stack>
        <div>{children}</div>
        {error !== undefined && (
          <Alert color="red" variant="light" role="alert">
            {textOf(error)}
          </Alert>
        )}
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={close}>
            {texts.common.cancel}
          </Button>
          <Button {...(destructive && { color: "red" })} loading={pending} onClick={() => void run()}>
            {label}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
