import { Group, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { usePageTitle } from "../../product";

/** A page of the account: its title, and what is on it. */
export function AccountPage({ title, text, actions, children }: { title: string; text: string; actions?: ReactNode; children: ReactNode }) {
  usePageTitle(title);
  return (
    <Stack gap="lg" maw={760} mx="auto">
      <Group justify="space-between" align="flex-start">
        <div>
          <Title order={1} size="h3">
            {title}
          </Title>
          <Text size="sm" c="dimmed" mt={4}>
            {text}
          </Text>
        </div>
        {actions}
      </Group>
      {children}
    </Stack>
  );
}
