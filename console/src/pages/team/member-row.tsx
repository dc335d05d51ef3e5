import { useMutation } from "@connectrpc/connect-query";
import { ActionIcon, Avatar, Badge, Group, Menu, NativeSelect, Table, Text } from "@mantine/core";
import { IconDots } from "@tabler/icons-react";
import { memo, useState } from "react";
import { MembershipService, MembershipState, type Membership } from "@gen/team/v1/membership_pb";
import { day } from "../../components/time";
import { tell, tellFailure } from "../../components/toasts";
import { guarded } from "../../reauthentication";
import { type Roles } from "../../roles";
import { fill } from "../../texts";
import { teamTexts } from "../../texts/team";
import { useWorkspace } from "../../workspace";
import { nameOf, putMember, type Asked } from "./member-questions";

/** How high a row is, whatever is in it. */
export const rowHeight = 60;

/** One member, with what the person may do about them. */
export const MemberRow = memo(function MemberRow({
  member,
  index,
  self,
  roles,
  ask,
}: {
  member: Membership;
  index: number;
  self: boolean;
  roles: Roles;
  ask: (what: Asked["what"], member: Membership) => void;
}) {
  const { may } = useWorkspace();
  const deactivated = member.state === MembershipState.DEACTIVATED;
  const changeable = roles.mayGive(member.role) && !self;
  const { mutateAsync: reactivate } = useMutation(MembershipService.method.reactivateMembership, { onSuccess: ({ membership }) => putMember(membership!) });
  const name = nameOf(member);
  const question = (what: Asked["what"], label: string) => ({ label, red: what !== "transfer", act: () => ask(what, member) });
  const again = {
    label: teamTexts.members.reactivate,
    red: false,
    act: () =>
      void reactivate({ workspaceId: member.workspaceId, membershipId: member.id }).then(
        () => tell(fill(teamTexts.members.isReactivated, { name })),
        tellFailure,
      ),
  };
  const actions = [
    ...(self ? [question("leave", teamTexts.members.leave)] : []),
    ...(may("workspace.transfer") && !self && !deactivated ? [question("transfer", teamTexts.members.transfer)] : []),
    ...(may("membership.update") && changeable ? [deactivated ? again : question("deactivate", teamTexts.members.deactivate)] : []),
    ...(may("membership.remove") && changeable ? [question("remove", teamTexts.members.remove)] : []),
  ];
  return (
    <Table.Tr h={rowHeight} aria-rowindex={index + 2}>
      <Table.Td>
        <Group gap="sm" wrap="nowrap" opacity={deactivated ? 0.75 : 1}>
          <Avatar name={name} color="indigo" radius="xl" size={36} visibleFrom="xs" aria-hidden />
          <div style={{ minWidth: 0 }}>
            <Group gap={6} wrap="nowrap">
              <Text size="sm" fw={500} truncate>
                {name}
              </Text>
              {self && (
                <Badge size="xs" variant="default" style={{ flexShrink: 0 }}>
                  {teamTexts.members.you}
                </Badge>
              )}
              {deactivated && (
                <Badge size="xs" variant="default" style={{ flexShrink: 0 }}>
                  {teamTexts.members.deactivated}
                </Badge>
              )}
            </Group>
            <Text size="xs" c="dimmed" truncate>
              {member.email}
            </Text>
          </div>
        </Group>
      </Table.Td>
      <Table.Td visibleFrom="md">
        <Text size="sm" c="dimmed">
          {day(member.createTime!)}
        </Text>
      </Table.Td>
      <Table.Td>{may("membership.update") && changeable ? <RoleOf member={member} roles={roles} /> : <Text size="sm">{roles.nameOf(member.role)}</Text>}</Table.Td>
      <Table.Td>
        {actions.length > 0 && (
          <Menu shadow="md" position="bottom-end">
            <Menu.Target>
              <ActionIcon variant="subtle" color="gray" aria-label={fill(teamTexts.members.actionsFor, { name })}>
                <IconDots size={18} aria-hidden />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              {actions.map(({ label, red, act }) => (
                <Menu.Item key={label} {...(red && { color: "red" })} onClick={act}>
                  {label}
                </Menu.Item>
              ))}
            </Menu.Dropdown>
          </Menu>
        )}
      </Table.Td>
    </Table.Tr>
  );
});

/** The role of a member, to be changed: the new one is shown at once, and the one before again if the server refuses. */
function RoleOf({ member, roles }: { member: Membership; roles: Roles }) {
  const [wanted, setWanted] = useState<string>();
  const update = useMutation(MembershipService.method.updateMembership, { onSuccess: ({ membership }) => putMember(membership!) });
  const name = nameOf(member);
  const change = async (role: string) => {
    setWanted(role);
    try {
      await guarded(() => update.mutateAsync({ workspaceId: member.workspaceId, membershipId: member.id, role, etag: member.etag }));
      tell(fill(teamTexts.members.roleChanged, { name, role: roles.nameOf(role) }));
    } catch (error) {
      tellFailure(error);
    } finally {
      setWanted(undefined);
    }
  };
  return (
    <NativeSelect
      size="xs"
      aria-label={fill(teamTexts.members.roleOf, { name })}
      value={wanted ?? member.role}
      disabled={wanted !== undefined}
      onChange={({ currentTarget }) => void change(currentTarget.value)}
      data={roles.ids.filter((id) => roles.mayGive(id)).map((id) => ({ value: id, label: roles.nameOf(id) }))}
    />
  );
}
