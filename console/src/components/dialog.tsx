import "@mantine/core/styles/ModalBase.css";
import "@mantine/core/styles/Modal.css";
import { Button, Group, Modal, Stack } from "@mantine/core";
import { useState, type FormEvent, type ReactNode } from "react";
import { texts } from "../texts";
import { Failure } from "./states";

/** A window over the page. What is in it begins anew each time that it is opened. */
export function Dialog({
  opened,
  close,
  title,
  size = "md",
  locked = false,
  children,
}: {
  opened: boolean;
  close: () => void;
  title: string;
  size?: "md" | "lg" | "xl";
  /** Whether it is closed by its buttons alone, since what it shows is shown once. */
  locked?: boolean;
  children: ReactNode;
}) {
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      size={size}
      centered
      transitionProps={{ duration: 0 }}
      closeOnClickOutside={!locked}
      closeOnEscape={!locked}
      withCloseButton={!locked}
      closeButtonProps={{ "aria-label": texts.common.close }}
      styles={{ title: { fontWeight: 600 } }}
    >
      {children}
    </Modal>
  );
}

/**
 * Asks before something is done, in a dialog that closes once it is. What failed is told
 * there, and can be tried again.
 */
export function Confirm({
  label,
  danger = false,
  disabled = false,
  act,
  close,
  children,
}: {
  label: string;
  danger?: boolean;
  disabled?: boolean;
  act: () => Promise<unknown>;
  close: () => void;
  children: ReactNode;
}) {
  const [error, setError] = useState<unknown>();
  const [pending, setPending] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setError(undefined);
    setPending(true);
    try {
      await act();
      close();
    } catch (failure) {
      setError(failure);
    } finally {
      setPending(false);
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack>
        {children}
        {error !== undefined && <Failure error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={close}>
            {texts.common.cancel}
          </Button>
          <Button type="submit" loading={pending} disabled={disabled} {...(danger && { color: "red" })}>
            {label}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
