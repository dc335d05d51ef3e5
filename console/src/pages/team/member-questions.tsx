import { useMutation } from "@connectrpc/connect-query";
import { Stack, Text } from "@mantine/core";
import type { InfiniteData } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate } from "react-router";
import { MembershipService, type ListMembershipsResponse, type Membership } from "@gen/team/v1/membership_pb";
import { queryClient } from "../../api";
import { Confirm } from "../../components/confirm";
import { tell } from "../../components/toasts";
import { RoleSelect, type Roles } from "../../roles";
import { fill } from "../../texts";
import { teamTexts } from "../../texts/team";
import { useWorkspace } from "../../workspace";

/** What is asked about a member. */
export interface Asked {
  what: "deactivate" | "remove" | "transfer" | "leave";
  member: Membership;
}

/** What to call a member. */
export function nameOf({ displayName, email }: Membership): string {
  return displayName === "" ? email : displayName;
}

/** Asks, does it, and shows what has become of it. */
export function Ask({ what, member, roles, close }: Asked & { roles: Roles; close: () => void }) {
  const { workspace } = useWorkspace();
  const navigate = useNavigate();
  const [ownRole, setOwnRole] = useState("admin");
  const deactivate = useMutation(MembershipService.method.deactivateMembership, { onSuccess: ({ membership }) => putMember(membership!) });
  const remove = useMutation(MembershipService.method.removeMembership, { onSuccess: () => dropMember(member) });
  const transfer = useMutation(MembershipService.method.transferOwnership);
  const leave = useMutation(MembershipService.method.leaveWorkspace, { onSuccess: () => undefined });
  const name = nameOf(member);
  const one = { workspaceId: workspace.id, membershipId: member.id };
  switch (what) {
    case "deactivate":
      return (
        <Confirm
          title={fill(teamTexts.members.deactivateTitle, { name })}
          action={teamTexts.members.deactivate}
          act={() => deactivate.mutateAsync(one).then(() => tell(fill(teamTexts.members.isDeactivated, { name })))}
          close={close}
        >
          <Text size="sm">{teamTexts.members.deactivateText}</Text>
        </Confirm>
      );
    case "remove":
      return (
        <Confirm
          title={fill(teamTexts.members.removeTitle, { name })}
          action={teamTexts.members.remove}
          act={() => remove.mutateAsync(one).then(() => tell(fill(teamTexts.members.isRemoved, { name })))}
          close={close}
        >
          <Text size="sm">{teamTexts.members.removeText}</Text>
        </Confirm>
      );
    case "transfer":
      return (
        <Confirm
          title={fill(teamTexts.members.transferTitle, { name })}
          action={teamTexts.members.transfer}
          act={() => transfer.mutateAsync({ ...one, ownRole }).then(() => tell(fill(teamTexts.members.isTransferred, { name })))}
          close={close}
        >
          <Stack>
            <Text size="sm">{teamTexts.members.transferText}</Text>
            <RoleSelect roles={roles} value={ownRole} change={setOwnRole} but={["owner"]} label={teamTexts.members.ownRole} />
          </Stack>
        </Confirm>
      );
    case "leave":
      return (
        <Confirm
          title={fill(teamTexts.members.leaveTitle, { name: workspace.name })}
          action={teamTexts.members.leave}
          act={async () => {
            await leave.mutateAsync({ workspaceId: workspace.id });
            tell(fill(teamTexts.members.left, { name: workspace.name }));
            await queryClient.resetQueries(); // What is next depends on what is left.
            await navigate("/");
          }}
          close={close}
        >
          <Text size="sm">{teamTexts.members.leaveText}</Text>
        </Confirm>
      );
  }
}

/** Puts what has become of a member in its place, since a list of many pages is long to read anew. */
export function putMember(member: Membership): Promise<void> {
  return changeLists((members) => members.map((one) => (one.id === member.id ? member : one)));
}

/** Reads the list anew, when somebody else has changed a member. */
export function readMembers(): Promise<void> {
  return queryClient.invalidateQueries({ predicate: isList });
}

function dropMember({ id }: Membership): Promise<void> {
  return changeLists((members) => members.filter((one) => one.id !== id));
}

function isList({ queryKey: [, about] }: { queryKey: readonly unknown[] }): boolean {
  return (about as { methodName?: string } | undefined)?.methodName === "ListMemberships";
}

/** Changes the lists that were read; all else is read anew, as after any change. */
function changeLists(change: (members: Membership[]) => Membership[]): Promise<void> {
  queryClient.setQueriesData<InfiniteData<ListMembershipsResponse>>(
    { predicate: isList, type: "active" },
    (lists) =>
      lists && {
        ...lists,
        pages: lists.pages.map((page) => ({ ...page, memberships: change(page.memberships) })),
      },
  );
  queryClient.removeQueries({ predicate: isList, type: "inactive" });
  return queryClient.invalidateQueries({ predicate: (query) => !isList(query) });
}
