import { useInfiniteQuery, useMutation } from "@connectrpc/connect-query";
import { Badge, Button, Card, Group, NativeSelect, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { JoinRequestService, JoinRequestState, type JoinRequest } from "@gen/team/v1/join_request_pb";
import { Confirm } from "../../components/confirm";
import { Heading } from "../../components/heading";
import { More } from "../../components/more";
import { Empty, Failure, Waiting } from "../../components/states";
import { moment } from "../../components/time";
import { tell, tellFailure } from "../../components/toasts";
import { guarded } from "../../reauthentication";
import { RoleSelect, useRoles, type Roles } from "../../roles";
import { fill } from "../../texts";
import { teamTexts } from "../../texts/team";
import { workspaceTexts } from "../../texts/workspace";
import { useWorkspace } from "../../workspace";

const states = [JoinRequestState.PENDING, JoinRequestState.APPROVED, JoinRequestState.REJECTED];

/** Who asks to join the workspace. */
export function Page() {
  const { workspace, may } = useWorkspace();
  const roles = useRoles();
  const [state, setState] = useState(JoinRequestState.PENDING);
  const [declined, decline] = useState<JoinRequest>();
  const query = useInfiniteQuery(
    JoinRequestService.method.listJoinRequests,
    { workspaceId: workspace.id, pageToken: "", state },
    { enabled: may("join_request.list"), pageParamKey: "pageToken", getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  if (!may("join_request.list")) {
    return <Failure text={teamTexts.may.forbidden} />;
  }
  const requests = query.data?.pages.flatMap(({ joinRequests }) => joinRequests);
  return (
    <>
      <Heading title={workspaceTexts.team.joinRequests} text={teamTexts.joinRequests.text}>
        <NativeSelect
          size="xs"
          aria-label={teamTexts.joinRequests.filterState}
          value={state}
          onChange={({ currentTarget }) => setState(Number(currentTarget.value))}
          data={[...states.map((state) => ({ value: String(state), label: teamTexts.joinRequests.states[state] })), { value: "0", label: teamTexts.joinRequests.anyState }]}
        />
      </Heading>
      {requests === undefined && (query.error ? <Failure error={query.error} retry={() => void query.refetch()} /> : <Waiting />)}
      {requests?.length === 0 && <Empty title={teamTexts.joinRequests.none}>{state === JoinRequestState.PENDING && <Text size="sm">{teamTexts.joinRequests.noneText}</Text>}</Empty>}
      <Stack>
        {requests?.map((request) => <One key={request.id} request={request} roles={roles} decline={() => decline(request)} />)}
      </Stack>
      <More query={query} />
      {declined && <Decline request={declined} close={() => decline(undefined)} />}
    </>
  );
}

function One({ request, roles, decline }: { request: JoinRequest; roles: Roles; decline: () => void }) {
  const { may } = useWorkspace();
  const [chosen, setRole] = useState<string>();
  const role = chosen ?? roles.usual;
  const approve = useMutation(JoinRequestService.method.approveJoinRequest);
  const { id, workspaceId, email, message, state, createTime } = request;
  const name = request.displayName || email;
  return (
    <Card withBorder component="article" aria-label={name}>
      <Group justify="space-between" gap="sm">
        <div style={{ minWidth: 0, overflowWrap: "anywhere" }}>
          <Text fw={500}>{name}</Text>
          <Text size="sm" c="dimmed">
            {email}
          </Text>
          {message && (
            <Text size="sm" mt={4}>
              “{message}”
            </Text>
          )}
          <Text size="xs" c="dimmed" mt={4}>
            {fill(teamTexts.joinRequests.asked, { time: moment(createTime!) })}
          </Text>
        </div>
        {state === JoinRequestState.PENDING && may("join_request.review") ? (
          <Group gap="sm">
            <RoleSelect roles={roles} value={role} change={setRole} aria-label={fill(teamTexts.joinRequests.roleFor, { name })} />
            <Button
              loading={approve.isPending}
              aria-label={fill(teamTexts.joinRequests.approveLabel, { name })}
              onClick={() =>
                void guarded(() => approve.mutateAsync({ workspaceId, joinRequestId: id, role })).then(
                  () => tell(fill(teamTexts.joinRequests.isApproved, { name })),
                  tellFailure,
                )
              }
            >
              {teamTexts.joinRequests.approve}
            </Button>
            <Button variant="default" aria-label={fill(teamTexts.joinRequests.declineLabel, { name })} onClick={decline}>
              {teamTexts.joinRequests.decline}
            </Button>
          </Group>
        ) : (
          <Badge variant="default">{teamTexts.joinRequests.states[state]}</Badge>
        )}
      </Group>
    </Card>
  );
}

function Decline({ request: { id, workspaceId, displayName, email }, close }: { request: JoinRequest; close: () => void }) {
  const { mutateAsync } = useMutation(JoinRequestService.method.rejectJoinRequest);
  return (
    <Confirm
      title={fill(teamTexts.joinRequests.declineTitle, { name: displayName || email })}
      action={teamTexts.joinRequests.decline}
      act={() => mutateAsync({ workspaceId, joinRequestId: id }).then(() => tell(teamTexts.joinRequests.isDeclined))}
      close={close}
    >
      <Text size="sm">{teamTexts.joinRequests.declineText}</Text>
    </Confirm>
  );
}
