import "@mantine/core/styles/Table.css";
import { useInfiniteQuery, useMutation } from "@connectrpc/connect-query";
import { ActionIcon, Button, Group, Menu, NativeSelect, Table, Text, Title } from "@mantine/core";
import { IconDots, IconUserPlus } from "@tabler/icons-react";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { InvitationService, InvitationState, type Invitation } from "@gen/team/v1/invitation_pb";
import { Confirm } from "../../components/confirm";
import { Heading } from "../../components/heading";
import { More } from "../../components/more";
import { Empty, Failure, Waiting } from "../../components/states";
import { day } from "../../components/time";
import { tell, tellFailure } from "../../components/toasts";
import { guarded } from "../../reauthentication";
import { useRoles, type Roles } from "../../roles";
import { fill, texts } from "../../texts";
import { teamTexts } from "../../texts/team";
import { workspaceTexts } from "../../texts/workspace";
import { useWorkspace } from "../../workspace";
import { Links } from "./invitation-links";
import { State } from "./invitation-state";
import { Invite } from "./invite";

/** Who is invited, by mail and by link. With `invite` in the query, the form to invite is open. */
export function Page() {
  const { may } = useWorkspace();
  const roles = useRoles();
  const [search, setSearch] = useSearchParams();
  if (!may("invitation.list")) {
    return <Failure text={teamTexts.may.forbidden} />;
  }
  return (
    <>
      <Heading title={workspaceTexts.team.invitations}>
        {may("invitation.create") && (
          <Button leftSection={<IconUserPlus size={16} aria-hidden />} onClick={() => setSearch({ invite: "" })}>
            {teamTexts.invitations.invite}
          </Button>
        )}
      </Heading>
      <ByMail roles={roles} />
      <Links roles={roles} />
      {search.has("invite") && may("invitation.create") && <Invite roles={roles} close={() => setSearch({}, { replace: true })} />}
    </>
  );
}

const states = [InvitationState.PENDING, InvitationState.ACCEPTED, InvitationState.DECLINED, InvitationState.REVOKED, InvitationState.EXPIRED];

function ByMail({ roles }: { roles: Roles }) {
  const { workspace } = useWorkspace();
  const [state, setState] = useState(InvitationState.UNSPECIFIED);
  const [revoked, revoke] = useState<Invitation>();
  const query = useInfiniteQuery(
    InvitationService.method.listInvitations,
    { workspaceId: workspace.id, pageToken: "", state },
    { pageParamKey: "pageToken", getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  const invitations = query.data?.pages.flatMap(({ invitations }) => invitations);
  return (
    <section aria-labelledby="by-mail">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h4" id="by-mail">
          {teamTexts.invitations.byMail}
        </Title>
        <NativeSelect
          size="xs"
          aria-label={teamTexts.invitations.filterState}
          value={state}
          onChange={({ currentTarget }) => setState(Number(currentTarget.value))}
          data={[{ value: "0", label: teamTexts.invitations.anyState }, ...states.map((state) => ({ value: String(state), label: teamTexts.invitations.states[state] }))]}
        />
      </Group>
      {invitations === undefined && (query.error ? <Failure error={query.error} retry={() => void query.refetch()} /> : <Waiting />)}
      {invitations?.length === 0 && <Empty title={teamTexts.invitations.none}>{state === InvitationState.UNSPECIFIED && <Text size="sm">{teamTexts.invitations.noneText}</Text>}</Empty>}
      {invitations && invitations.length > 0 && (
        <Table.ScrollContainer minWidth={0} type="native">
          <Table verticalSpacing="sm" aria-labelledby="by-mail" style={{ whiteSpace: "nowrap" }}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{teamTexts.invitations.address}</Table.Th>
                <Table.Th visibleFrom="xs">{teamTexts.role.label}</Table.Th>
                <Table.Th>{teamTexts.invitations.state}</Table.Th>
                <Table.Th visibleFrom="md">{teamTexts.invitations.sentOn}</Table.Th>
                <Table.Th visibleFrom="md">{teamTexts.invitations.expires}</Table.Th>
                <Table.Th w={50} aria-label={teamTexts.members.actions} />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {invitations.map((invitation) => (
                <Table.Tr key={invitation.id}>
                  <Table.Td style={{ overflowWrap: "anywhere", whiteSpace: "normal" }}>
                    <Text size="sm">{invitation.email}</Text>
                    <Text size="xs" c="dimmed" hiddenFrom="xs">
                      {roles.nameOf(invitation.role)}
                    </Text>
                  </Table.Td>
                  <Table.Td visibleFrom="xs">{roles.nameOf(invitation.role)}</Table.Td>
                  <Table.Td>
                    <State state={invitation.state} />
                  </Table.Td>
                  <Table.Td visibleFrom="md">{day(invitation.sendTime!)}</Table.Td>
                  <Table.Td visibleFrom="md">{invitation.state === InvitationState.PENDING && day(invitation.expireTime!)}</Table.Td>
                  <Table.Td>
                    <Actions invitation={invitation} roles={roles} revoke={() => revoke(invitation)} />
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      <More query={query} />
      {revoked && <Revoke invitation={revoked} close={() => revoke(undefined)} />}
    </section>
  );
}

function Actions({ invitation: { id, workspaceId, email, role, state }, roles, revoke }: { invitation: Invitation; roles: Roles; revoke: () => void }) {
  const { may } = useWorkspace();
  const { mutateAsync: resend } = useMutation(InvitationService.method.resendInvitation);
  const open = state === InvitationState.PENDING || state === InvitationState.EXPIRED;
  const sendAgain = () =>
    void guarded(() => resend({ workspaceId, invitationId: id })).then(() => tell(fill(teamTexts.invitations.isResent, { email })), tellFailure);
  return (
    <Menu shadow="md" position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={fill(teamTexts.invitations.actionsFor, { name: email })}>
          <IconDots size={18} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => void navigator.clipboard.writeText(email).then(() => tell(texts.common.copied), tellFailure)}>{teamTexts.invitations.copyAddress}</Menu.Item>
        {open && may("invitation.create") && roles.mayGive(role) && <Menu.Item onClick={sendAgain}>{teamTexts.invitations.resend}</Menu.Item>}
        {open && may("invitation.revoke") && roles.mayGive(role) && (
          <Menu.Item color="red" onClick={revoke}>
            {teamTexts.invitations.revoke}
          </Menu.Item>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}

function Revoke({ invitation: { id, workspaceId, email }, close }: { invitation: Invitation; close: () => void }) {
  const { mutateAsync } = useMutation(InvitationService.method.revokeInvitation);
  return (
    <Confirm
      title={fill(teamTexts.invitations.revokeTitle, { name: email })}
      action={teamTexts.invitations.revoke}
      act={() => mutateAsync({ workspaceId, invitationId: id }).then(() => tell(teamTexts.invitations.isRevoked))}
      close={close}
    >
      <Text size="sm">{teamTexts.invitations.revokeText}</Text>
    </Confirm>
  );
}
