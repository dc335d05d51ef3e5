import { Button, Stack, TextInput } from "@mantine/core";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { useEnter } from "../session";
import { startTexts } from "../texts/start";
import { useForm } from "./form";

/** Creates a workspace, and goes on into it. */
export function CreateWorkspace({ label }: { label: string }) {
  const enter = useEnter();
  const form = useForm(WorkspaceService.method.createWorkspace, { name: "", requestId: crypto.randomUUID() }, async ({ workspace }) => {
    await enter(`/w/${workspace!.slug}`);
  });
  return (
    <form onSubmit={(event) => void form.submit(event)} noValidate>
      <Stack>
        <TextInput
          label={startTexts.signUp.workspace}
          description={startTexts.signUp.workspaceHint}
          autoComplete="organization"
          {...form.field("name")}
        />
        {form.failure}
        <Button type="submit" loading={form.pending}>
          {label}
        </Button>
      </Stack>
    </form>
  );
}
