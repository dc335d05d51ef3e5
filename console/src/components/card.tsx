import { Box, Center, Paper, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { product, usePageTitle } from "../product";

/** A page of one task, in the middle: what people see before they are in. */
export function Card({ title, text, children }: { title: string; text?: ReactNode; children: ReactNode }) {
  usePageTitle(title);
  return (
    <Center mih="100vh" p="md">
      <Box w="100%" maw={420}>
        {product !== "" && (
          <Text component="header" fw={700} ta="center" mb="md" style={{ overflowWrap: "anywhere" }}>
            {product}
          </Text>
        )}
        <Paper component="main" withBorder shadow="sm" p="xl">
          <Stack>
            <Title order={1} size="h3">
              {title}
            </Title>
            {text && (
              <Text size="sm" c="dimmed">
                {text}
              </Text>
            )}
            {children}
          </Stack>
        </Paper>
      </Box>
    </Center>
  );
}
