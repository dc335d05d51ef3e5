import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, Divider, Group, Stack, Text } from "@mantine/core";
import { Link } from "react-router";
import { InvitationService } from "@gen/team/v1/invitation_pb";
import { JoinRequestService } from "@gen/team/v1/join_request_pb";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { Card } from "../components/card";
import { CreateWorkspace } from "../components/create-workspace";
import { tellFailure } from "../components/toasts";
import { useEnter } from "../session";
import { signOut } from "../sign-out";
import { texts } from "../texts";
import { startTexts } from "../texts/start";
import { useWorkspaces } from "../workspaces";

/** For who belongs to no workspace: what they are invited to, can join, or create; and what they deleted. */
export function Page() {
  const enter = useEnter();
  const invitations = useQuery(InvitationService.method.listReceivedInvitations, {});
  const joinable = useQuery(JoinRequestService.method.listJoinableWorkspaces, {});
  const accept = useMutation(InvitationService.method.acceptInvitation);
  const decline = useMutation(InvitationService.method.declineInvitation);
  const ask = useMutation(JoinRequestService.method.createJoinRequest);
  const deleted = useWorkspaces({ showDeleted: true });
  const restorable = deleted.data?.filter(({ role }) => role === "owner") ?? [];
  const restore = useMutation(WorkspaceService.method.undeleteWorkspace);
  const refused = { onError: tellFailure };
  return (
    <Card title={startTexts.setup.title} text={startTexts.setup.text}>
      {invitations.data && invitations.data.invitations.length > 0 && (
        <Stack component="section" gap="xs" aria-label={startTexts.setup.invitations}>
          <Text fw={600}>{startTexts.setup.invitations}</Text>
          {invitations.data.invitations.map(({ id, workspaceName, inviterName }) => (
            <Group key={id} justify="space-between" wrap="nowrap">
              <div>
                <Text size="sm">{workspaceName}</Text>
                <Text size="xs" c="dimmed">
                  {inviterName}
                </Text>
              </div>
              <Group gap="xs" wrap="nowrap">
                <Button size="xs" onClick={() => void accept.mutateAsync({ invitationId: id }).then(() => enter("/"), tellFailure)}>
                  {startTexts.setup.accept}
                </Button>
                <Button size="xs" variant="default" onClick={() => decline.mutate({ invitationId: id }, refused)}>
                  {startTexts.setup.decline}
                </Button>
              </Group>
            </Group>
          ))}
          <Divider my="xs" />
        </Stack>
      )}
      {joinable.data && joinable.data.workspaces.length > 0 && (
        <Stack component="section" gap="xs" aria-label={startTexts.setup.joinable}>
          <Text fw={600}>{startTexts.setup.joinable}</Text>
          {joinable.data.workspaces.map(({ workspaceId, workspaceName, joinRequest }) => (
            <Group key={workspaceId} justify="space-between">
              <Text size="sm">{workspaceName}</Text>
              {joinRequest ? (
                <Text size="sm" c="dimmed">
                  {startTexts.setup.asked}
                </Text>
              ) : (
                <Button size="xs" variant="default" onClick={() => ask.mutate({ workspaceId }, refused)}>
                  {startTexts.setup.ask}
                </Button>
              )}
            </Group>
          ))}
          <Divider my="xs" />
        </Stack>
      )}
      {restorable.length > 0 && (
        <Stack component="section" gap="xs" aria-label={startTexts.setup.deleted}>
          <Text fw={600}>{startTexts.setup.deleted}</Text>
          {restorable.map(({ workspace }) => (
            <Group key={workspace!.id} justify="space-between" wrap="nowrap">
              <Text size="sm">{workspace!.name}</Text>
              <Button
                size="xs"
                variant="default"
                onClick={() => void restore.mutateAsync({ workspaceId: workspace!.id }).then(() => enter(`/w/${workspace!.slug}`), tellFailure)}
              >
                {startTexts.setup.restore}
              </Button>
            </Group>
          ))}
          <Divider my="xs" />
        </Stack>
      )}
      <CreateWorkspace label={startTexts.setup.create} />
      <Group justify="space-between">
        <Button component={Link} to="/account" variant="subtle" size="xs">
          {startTexts.setup.account}
        </Button>
        <Button
          variant="subtle"
          size="xs"
          onClick={() => void signOut()}
        >
          {texts.common.signOut}
        </Button>
      </Group>
    </Card>
  );
}
