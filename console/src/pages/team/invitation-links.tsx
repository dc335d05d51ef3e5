import "@mantine/core/styles/Overlay.css";
import "@mantine/core/styles/ModalBase.css";
import "@mantine/core/styles/Modal.css";
import { useInfiniteQuery, useMutation } from "@connectrpc/connect-query";
import { Button, Group, Modal, Stack, Table, Text, TextInput, Title } from "@mantine/core";
import { IconLink } from "@tabler/icons-react";
import { useState } from "react";
import { InvitationService, InvitationState, type InvitationLink } from "@gen/team/v1/invitation_pb";
import { Confirm } from "../../components/confirm";
import { Copy } from "../../components/copy";
import { useForm } from "../../components/form";
import { More } from "../../components/more";
import { Empty, Failure, Waiting } from "../../components/states";
import { tell } from "../../components/toasts";
import { RoleSelect, type Roles } from "../../roles";
import { fill, texts as common } from "../../texts";
import { team as texts } from "../../texts/team";
import { dayOf } from "../../times";
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
            {texts.links.title}
          </Title>
          <Text size="sm" c="dimmed">
            {texts.links.text}
          </Text>
        </div>
        {may("invitation.create") && (
          <Button variant="default" leftSection={<IconLink size={16} aria-hidden />} onClick={() => create(true)}>
            {texts.links.create}
          </Button>
        )}
      </Group>
      {links === undefined && (query.error ? <Failure error={query.error} retry={() => void query.refetch()} /> : <Waiting />)}
      {links?.length === 0 && (
        <Empty title={texts.links.none}>
          <Text size="sm">{texts.links.noneText}</Text>
        </Empty>
      )}
      {links && links.length > 0 && (
        <Table verticalSpacing="sm" aria-labelledby="links">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{texts.role.label}</Table.Th>
              <Table.Th>{texts.invitations.state}</Table.Th>
              <Table.Th visibleFrom="xs">{texts.links.uses}</Table.Th>
              <Table.Th visibleFrom="md">{texts.links.for}</Table.Th>
              <Table.Th visibleFrom="sm">{texts.invitations.expires}</Table.Th>
              <Table.Th aria-label={texts.links.actions} />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {links.map((link) => (
              <Table.Tr key={link.id}>
                <Table.Td>{roles.nameOf(link.role)}</Table.Td>
                <Table.Td>
                  <State state={link.state} />
                </Table.Td>
                <Table.Td visibleFrom="xs">{link.maxUses === 0 ? link.useCount : fill(texts.links.usesOf, { count: link.useCount, all: link.maxUses })}</Table.Td>
                <Table.Td visibleFrom="md">{link.domains.length === 0 ? texts.links.anyDomain : link.domains.join(", ")}</Table.Td>
                <Table.Td visibleFrom="sm">{dayOf(link.expireTime)}</Table.Td>
                <Table.Td align="right">
                  {link.state === InvitationState.PENDING && may("invitation.revoke") && (
                    <Button size="xs" variant="default" aria-label={fill(texts.links.revokeLabel, { role: roles.nameOf(link.role) })} onClick={() => revoke(link)}>
                      {texts.invitations.revoke}
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

/** Makes a link, and shows it: this once. */
function Create({ roles, close }: { roles: Roles; close: () => void }) {
  const { workspace } = useWorkspace();
  const [url, setUrl] = useState<string>();
  const [domains, setDomains] = useState("");
  const form = useForm(
    InvitationService.method.createInvitationLink,
    { workspaceId: workspace.id, role: "member", lifetime: { seconds: BigInt(aWeek) }, maxUses: 0, domains: [] },
    ({ url }) => setUrl(url),
  );
  return (
    <Modal opened onClose={close} title={url === undefined ? texts.links.create : texts.links.created} closeButtonProps={{ "aria-label": common.common.close }}>
      {url === undefined ? (
        <form onSubmit={(event) => void form.submit(event)} noValidate>
          <Stack>
            <RoleSelect roles={roles} value={form.values.role ?? ""} change={(role) => form.set({ role })} but={["owner"]} />
            <Lifetime value={Number(form.values.lifetime?.seconds)} change={(seconds) => form.set({ lifetime: { seconds: BigInt(seconds) } })} />
            <TextInput
              label={texts.links.maxUses}
              description={texts.links.maxUsesHint}
              inputMode="numeric"
              value={form.values.maxUses || ""}
              onChange={({ currentTarget }) => form.set({ maxUses: Number(currentTarget.value.replace(/\D/g, "")) })}
            />
            <TextInput
              label={texts.links.domains}
              description={texts.links.domainsHint}
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
              {texts.links.create}
            </Button>
          </Stack>
        </form>
      ) : (
        <Stack>
          <Text size="sm" role="status">
            {texts.links.once}
          </Text>
          <TextInput
            label={texts.links.url}
            readOnly
            data-autofocus
            value={url}
            onFocus={({ currentTarget }) => currentTarget.select()}
            rightSection={<Copy value={url} label={common.common.copy} />}
          />
          <Button onClick={close}>{texts.invitations.done}</Button>
        </Stack>
      )}
    </Modal>
  );
}

function Revoke({ link: { id, workspaceId }, close }: { link: InvitationLink; close: () => void }) {
  const { mutateAsync } = useMutation(InvitationService.method.revokeInvitationLink);
  return (
    <Confirm
      title={texts.links.revokeTitle}
      label={texts.invitations.revoke}
      act={() => mutateAsync({ workspaceId, linkId: id }).then(() => tell(texts.links.isRevoked))}
      close={close}
    >
      <Text size="sm">{texts.links.revokeText}</Text>
    </Confirm>
  );
}
