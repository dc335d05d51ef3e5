import { Button, Group, Stack } from "@mantine/core";
import type { FormEvent, ReactNode } from "react";
import { texts } from "../texts";
import { Dialog } from "./dialog";

/** A form in a dialog: render it while it is open. */
export function FormDialog({
  title,
  form,
  action,
  close,
  children,
}: {
  title: string;
  form: { submit(event: FormEvent): Promise<void>; pending: boolean; failure: ReactNode };
  /** What the button says. */
  action: string;
  close: () => void;
  children: ReactNode;
}) {
  return (
    <Dialog title={title} close={close}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          {children}
          {form.failure}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              {texts.common.cancel}
            </Button>
            <Button type="submit" loading={form.pending}>
              {action}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
