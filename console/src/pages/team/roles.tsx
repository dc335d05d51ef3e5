import "@mantine/core/styles/Table.css";
import { useMutation, useQuery } from "@connectrpc/connect-query";
import { ActionIcon, Badge, Button, Card, Group, SimpleGrid, Stack, Table, Text, Title, VisuallyHidden } from "@mantine/core";
import { IconCheck, IconPencil, IconPlus, IconTrash } from "@tabler/icons-react";
import { Fragment, useState } from "react";
import { Link } from "react-router";
import { RoleService, type Permission, type Role } from "@gen/team/v1/role_pb";
import { Confirm } from "../../components/confirm";
import { Heading } from "../../components/heading";
import { Failure, Waiting } from "../../components/states";
import { tell } from "../../components/toasts";
import { plural } from "../../format";
import { builtInName, RoleSelect, useRoles } from "../../roles";
import { fill } from "../../texts";
import { teamTexts } from "../../texts/team";
import { workspaceTexts } from "../../texts/workspace";
import { useWorkspace } from "../../workspace";
import { byResource } from "./permissions";

/** The workspace's roles, and what each may do. */
export function Page() {
  const { workspace, may } = useWorkspace();
  const roles = useQuery(RoleService.method.listRoles, { workspaceId: workspace.id }, { enabled: may("role.list"), refetchOnMount: "always" });
  const permissions = useQuery(RoleService.method.listPermissions, {}, { staleTime: Infinity });
  const [removed, remove] = useState<Role>();
  if (!may("role.list")) {
    return <Failure text={teamTexts.may.forbidden} />;
  }
  const failed = [roles, permissions].find(({ data, error }) => !data && error);
  if (failed) {
    return <Failure error={failed.error} retry={() => void failed.refetch()} />;
  }
  if (!roles.data || !permissions.data) {
    return <Waiting />;
  }
  const all = permissions.data.permissions;
  return (
    <>
      <Heading title={workspaceTexts.team.roles} text={teamTexts.roles.text}>
        {may("role.manage") && (
          <Button component={Link} to={`/w/${workspace.slug}/roles/new`} leftSection={<IconPlus size={16} aria-hidden />}>
            {teamTexts.roles.create}
          </Button>
        )}
      </Heading>
      <SimpleGrid cols={{ base: 1, sm: 2 }} mb="xl">
        {roles.data.roles.map((role) => (
          <One key={role.id} role={role} of={all.length} remove={() => remove(role)} />
        ))}
      </SimpleGrid>
      <Title order={2} size="h4" mb="xs" id="grid">
        {teamTexts.roles.grid}
      </Title>
      <Grid roles={roles.data.roles} permissions={all} />
      {removed && <Remove role={removed} close={() => remove(undefined)} />}
    </>
  );
}

function One({ role, of, remove }: { role: Role; of: number; remove: () => void }) {
  const { workspace, may } = useWorkspace();
  const { mayGive } = useRoles();
  const name = builtInName(role.id) ?? role.name;
  return (
    <Card withBorder component="section" aria-label={name}>
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <div style={{ minWidth: 0 }}>
          <Group gap="xs">
            <Text fw={600}>{name}</Text>
            <Badge size="sm" variant={role.builtIn ? "default" : "light"}>
              {role.builtIn ? teamTexts.roles.builtIn : teamTexts.roles.custom}
            </Badge>
          </Group>
          <Text size="sm" c="dimmed" style={{ overflowWrap: "anywhere" }}>
            {role.builtIn ? (teamTexts.roles.descriptions as Partial<Record<string, string>>)[role.id] : role.description}
          </Text>
          <Text size="sm" c="dimmed">
            {fill(teamTexts.roles.count, { count: role.permissions.length, all: of })}
          </Text>
        </div>
        {!role.builtIn && may("role.manage") && mayGive(role.id) && (
          <Group gap={4} wrap="nowrap">
            <ActionIcon component={Link} to={`/w/${workspace.slug}/roles/${role.id}`} variant="subtle" color="gray" size="lg" aria-label={fill(teamTexts.roles.edit, { name })}>
              <IconPencil size={18} aria-hidden />
            </ActionIcon>
            <ActionIcon variant="subtle" color="gray" size="lg" aria-label={fill(teamTexts.roles.remove, { name })} onClick={remove}>
              <IconTrash size={18} aria-hidden />
            </ActionIcon>
          </Group>
        )}
      </Group>
    </Card>
  );
}

// On a phone, the built-in roles fit beside each other.
const narrow = { px: { base: 2, sm: "xs" }, fz: { base: "xs", sm: "sm" } } as const;
// What a row is about stays in sight while the roles are scrolled.
const fixed = { position: "sticky", left: 0, background: "var(--mantine-color-body)" } as const;

/** Which permission which role holds. */
function Grid({ roles, permissions }: { roles: Role[]; permissions: Permission[] }) {
  return (
    <Table.ScrollContainer minWidth={0} type="native" tabIndex={0} role="region" aria-labelledby="grid" pos="relative">
      <Table aria-labelledby="grid" verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th miw={{ base: 102, sm: 170 }} {...narrow} style={fixed}>{teamTexts.roles.permission}</Table.Th>
            {roles.map(({ id, name }) => (
              <Table.Th key={id} ta="center" miw={{ base: 60, sm: 84 }} w={{ base: 60, sm: 100 }} {...narrow} style={{ overflowWrap: "anywhere" }}>
                {builtInName(id) ?? name}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {byResource(permissions).map(([resource, ones]) => (
            <Fragment key={resource}>
              <Table.Tr>
                <Table.Th colSpan={roles.length + 1} scope="rowgroup" fw={600} pt="md" px={narrow.px}>
                  {(teamTexts.resources as Partial<Record<string, string>>)[resource] ?? resource}
                </Table.Th>
              </Table.Tr>
              {ones.map(({ name, description }) => (
                <Table.Tr key={name}>
                  <Table.Th scope="row" fw={400} {...narrow} style={fixed}>
                    {description}
                  </Table.Th>
                  {roles.map(({ id, permissions }) => (
                    <Table.Td key={id} ta="center">
                      {permissions.includes(name) ? <IconCheck size={18} aria-label={teamTexts.roles.held} role="img" /> : <VisuallyHidden>{teamTexts.roles.notHeld}</VisuallyHidden>}
                    </Table.Td>
                  ))}
                </Table.Tr>
              ))}
            </Fragment>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Remove({ role: { id, name }, close }: { role: Role; close: () => void }) {
  const { workspace } = useWorkspace();
  const roles = useRoles();
  const [chosen, setReplacement] = useState<string>();
  const replacementRole = chosen ?? (roles.usual === id ? "viewer" : roles.usual);
  const { mutateAsync } = useMutation(RoleService.method.deleteRole);
  return (
    <Confirm
      title={fill(teamTexts.roles.removeTitle, { name })}
      action={fill(teamTexts.roles.remove, { name })}
      act={() =>
        mutateAsync({ workspaceId: workspace.id, roleId: id, replacementRole }).then(({ replacedCount }) =>
          tell(replacedCount > 0 ? plural(teamTexts.roles.replaced, replacedCount, { name }) : fill(teamTexts.roles.isRemoved, { name })),
        )
      }
      close={close}
    >
      <Stack>
        <Text size="sm">{teamTexts.roles.removeText}</Text>
        <RoleSelect roles={roles} value={replacementRole} change={setReplacement} but={["owner", id]} label={teamTexts.roles.replacement} />
      </Stack>
    </Confirm>
  );
}
