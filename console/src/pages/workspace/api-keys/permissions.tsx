import { useQuery } from "@connectrpc/connect-query";
import { Checkbox, Fieldset, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { AuthorizationService } from "@gen/team/v1/authorization_pb";
import { RoleService } from "@gen/team/v1/role_pb";
import { Failure, Waiting } from "../../../components/states";
import { plural } from "../../../format";
import { apiKeysTexts as texts } from "../../../texts/api-keys";
import { useWorkspace } from "../../../workspace";

/** Chooses among the permissions that a key may hold: those that the person holds and owners do not hold alone. */
export function Permissions({ chosen, choose }: { chosen: string[]; choose: (permissions: string[]) => void }) {
  const { workspace } = useWorkspace();
  const [search, setSearch] = useState("");
  const all = useQuery(RoleService.method.listPermissions, {}, { staleTime: Infinity });
  const grantable = (all.data?.permissions ?? []).filter(({ leastRole }) => leastRole !== "owner");
  const held = useQuery(
    AuthorizationService.method.batchCheckPermissions,
    { checks: grantable.map(({ name }) => ({ workspaceId: workspace.id, permission: name })) },
    { enabled: grantable.length > 0 },
  );
  const failed = [all, held].find(({ data, error }) => !data && error);
  if (failed) {
    return <Failure error={failed.error} retry={() => void failed.refetch()} />;
  }
  if (!held.data) {
    return <Waiting />;
  }
  const words = search.toLowerCase().split(/\s+/);
  const shown = grantable
    .filter((_, i) => held.data.allowed[i])
    .filter(({ name, description }) => words.every((word) => `${name} ${description}`.toLowerCase().includes(word)));
  return (
    <Fieldset legend={texts.creation.permissions}>
      <Text size="sm" c="dimmed" mb="xs">
        {texts.creation.permissionsHint} {plural(texts.creation.chosen, chosen.length)}
      </Text>
      <TextInput
        size="xs"
        mb="sm"
        aria-label={texts.creation.search}
        placeholder={texts.creation.search}
        value={search}
        onChange={({ currentTarget: { value } }) => setSearch(value)}
      />
      <Checkbox.Group value={chosen} onChange={choose} aria-label={texts.creation.permissions}>
        <Stack gap="xs" mah={260} style={{ overflowY: "auto" }} tabIndex={0} role="group" aria-label={texts.creation.permissions}>
          {shown.map(({ name, description }) => (
            <Checkbox key={name} value={name} label={description} description={name} />
          ))}
        </Stack>
      </Checkbox.Group>
    </Fieldset>
  );
}
