import { useMutation, useQuery } from "@connectrpc/connect-query";
import { ActionIcon, Alert, Badge, Button, Card, Code, Group, NativeSelect, SimpleGrid, Stack, Text, TextInput, Title } from "@mantine/core";
import "@mantine/core/styles/Code.css";
import { IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { DomainEnrollment, DomainService, type Domain } from "@gen/tenant/v1/domain_pb";
import { queryClient } from "../../api";
import { Confirm } from "../../components/confirm";
import { Copy } from "../../components/copy";
import { useForm } from "../../components/form";
import { Heading } from "../../components/heading";
import { Empty, Failure, Waiting } from "../../components/states";
import { tell, tellFailure } from "../../components/toasts";
import { textOf } from "../../errors";
import { fill } from "../../texts";
import { teamTexts } from "../../texts/team";
import { workspaceTexts } from "../../texts/workspace";
import { useWorkspace } from "../../workspace";

/** The workspace's domains: which are proven to be its own, and who joins by them. */
export function Page() {
  const { workspace, may } = useWorkspace();
  const { data, error, refetch } = useQuery(DomainService.method.listDomains, { workspaceId: workspace.id }, { enabled: may("domain.list") });
  const [removed, remove] = useState<Domain>();
  if (!may("domain.list")) {
    return <Failure text={teamTexts.may.forbidden} />;
  }
  return (
    <>
      <Heading title={workspaceTexts.team.domains} text={teamTexts.domains.text} />
      {may("domain.manage") && <Add />}
      {!data && (error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />)}
      {data?.domains.length === 0 && (
        <Empty title={teamTexts.domains.none}>
          <Text size="sm">{teamTexts.domains.noneText}</Text>
        </Empty>
      )}
      <Stack>
        {data?.domains.map((domain) => <One key={domain.id} domain={domain} remove={() => remove(domain)} />)}
      </Stack>
      {removed && <Remove domain={removed} close={() => remove(undefined)} />}
    </>
  );
}

function Add() {
  const { workspace } = useWorkspace();
  const form = useForm(DomainService.method.createDomain, { workspaceId: workspace.id, domain: "" }, ({ domain }) => {
    tell(fill(teamTexts.domains.isAdded, { domain: domain!.domain }));
    form.set({ domain: "" });
  });
  return (
    <form onSubmit={(event) => void form.submit(event)} noValidate>
      <Group align="flex-start" mb="lg" gap="sm">
        <TextInput
          aria-label={teamTexts.domains.domain}
          placeholder={teamTexts.domains.domainHint}
          autoCapitalize="none"
          spellCheck={false}
          inputMode="url"
          flex="1 1 200px"
          maw={420}
          {...form.field("domain")}
        />
        <Button type="submit" loading={form.pending}>
          {teamTexts.domains.add}
        </Button>
      </Group>
      {form.failure}
    </form>
  );
}

function One({ domain, remove }: { domain: Domain; remove: () => void }) {
  const { may } = useWorkspace();
  return (
    <Card withBorder component="section" aria-label={domain.domain} padding="lg">
      <Stack>
        <Group justify="space-between" wrap="nowrap">
          <Group gap="sm" style={{ minWidth: 0 }}>
            <Title order={2} size="h5" style={{ overflowWrap: "anywhere" }}>
              {domain.domain}
            </Title>
            <Badge variant={domain.verified ? "light" : "default"}>{domain.verified ? teamTexts.domains.verified : teamTexts.domains.waiting}</Badge>
          </Group>
          {may("domain.manage") && (
            <ActionIcon variant="subtle" color="gray" size="lg" aria-label={fill(teamTexts.domains.remove, { domain: domain.domain })} onClick={remove}>
              <IconTrash size={18} aria-hidden />
            </ActionIcon>
          )}
        </Group>
        {domain.verified ? <Enrollment domain={domain} /> : <Proof domain={domain} />}
      </Stack>
    </Card>
  );
}

/** The record that is to be made, and the button that looks for it. */
function Proof({ domain: { id, workspaceId, domain, recordName, recordValue } }: { domain: Domain }) {
  const { may } = useWorkspace();
  const verify = useMutation(DomainService.method.verifyDomain);
  const record = [
    { what: teamTexts.domains.type, value: "TXT" },
    { what: teamTexts.domains.recordName, value: recordName },
    { what: teamTexts.domains.recordValue, value: recordValue },
  ];
  return (
    <>
      <Text size="sm">{teamTexts.domains.recordText}</Text>
      <dl style={{ margin: 0 }}>
        {record.map(({ what, value }) => (
          <Group key={what} gap="sm" wrap="nowrap" mih={36}>
            <Text component="dt" size="sm" c="dimmed" w={50} style={{ flexShrink: 0 }}>
              {what}
            </Text>
            <Group component="dd" m={0} gap={4} wrap="nowrap" miw={0}>
              <Code style={{ overflowWrap: "anywhere" }}>{value}</Code>
              {what !== teamTexts.domains.type && <Copy value={value} label={fill(teamTexts.domains.copy, { what: what.toLowerCase() })} />}
            </Group>
          </Group>
        ))}
      </dl>
      {verify.error && (
        <Alert color="red" variant="light" role="alert">
          {textOf(verify.error)}
        </Alert>
      )}
      {may("domain.manage") && (
        <div>
          <Button
            variant="default"
            loading={verify.isPending}
            onClick={() => void verify.mutateAsync({ workspaceId, domainId: id }).then(() => tell(fill(teamTexts.domains.isVerified, { domain })), () => undefined)}
          >
            {teamTexts.domains.verify}
          </Button>
        </div>
      )}
    </>
  );
}

function Enrollment({ domain: { id, workspaceId, enrollment, role } }: { domain: Domain }) {
  const { may } = useWorkspace();
  // One after the other, each until what has become of it is read.
  const update = useMutation(DomainService.method.updateDomainEnrollment, { scope: { id }, onSuccess: () => queryClient.invalidateQueries() });
  const change = (wanted: { enrollment: DomainEnrollment; role: string }) =>
    void update.mutateAsync({ workspaceId, domainId: id, ...wanted }).catch(tellFailure);
  // What is being sent is shown, and what was before again if it is refused.
  const shown = update.isPending ? { enrollment, role, ...update.variables } : { enrollment, role };
  return (
    <SimpleGrid cols={{ base: 1, sm: 2 }}>
      <NativeSelect
        label={teamTexts.domains.enrollment}
        disabled={!may("domain.manage")}
        value={shown.enrollment}
        onChange={({ currentTarget }) => change({ ...shown, enrollment: Number(currentTarget.value) })}
        data={[
          { value: String(DomainEnrollment.OFF), label: teamTexts.domains.off },
          { value: String(DomainEnrollment.REQUEST), label: teamTexts.domains.request },
          { value: String(DomainEnrollment.AUTOMATIC), label: teamTexts.domains.automatic },
        ]}
      />
      {shown.enrollment === DomainEnrollment.AUTOMATIC && (
        <NativeSelect
          label={teamTexts.domains.role}
          disabled={!may("domain.manage")}
          value={shown.role}
          onChange={({ currentTarget }) => change({ ...shown, role: currentTarget.value })}
          data={[
            { value: "member", label: workspaceTexts.roles.member },
            { value: "viewer", label: workspaceTexts.roles.viewer },
          ]}
        />
      )}
    </SimpleGrid>
  );
}

function Remove({ domain: { id, workspaceId, domain }, close }: { domain: Domain; close: () => void }) {
  const { mutateAsync } = useMutation(DomainService.method.deleteDomain);
  return (
    <Confirm
      title={fill(teamTexts.domains.removeTitle, { domain })}
      action={fill(teamTexts.domains.remove, { domain })}
      act={() => mutateAsync({ workspaceId, domainId: id }).then(() => tell(fill(teamTexts.domains.isRemoved, { domain })))}
      close={close}
    >
      <Text size="sm">{teamTexts.domains.removeText}</Text>
    </Confirm>
  );
}
