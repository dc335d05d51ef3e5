import "@mantine/core/styles/Card.css";
import { Card, Group, Title } from "@mantine/core";
import { useId, type ReactNode } from "react";

/** A part of a page with a heading of its own. */
export function Section({ title, actions, children, danger = false }: { title: string; actions?: ReactNode; children: ReactNode; danger?: boolean }) {
  const id = useId();
  return (
    <Card withBorder component="section" aria-labelledby={id} padding="lg" {...(danger && { style: { borderColor: "var(--mantine-color-error)" } })}>
      <Group justify="space-between" mb="md">
        <Title order={2} size="h5" id={id}>
          {title}
        </Title>
        {actions}
      </Group>
      {children}
    </Card>
  );
}
