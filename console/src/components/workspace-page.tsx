import { Stack } from "@mantine/core";
import type { ReactNode } from "react";
import { texts } from "../texts";
import { Heading } from "./heading";
import { Empty } from "./states";

/** A page of a workspace: its head, and the rest of it for who may see that. */
export function WorkspacePage({ title, text, allowed, children }: { title: string; text: string; allowed: boolean; children: ReactNode }) {
  return (
    <div style={{ maxWidth: 1080, marginInline: "auto" }}>
      <Heading title={title} {...(allowed && { text })} />
      {allowed ? <Stack gap="lg">{children}</Stack> : <Empty title={texts.common.notFound} />}
    </div>
  );
}
