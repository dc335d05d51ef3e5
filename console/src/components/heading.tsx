import { Group, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { usePageTitle } from "../product";
import { useWorkspace } from "../workspace";

/** The head of a workspace's page: what it is, and beside it what can be done there. */
export function Heading({ title, text, children }: { title: string; text?: string; children?: ReactNode }) {
  const { workspace } = useWorkspace();
  usePageTitle(title, workspace.name);
  return (
    <Group justify="space-between" mb="lg" gap="sm">
      <div>
        <Title order={1} size="h3">
          {title}
        </Title>
        {text && (
          <Text size="sm" c="dimmed" mt={4}>
            {text}
          </Text>
        )}
      </div>
      {children}
    </Group>
  );
}
