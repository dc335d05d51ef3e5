import { useMutation, useQuery } from "@connectrpc/connect-query";
import { ActionIcon, Button, Group, Menu, Stack, Table, Text, Textarea, TextInput } from "@mantine/core";
import { IconDots, IconPencil, IconPlus, IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { ServiceAccountService, type ServiceAccount } from "@gen/auth/v1/api_key_pb";
import { Confirm } from "../../../components/confirm";
import { Dialog } from "../../../components/dialog";
import { useForm, type Form } from "../../../components/form";
import { Section } from "../../../components/section";
import { Empty, Failure, Waiting } from "../../../components/states";
import { tell } from "../../../components/toasts";
import { day } from "../../../format";
import { fill, texts as all } from "../../../texts";
import { apiKeysTexts as texts } from "../../../texts/api-keys";
import { useWorkspace } from "../../../workspace";

/** The service accounts of the workspace. */
export function Accounts() {
  const { workspace, may } = useWorkspace();
  const [creating, setCreating] = useState(false);
  const { data, error, refetch } = useQuery(ServiceAccountService.method.listServiceAccounts, { workspaceId: workspace.id });
  const manages = may("service_account.manage");
  return (
    <Section
      title={texts.accounts.title}
      actions={
        manages && (
          <Button variant="default" leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setCreating(true)}>
            {texts.accounts.create}
          </Button>
        )
      }
    >
      <Text size="sm" c="dimmed" mb="md">
        {texts.accounts.text}
      </Text>
      {error && !data && <Failure error={error} retry={() => void refetch()} />}
      {!error && !data && <Waiting />}
      {data?.serviceAccounts.length === 0 && <Empty title={texts.accounts.none} />}
      {data !== undefined && data.serviceAccounts.length > 0 && (
        <Table verticalSpacing="xs" aria-label={texts.accounts.title}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{texts.accounts.name}</Table.Th>
              <Table.Th>{texts.accounts.created}</Table.Th>
              {manages && <Table.Th ta="right">{texts.accounts.actions}</Table.Th>}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {data.serviceAccounts.map((account) => (
              <Row key={account.id} account={account} manages={manages} />
            ))}
          </Table.Tbody>
        </Table>
      )}
      {creating && <Create close={() => setCreating(false)} />}
    </Section>
  );
}

function Row({ account, manages }: { account: ServiceAccount; manages: boolean }) {
  const { workspace } = useWorkspace();
  const [asking, setAsking] = useState<"edit" | "delete">();
  const remove = useMutation(ServiceAccountService.method.deleteServiceAccount);
  const { id, displayName, description, createTime } = account;
  return (
    <Table.Tr>
      <Table.Th scope="row">
        {displayName}
        <Text size="xs" c="dimmed">
          {description}
        </Text>
      </Table.Th>
      <Table.Td>{createTime && day(createTime)}</Table.Td>
      {manages && (
        <Table.Td ta="right">
          <Menu position="bottom-end" shadow="md">
            <Menu.Target>
              <ActionIcon variant="subtle" color="gray" aria-label={fill(texts.accounts.actionsOf, { name: displayName })}>
                <IconDots size={18} aria-hidden />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Item leftSection={<IconPencil size={16} aria-hidden />} onClick={() => setAsking("edit")}>
                {texts.accounts.edit}
              </Menu.Item>
              <Menu.Item color="red" leftSection={<IconTrash size={16} aria-hidden />} onClick={() => setAsking("delete")}>
                {texts.accounts.delete}
              </Menu.Item>
            </Menu.Dropdown>
          </Menu>
          {asking === "edit" && <Edit account={account} close={() => setAsking(undefined)} />}
          {asking === "delete" && (
            <Confirm
              title={fill(texts.accounts.deleteTitle, { name: displayName })}
              action={texts.accounts.deleteSubmit}
              act={() => remove.mutateAsync({ workspaceId: workspace.id, serviceAccountId: id }).then(() => tell(texts.accounts.deleted))}
              close={() => setAsking(undefined)}
            >
              {texts.accounts.deleteText}
            </Confirm>
          )}
        </Table.Td>
      )}
    </Table.Tr>
  );
}

function Create({ close }: { close: () => void }) {
  const { workspace } = useWorkspace();
  const form = useForm(ServiceAccountService.method.createServiceAccount, { workspaceId: workspace.id, displayName: "", description: "" }, close);
  return <Fields form={form} title={texts.accounts.create} submit={texts.accounts.submit} close={close} />;
}

function Edit({ account: { id, displayName, description }, close }: { account: ServiceAccount; close: () => void }) {
  const { workspace } = useWorkspace();
  const form = useForm(
    ServiceAccountService.method.updateServiceAccount,
    { workspaceId: workspace.id, serviceAccountId: id, displayName, description, updateMask: { paths: ["display_name", "description"] } },
    () => {
      tell(all.common.saved);
      close();
    },
  );
  return <Fields form={form} title={texts.accounts.editTitle} submit={all.common.save} close={close} />;
}

type AccountForm = Form<typeof ServiceAccountService.method.createServiceAccount.input> | Form<typeof ServiceAccountService.method.updateServiceAccount.input>;

function Fields({ form, title, submit, close }: { form: AccountForm; title: string; submit: string; close: () => void }) {
  return (
    <Dialog title={title} close={close}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <TextInput label={texts.accounts.name} autoComplete="off" data-autofocus {...form.field("displayName")} />
          <Textarea label={texts.accounts.description} autosize minRows={2} maxRows={6} {...form.field("description")} />
          {form.failure}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              {all.common.cancel}
            </Button>
            <Button type="submit" loading={form.pending}>
              {submit}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
