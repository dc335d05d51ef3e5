import { useInfiniteQuery, useMutation } from "@connectrpc/connect-query";
import { Button, Group, Stack, Table, Text, TextInput, Title } from "@mantine/core";
import { IconLink } from "@tabler/icons-react";
import { useState } from "react";
import { InvitationService, InvitationState, type InvitationLink } from "@gen/team/v1/invitation_pb";
import { Confirm } from "../../components/confirm";
import { Copy } from "../../components/copy";
import { Dialog } from "../../components/dialog";
import { useForm } from "../../components/form";
import { More } from "../../components/more";
import { Empty, Failure, Waiting } from "../../components/states";
import { day } from "../../components/time";
import { tell } from "../../components/toasts";
import { RoleSelect, type Roles } from "../../roles";
import { fill, texts } from "../../texts";
import { teamTexts } from "../../texts/team";
import { useWorkspace } from "../../workspace";
import { State } from "./invitation-state";
import { aWeek, Lifetime } from "./lifetime";

/** The links that several people can join by. */
export function Links({ roles }: { roles: Roles }) {
  const { workspace, may } = useWorkspace();
  const [creating, create] = useState(false);
  const [revoked, revoke] = useState<InvitationLink>();
  const query = useInfiniteQuery(
    InvitationService.method.listInvitationLinks,
    { workspaceId: workspace.id, pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  const links = query.data?.pages.flatMap(({ links }) => links);
  return (
    <section aria-labelledby="links">
      <Group justify="space-between" mt="xl" mb="xs">
        <div>
          <Title order={2} size="h4" id="links">
            {teamTexts.links.title}
          </Title>
          <Text size="sm" c="dimmed">
            {teamTexts.links.text}
          </Text>
        </div>
        {may("invitation.create") && (
          <Button variant="default" leftSection={<IconLink size={16} aria-hidden />} onClick={() => create(true)}>
            {teamTexts.links.create}
          </Button>
        )}
      </Group>
      {links === undefined && (query.error ? <Failure error={query.error} retry={() => void query.refetch()} /> : <Waiting />)}
      {links?.length === 0 && (
        <Empty title={teamTexts.links.none}>
          <Text size="sm">{teamTexts.links.noneText}</Text>
        </Empty>
      )}
      {links && links.length > 0 && (
        <Table verticalSpacing="sm" aria-labelledby="links">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{teamTexts.role.label}</Table.Th>
              <Table.Th>{teamTexts.invitations.state}</Table.Th>
              <Table.Th visibleFrom="xs">{teamTexts.links.uses}</Table.Th>
              <Table.Th visibleFrom="md">{teamTexts.links.for}</Table.Th>
              <Table.Th visibleFrom="sm">{teamTexts.invitations.expires}</Table.Th>
              <Table.Th aria-label={teamTexts.links.actions} />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {links.map((link) => (
              <Table.Tr key={link.id}>
                <Table.Td>{roles.nameOf(link.role)}</Table.Td>
                <Table.Td>
                  <State state={link.state} />
                </Table.Td>
                <Table.Td visibleFrom="xs">{link.maxUses === 0 ? link.useCount : fill(teamTexts.links.usesOf, { count: link.useCount, all: link.maxUses })}</Table.Td>
                <Table.Td visibleFrom="md">{link.domains.length === 0 ? teamTexts.links.anyDomain : link.domains.join(", ")}</Table.Td>
                <Table.Td visibleFrom="sm">{day(link.expireTime!)}</Table.Td>
                <Table.Td align="right">
                  {link.state === InvitationState.PENDING && may("invitation.revoke") && (
                    <Button size="xs" variant="default" aria-label={fill(teamTexts.links.revokeLabel, { role: roles.nameOf(link.role) })} onClick={() => revoke(link)}>
                      {teamTexts.invitations.revoke}
                    </Button>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      <More query={query} />
      {creating && <Create roles={roles} close={() => create(false)} />}
      {revoked && <Revoke link={revoked} close={() => revoke(undefined)} />}
    </section>
  );
}

/** Makes a link, and shows it: this once, until it goes with a button alone. */
function Create({ roles, close }: { roles: Roles; close: () => void }) {
  const { workspace } = useWorkspace();
  const [url, setUrl] = useState<string>();
  const [domains, setDomains] = useState("");
  const form = useForm(
    InvitationService.method.createInvitationLink,
    { workspaceId: workspace.id, role: roles.usual, lifetime: { seconds: BigInt(aWeek) }, maxUses: 0, domains: [] },
    ({ url }) => setUrl(url),
  );
  return (
    <Dialog
      close={close}
      title={url === undefined ? teamTexts.links.create : teamTexts.links.created}
      {...(url !== undefined && { closeOnClickOutside: false, closeOnEscape: false, withCloseButton: false })}
    >
      {url === undefined ? (
        <form onSubmit={(event) => void form.submit(event)} noValidate>
          <Stack>
            <RoleSelect roles={roles} value={form.values.role ?? ""} change={(role) => form.set({ role })} but={["owner"]} />
            <Lifetime value={Number(form.values.lifetime?.seconds)} change={(seconds) => form.set({ lifetime: { seconds: BigInt(seconds) } })} />
            <TextInput
              label={teamTexts.links.maxUses}
              description={teamTexts.links.maxUsesHint}
              inputMode="numeric"
              value={form.values.maxUses || ""}
              onChange={({ currentTarget }) => form.set({ maxUses: Number(currentTarget.value.replace(/\D/g, "")) })}
            />
            <TextInput
              label={teamTexts.links.domains}
              description={teamTexts.links.domainsHint}
              autoCapitalize="none"
              spellCheck={false}
              value={domains}
              onChange={({ currentTarget: { value } }) => {
                setDomains(value);
                form.set({ domains: value.split(/[\s,;]+/).filter((domain) => domain !== "") });
              }}
            />
            {form.failure}
            <Button type="submit" loading={form.pending}>
              {teamTexts.links.create}
            </Button>
          </Stack>
        </form>
      ) : (
        <Stack>
          <Text size="sm" role="status">
            {teamTexts.links.once}
          </Text>
          <TextInput
            label={teamTexts.links.url}
            readOnly
            data-autofocus
            value={url}
            onFocus={({ currentTarget }) => currentTarget.select()}
            rightSection={<Copy value={url} label={texts.common.copy} />}
          />
          <Button onClick={close}>{teamTexts.invitations.done}</Button>
        </Stack>
      )}
    </Dialog>
  );
}

function Revoke({ link: { id, workspaceId }, close }: { link: InvitationLink; close: () => void }) {
  const { mutateAsync } = useMutation(InvitationService.method.revokeInvitationLink);
  return (
    <Confirm
      title={teamTexts.links.revokeTitle}
      action={teamTexts.invitations.revoke}
      act={() => mutateAsync({ workspaceId, linkId: id }).then(() => tell(teamTexts.links.isRevoked))}
      close={close}
    >
      <Text size="sm">{teamTexts.links.revokeText}</Text>
    </Confirm>
  );
}
