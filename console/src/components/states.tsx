import { Alert, Button, Center, Group, Loader, Stack, Text, Title, VisuallyHidden } from "@mantine/core";
import { IconAlertCircle, IconInbox } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { textOf } from "../errors";
import { texts } from "../texts";

/** What is shown until there is something to show. */
export function Waiting() {
  return (
    <Center mih={200} role="status">
      <Loader />
      <VisuallyHidden>{texts.common.loading}</VisuallyHidden>
    </Center>
  );
}

/** What is shown in the place of what could not be read. */
export function Failure({ error, text, retry }: { error?: unknown; text?: string; retry?: () => void }) {
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle />} role="alert" m="md">
      <Group justify="space-between">
        <Text size="sm">{text ?? textOf(error)}</Text>
        {retry && (
          <Button size="xs" variant="default" onClick={retry}>
            {texts.common.retry}
          </Button>
        )}
      </Group>
    </Alert>
  );
}

/** What is shown where there is nothing yet. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Center mih={160}>
      <Stack align="center" gap="xs">
        <IconInbox size={32} aria-hidden />
        <Title order={3} size="h5">
          {title}
        </Title>
        {children}
      </Stack>
    </Center>
  );
}
