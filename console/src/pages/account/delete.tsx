import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, List, Paper, Stack, Text } from "@mantine/core";
import "@mantine/core/styles/List.css";
import { useState } from "react";
import { UserService, type PreviewDeleteMeResponse } from "@gen/identity/v1/user_pb";
import { queryClient } from "../../api";
import { Confirm } from "../../components/confirm";
import { Section } from "../../components/section";
import { Failure, Waiting } from "../../components/states";
import { tell } from "../../components/toasts";
import { isReason } from "../../errors";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { AccountPage } from "./page";
import { Resolve, type Resolution } from "./resolve";

const texts = accountTexts.deletion;

/** Deletes the account, after telling exactly what that means. */
export function Page() {
  const preview = useQuery(UserService.method.previewDeleteMe, {}, { staleTime: Infinity, gcTime: 0 });
  const me = useQuery(UserService.method.getMe, {});
  const failed = [preview, me].find(({ error }) => error);
  return (
    <AccountPage title={texts.title} text={texts.text}>
      {failed ? (
        <Failure error={failed.error} retry={() => void failed.refetch()} />
      ) : !preview.data || !me.data ? (
        <Waiting />
      ) : (
        <Deletion preview={preview.data} email={me.data.user!.email} />
      )}
    </AccountPage>
  );
}

/** Asks what becomes of workspaces, and deletes what is shown: if that is something else by then, it shows it again. */
function Deletion({ preview, email }: { preview: PreviewDeleteMeResponse; email: string }) {
  const [resolutions, setResolutions] = useState<Record<string, Resolution>>({});
  const [asking, setAsking] = useState(false);
  const { mutateAsync } = useMutation(UserService.method.deleteMe, { onSuccess: () => undefined });
  const chosen = preview.soleOwnedWorkspaces.flatMap(({ workspaceId }) => {
    const resolution = resolutions[workspaceId];
    return resolution ? [{ workspaceId, resolution }] : [];
  });
  const deleted = preview.soleOwnedWorkspaces.filter(({ workspaceId }) => resolutions[workspaceId]?.case === "delete");
  const unresolved = chosen.length < preview.soleOwnedWorkspaces.length;
  const act = async () => {
    try {
      await mutateAsync({ etag: preview.etag, resolutions: chosen });
    } catch (error) {
      if (isReason(error, "ETAG_MISMATCH")) {
        await queryClient.invalidateQueries();
      }
      throw error;
    }
    tell(texts.deleted);
    await queryClient.resetQueries(); // There is no session any more: the page that comes next says so.
  };
  return (
    <>
      <Section title={texts.what}>
        <Deleted preview={preview} />
      </Section>
      {preview.soleOwnedWorkspaces.length > 0 && (
        <Section title={texts.workspaces}>
          <Text size="sm" c="dimmed" mb="md">
            {texts.workspacesText}
          </Text>
          <Stack>
            {preview.soleOwnedWorkspaces.map((workspace) => (
              <Paper key={workspace.workspaceId} withBorder p="md">
                <Resolve
                  workspace={workspace}
                  resolution={resolutions[workspace.workspaceId]}
                  choose={(resolution) => setResolutions(({ [workspace.workspaceId]: _, ...others }) => (resolution ? { ...others, [workspace.workspaceId]: resolution } : others))}
                />
              </Paper>
            ))}
          </Stack>
        </Section>
      )}
      <div>
        <Button color="red" disabled={unresolved} onClick={() => setAsking(true)}>
          {texts.submit}
        </Button>
      </div>
      {asking && (
        <Confirm title={texts.confirmTitle} action={texts.submit} typed={email} disabled={unresolved} act={act} close={() => setAsking(false)}>
          <Text size="sm" mb="xs">
            {texts.confirmText}
          </Text>
          <Deleted preview={preview} />
          {deleted.length > 0 && (
            <Text size="sm" fw={500} mt="xs">
              {fill(texts.confirmWorkspaces, { names: deleted.map(({ workspaceName }) => workspaceName).join(", ") })}
            </Text>
          )}
        </Confirm>
      )}
    </>
  );
}

function Deleted({ preview: { membershipCount, sessionCount, apiKeyCount } }: { preview: PreviewDeleteMeResponse }) {
  return (
    <List size="sm">
      <List.Item>{texts.user}</List.Item>
      <List.Item>{fill(texts.memberships, { count: membershipCount })}</List.Item>
      <List.Item>{fill(texts.sessions, { count: sessionCount })}</List.Item>
      <List.Item>{fill(texts.keys, { count: apiKeyCount })}</List.Item>
    </List>
  );
}
