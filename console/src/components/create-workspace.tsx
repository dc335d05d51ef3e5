import { Button, Stack, TextInput } from "@mantine/core";
import { useNavigate } from "react-router";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { queryClient } from "../api";
import { startTexts } from "../texts/start";
import { useForm } from "./form";

/** Creates a workspace, and goes on into it. */
export function CreateWorkspace({ label }: { label: string }) {
  const navigate = useNavigate();
  const form = useForm(WorkspaceService.method.createWorkspace, { name: "", requestId: crypto.randomUUID() }, async ({ workspace }) => {
    await navigate(`/w/${workspace!.slug}`, { replace: true });
    await queryClient.resetQueries();
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
