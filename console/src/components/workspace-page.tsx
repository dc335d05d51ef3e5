import { Group, Stack, Text, Title } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import type { ReactNode } from "react";
import { texts } from "../texts";
import { useWorkspace } from "../workspace";
import { Empty } from "./states";

/** A page of a workspace: its title, what can be done at once, and the rest of it for who may see it. */
export function WorkspacePage({ title, text, actions, allowed, children }: { title: string; text?: string; actions?: ReactNode; allowed: boolean; children: ReactNode }) {
  const { workspace } = useWorkspace();
  useDocumentTitle(`${title} · ${workspace.name}`);
  return (
    <Stack gap="lg" maw={1080} mx="auto">
      <Group justify="space-between" align="flex-start">
        <div>
          <Title order={1} size="h3">
            {title}
          </Title>
          {text && allowed && (
            <Text size="sm" c="dimmed">
              {text}
            </Text>
          )}
        </div>
        {allowed && actions}
      </Group>
      {allowed ? children : <Empty title={texts.common.notFound} />}
    </Stack>
  );
}
