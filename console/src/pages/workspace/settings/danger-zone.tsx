import { useQuery } from "@connectrpc/connect-query";
import { Button, Group, List, Stack, Text, Title } from "@mantine/core";
import "@mantine/core/styles/List.css";
import { useState } from "react";
import { useNavigate } from "react-router";
import { UserService } from "@gen/identity/v1/user_pb";
import { WorkspaceService, WorkspaceState, type AffectedUser, type PreviewDeleteWorkspaceResponse } from "@gen/tenant/v1/workspace_pb";
import { call, queryClient } from "../../../api";
import { Confirm } from "../../../components/confirm";
import { Dialog } from "../../../components/dialog";
import { Section } from "../../../components/section";
import { Failure, Waiting } from "../../../components/states";
import { tell } from "../../../components/toasts";
import { isReason } from "../../../errors";
import { count, moment, plural } from "../../../format";
import { fill } from "../../../texts";
import { settingsTexts as texts } from "../../../texts/settings";
import { useWorkspace } from "../../../workspace";

/** The deletion of the workspace; of a deleted one its removal for good. */
export function DangerZone() {
  const { workspace } = useWorkspace();
  const [asking, setAsking] = useState(false);
  const deleted = workspace.state === WorkspaceState.DELETED;
  const about = deleted ? texts.purge : texts.deletion;
  return (
    <Section title={texts.danger} danger>
      <Group justify="space-between">
        <Text size="sm" flex="1 1 280px">
          {fill(about.text, { time: workspace.purgeTime ? moment(workspace.purgeTime) : "" })}
        </Text>
        <Button color="red" variant={deleted ? "filled" : "light"} onClick={() => setAsking(true)}>
          {about.button}
        </Button>
      </Group>
      {asking && <Ask deleted={deleted} close={() => setAsking(false)} />}
    </Section>
  );
}

/** Shows exactly what the deletion removes, and deletes that: if it is something else by then, it shows it again. */
function Ask({ deleted, close }: { deleted: boolean; close: () => void }) {
  const { workspace } = useWorkspace();
  const navigate = useNavigate();
  const { data, error, refetch } = useQuery(WorkspaceService.method.previewDeleteWorkspace, { workspaceId: workspace.id }, { staleTime: Infinity, gcTime: 0 });
  const title = fill(deleted ? texts.purge.title : texts.deletion.title, { name: workspace.name });
  if (error || !data) {
    return (
      <Dialog title={title} close={close} size="lg">
        {error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />}
      </Dialog>
    );
  }
  const act = async () => {
    const request = { workspaceId: workspace.id, etag: data.etag };
    try {
      if (deleted) {
        await call(WorkspaceService.method.purgeWorkspace, request);
        await navigate("/", { replace: true });
      } else {
        await call(WorkspaceService.method.deleteWorkspace, request);
      }
    } catch (failure) {
      if (isReason(failure, "ETAG_MISMATCH")) {
        await refetch();
      }
      throw failure;
    }
    tell(deleted ? texts.purge.done : texts.deletion.done);
    // Who has deleted all they had is asked what to do next; who was removed signs in again.
    await queryClient.resetQueries();
  };
  return (
    <Confirm title={title} action={deleted ? texts.purge.button : texts.deletion.confirm} typed={workspace.name} size="lg" act={act} close={close}>
      <Preview preview={data} deleted={deleted} />
    </Confirm>
  );
}

function Preview({ preview, deleted }: { preview: PreviewDeleteWorkspaceResponse; deleted: boolean }) {
  const t = texts.deletion;
  const { deletedUserCount, deletedUsers, remainingUserCount, remainingUsers, purgeTime, subscriptionEndTime, openInvoiceCount } = preview;
  const counts = (Object.keys(t.counts) as (keyof typeof t.counts)[]).filter((name) => preview[name] > 0);
  return (
    <Stack gap="sm">
      <Text size="sm">{deleted ? texts.purge.until : fill(t.until, { time: purgeTime ? moment(purgeTime) : "" })}</Text>
      {deletedUserCount === 0 ? (
        <Text size="sm" fw={600}>
          {t.noOne}
        </Text>
      ) : (
        <People text={plural(t.deleted, deletedUserCount)} all={deletedUserCount} users={deletedUsers} />
      )}
      {remainingUserCount > 0 && <People text={plural(t.remaining, remainingUserCount)} all={remainingUserCount} users={remainingUsers} />}
      <div>
        <Title order={3} size="h6">
          {t.also}
        </Title>
        <List size="sm">
          {counts.map((name) => (
            <List.Item key={name}>
              {t.counts[name]}: {count(preview[name])}
            </List.Item>
          ))}
        </List>
      </div>
      <div>
        <Title order={3} size="h6">
          {t.money}
        </Title>
        <Text size="sm">{subscriptionEndTime ? fill(t.moneyUntil, { time: moment(subscriptionEndTime) }) : t.moneyNothing}</Text>
        {openInvoiceCount > 0 && <Text size="sm">{plural(t.moneyOpen, openInvoiceCount)}</Text>}
      </div>
    </Stack>
  );
}

function People({ text, all, users }: { text: string; all: number; users: AffectedUser[] }) {
  const me = useQuery(UserService.method.getMe, {});
  const shown = users.slice(0, 10);
  return (
    <div>
      <Text size="sm" fw={600}>
        {text}
      </Text>
      <List size="sm">
        {shown.map(({ userId, displayName, email }) => (
          <List.Item key={userId}>
            {displayName ? `${displayName}, ${email}` : email} {userId === me.data?.user?.id && `(${texts.deletion.you})`}
          </List.Item>
        ))}
        {all > shown.length && <List.Item>{fill(texts.deletion.andMore, { count: count(all - shown.length) })}</List.Item>}
      </List>
    </div>
  );
}
