import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useInfiniteQuery, useMutation, useQuery } from "@connectrpc/connect-query";
import { ActionIcon, Box, Button, Code, Menu, Table, Text } from "@mantine/core";
import { IconDots, IconPlus, IconRefresh, IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { ApiKeyService, ServiceAccountService, type ApiKey } from "@gen/auth/v1/api_key_pb";
import { UserService } from "@gen/identity/v1/user_pb";
import { MembershipService } from "@gen/team/v1/membership_pb";
import { Confirm } from "../../../components/confirm";
import { More } from "../../../components/more";
import { Section } from "../../../components/section";
import { Empty, Failure, Waiting } from "../../../components/states";
import { tell } from "../../../components/toasts";
import { day, moment, plural } from "../../../format";
import { fill } from "../../../texts";
import { apiKeysTexts as texts } from "../../../texts/api-keys";
import { useWorkspace } from "../../../workspace";
import { CreateKey } from "./create-key";
import { RotateKey } from "./rotate-key";
import { Secret } from "./secret";

/** The API keys that a person may see: their own, or all. */
export function Keys() {
  const { workspace, may } = useWorkspace();
  const [creating, setCreating] = useState(false);
  const [token, setToken] = useState<string>();
  const list = useInfiniteQuery(
    ApiKeyService.method.listApiKeys,
    { workspaceId: workspace.id, pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  const ownerOf = useOwners();
  const keys = list.data?.pages.flatMap((page) => page.apiKeys);
  return (
    <Section
      title={texts.keys.title}
      actions={
        may("api_key.create") && (
          <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setCreating(true)}>
            {texts.keys.create}
          </Button>
        )
      }
    >
      {list.error && !list.data && <Failure error={list.error} retry={() => void list.refetch()} />}
      {!list.error && !keys && <Waiting />}
      {keys?.length === 0 && <Empty title={texts.keys.none} />}
      {keys !== undefined && keys.length > 0 && (
        <Table.ScrollContainer minWidth={0} type="native">
          <Table verticalSpacing="xs" aria-label={texts.keys.title}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{texts.keys.name}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.keys.owner}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.keys.permissions}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.keys.expires}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.keys.lastUse}</Table.Th>
                <Table.Th ta="right">{texts.keys.actions}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {keys.map((key) => (
                <Row key={key.id} apiKey={key} owner={ownerOf(key)} show={setToken} />
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      <More query={list} />
      {creating && <CreateKey show={setToken} close={() => setCreating(false)} />}
      {token !== undefined && <Secret token={token} close={() => setToken(undefined)} />}
    </Section>
  );
}

/** Knows whose a key is, as far as the person may know. */
function useOwners(): (key: ApiKey) => { name: string; mine: boolean } {
  const { workspace, may } = useWorkspace();
  const all = may("service_account.manage");
  const me = useQuery(UserService.method.getMe, {});
  const accounts = useQuery(ServiceAccountService.method.listServiceAccounts, { workspaceId: workspace.id }, { enabled: may("service_account.list") });
  const members = useQuery(MembershipService.method.listMemberships, { workspaceId: workspace.id, pageSize: 200 }, { enabled: all && may("membership.get") });
  return ({ userId, serviceAccountId }) => {
    if (serviceAccountId !== "") {
      const name = accounts.data?.serviceAccounts.find(({ id }) => id === serviceAccountId)?.displayName ?? serviceAccountId;
      return { name, mine: all };
    }
    const member = members.data?.memberships.find((one) => one.userId === userId);
    const mine = userId === me.data?.user?.id;
    return { name: mine ? texts.keys.mine : member?.displayName || member?.email || texts.keys.somebody, mine };
  };
}

function Row({ apiKey, owner, show }: { apiKey: ApiKey; owner: { name: string; mine: boolean }; show: (token: string) => void }) {
  const { workspace, may } = useWorkspace();
  const [asking, setAsking] = useState<"rotate" | "revoke">();
  const revoke = useMutation(ApiKeyService.method.revokeApiKey);
  const { id, displayName, hint, permissions, expireTime, lastUseTime, previousExpireTime } = apiKey;
  const ended = expireTime !== undefined && timestampMs(expireTime) <= Date.now();
  const held = (
    <details>
      <summary>{plural(texts.keys.held, permissions.length)}</summary>
      {permissions.map((permission) => (
        <Text key={permission} size="xs">
          {permission}
        </Text>
      ))}
    </details>
  );
  const expires = ended ? texts.keys.expired : expireTime && day(expireTime);
  const lastUse = lastUseTime ? moment(lastUseTime) : texts.keys.never;
  const previous = previousExpireTime && (
    <Text size="xs" c="dimmed">
      {fill(texts.keys.previous, { time: moment(previousExpireTime) })}
    </Text>
  );
  const told = (label: string, value: string | undefined) => value && <div>{`${label}: ${value}`}</div>;
  return (
    <Table.Tr>
      <Table.Th scope="row" style={{ overflowWrap: "anywhere" }}>
        {displayName}
        <div>
          <Code c="dimmed">lsmk_…{hint}</Code>
        </div>
        <Box hiddenFrom="sm" fw={400} fz="xs" c="dimmed">
          {told(texts.keys.owner, owner.name)}
          {told(texts.keys.expires, expires)}
          {previous}
          {told(texts.keys.lastUse, lastUse)}
          {held}
        </Box>
      </Table.Th>
      <Table.Td visibleFrom="sm">{owner.name}</Table.Td>
      <Table.Td visibleFrom="sm">{held}</Table.Td>
      <Table.Td visibleFrom="sm">
        {expires}
        {previous}
      </Table.Td>
      <Table.Td visibleFrom="sm">{lastUse}</Table.Td>
      <Table.Td ta="right">
        {!ended && (
          <Menu position="bottom-end" shadow="md">
            <Menu.Target>
              <ActionIcon variant="subtle" color="gray" aria-label={fill(texts.keys.actionsOf, { name: displayName })}>
                <IconDots size={18} aria-hidden />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              {owner.mine && may("api_key.create") && (
                <Menu.Item leftSection={<IconRefresh size={16} aria-hidden />} onClick={() => setAsking("rotate")}>
                  {texts.keys.rotate}
                </Menu.Item>
              )}
              <Menu.Item color="red" leftSection={<IconTrash size={16} aria-hidden />} onClick={() => setAsking("revoke")}>
                {texts.keys.revoke}
              </Menu.Item>
            </Menu.Dropdown>
          </Menu>
        )}
        {asking === "rotate" && <RotateKey apiKey={apiKey} show={show} close={() => setAsking(undefined)} />}
        {asking === "revoke" && (
          <Confirm
            title={fill(texts.revocation.title, { name: displayName })}
            action={texts.revocation.submit}
            act={() => revoke.mutateAsync({ workspaceId: workspace.id, apiKeyId: id }).then(() => tell(texts.revocation.done))}
            close={() => setAsking(undefined)}
          >
            {texts.revocation.text}
          </Confirm>
        )}
      </Table.Td>
    </Table.Tr>
  );
}
