import "@mantine/core/styles/InlineInput.css";
import "@mantine/core/styles/Checkbox.css";
import { useQuery } from "@connectrpc/connect-query";
import { Anchor, Button, Card, Checkbox, Group, NativeSelect, SimpleGrid, Stack, Text, Textarea, TextInput, Title } from "@mantine/core";
import { Link, useNavigate, useParams } from "react-router";
import { RoleService, type Permission, type Role } from "@gen/team/v1/role_pb";
import { Heading } from "../../components/heading";
import { useForm } from "../../components/form";
import { Failure, Waiting } from "../../components/states";
import { tell } from "../../components/toasts";
import { plural } from "../../format";
import { builtInName } from "../../roles";
import { fill, texts } from "../../texts";
import { teamTexts } from "../../texts/team";
import { useWorkspace } from "../../workspace";
import { byResource } from "./permissions";

/** Makes a custom role, or changes the one that the path names. */
export function Page() {
  const { workspace, may } = useWorkspace();
  const { role: id } = useParams();
  // What is edited is read anew, so that its etag is the present one.
  const roles = useQuery(RoleService.method.listRoles, { workspaceId: workspace.id }, { enabled: may("role.manage"), refetchOnMount: "always" });
  const permissions = useQuery(RoleService.method.listPermissions, {}, { staleTime: Infinity });
  if (!may("role.manage")) {
    return <Failure text={teamTexts.may.forbidden} />;
  }
  const failed = [roles, permissions].find(({ data, error }) => !data && error);
  if (failed) {
    return <Failure error={failed.error} retry={() => void failed.refetch()} />;
  }
  if (!roles.data || !roles.isFetchedAfterMount || !permissions.data) {
    return <Waiting />;
  }
  const edited = roles.data.roles.find((role) => role.id === id);
  if (id !== undefined && !edited) {
    return <Failure text={texts.common.notFound} />;
  }
  if (edited?.builtIn) {
    return <Failure text={teamTexts.roleEditor.builtIn} />;
  }
  return <Editor key={id} {...(edited && { edited })} roles={roles.data.roles} permissions={permissions.data.permissions} />;
}

function Editor({ edited, roles, permissions }: { edited?: Role; roles: Role[]; permissions: Permission[] }) {
  const { workspace, role: own } = useWorkspace();
  const navigate = useNavigate();
  const done = async ({ role }: { role?: Role | undefined }) => {
    tell(fill(edited ? teamTexts.roleEditor.isSaved : teamTexts.roleEditor.isCreated, { name: role!.name }));
    await navigate(`/w/${workspace.slug}/roles`);
  };
  const creation = useForm(RoleService.method.createRole, { workspaceId: workspace.id, name: "", description: "", permissions: [] }, done);
  const change = useForm(
    RoleService.method.updateRole,
    {
      workspaceId: workspace.id,
      roleId: edited?.id ?? "",
      name: edited?.name ?? "",
      description: edited?.description ?? "",
      permissions: edited?.permissions ?? [],
      updateMask: { paths: ["name", "description", "permissions"] },
      etag: edited?.etag ?? "",
    },
    done,
  );
  const form = edited ? change : creation;
  const chosen = new Set(form.values.permissions);
  const held = new Set(roles.find(({ id }) => id === own)?.permissions);
  const choose = (names: string[], on: boolean) => {
    const kept = [...chosen].filter((name) => !names.includes(name));
    form.set({ permissions: on ? [...kept, ...names] : kept });
  };
  // No custom role holds what is the owners' alone, and nobody gives what they have not.
  const mayChoose = ({ name, leastRole }: Permission) => leastRole !== "owner" && held.has(name);
  return (
    <form onSubmit={(event) => void form.submit(event)} noValidate>
      <Heading title={edited ? fill(teamTexts.roleEditor.editTitle, { name: edited.name }) : teamTexts.roleEditor.createTitle} />
      <Stack>
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <TextInput label={teamTexts.roleEditor.name} maxLength={50} required withAsterisk={false} {...form.field("name")} />
          {!edited && (
            <NativeSelect
              label={teamTexts.roleEditor.from}
              defaultValue=""
              onChange={({ currentTarget }) => {
                const names = roles.find(({ id }) => id === currentTarget.value)?.permissions ?? [];
                form.set({ permissions: permissions.filter((one) => names.includes(one.name) && mayChoose(one)).map(({ name }) => name) });
              }}
              data={[{ value: "", label: teamTexts.roleEditor.nothing }, ...roles.map(({ id, name }) => ({ value: id, label: builtInName(id) ?? name }))]}
            />
          )}
        </SimpleGrid>
        <Textarea label={teamTexts.roleEditor.description} description={teamTexts.roleEditor.descriptionHint} maxLength={500} autosize={false} rows={2} {...form.field("description")} />
        <Group justify="space-between">
          <Title order={2} size="h4">
            {teamTexts.roleEditor.permissions}
          </Title>
          <Text size="sm" c="dimmed" role="status">
            {plural(teamTexts.roleEditor.chosen, chosen.size)}
          </Text>
        </Group>
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          {byResource(permissions).map(([resource, ones]) => {
            const title = (teamTexts.resources as Partial<Record<string, string>>)[resource] ?? resource;
            const free = ones.filter(mayChoose).map(({ name }) => name);
            const count = free.filter((name) => chosen.has(name)).length;
            return (
              <Card withBorder key={resource} component="fieldset" m={0} miw={0}>
                <Stack gap="sm">
                  <Text component="legend" fw={600} size="sm" style={{ float: "left" }}>
                    {title}
                  </Text>
                  {free.length > 1 && (
                    <Checkbox
                      size="sm"
                      label={fill(teamTexts.roleEditor.all, { resource: title })}
                      checked={count === free.length}
                      indeterminate={count > 0 && count < free.length}
                      onChange={({ currentTarget }) => choose(free, currentTarget.checked)}
                    />
                  )}
                  {ones.map((one) => (
                    <Checkbox
                      key={one.name}
                      size="sm"
                      label={one.description}
                      {...(!mayChoose(one) && { description: one.leastRole === "owner" ? teamTexts.roleEditor.ownersOnly : teamTexts.roleEditor.notYours })}
                      disabled={!mayChoose(one)}
                      checked={chosen.has(one.name)}
                      onChange={({ currentTarget }) => choose([one.name], currentTarget.checked)}
                    />
                  ))}
                </Stack>
              </Card>
            );
          })}
        </SimpleGrid>
        {form.failure}
        <Group>
          <Button type="submit" loading={form.pending}>
            {edited ? teamTexts.roleEditor.save : teamTexts.roleEditor.create}
          </Button>
          <Anchor component={Link} to={`/w/${workspace.slug}/roles`} size="sm">
            {texts.common.cancel}
          </Anchor>
        </Group>
      </Stack>
    </form>
  );
}
