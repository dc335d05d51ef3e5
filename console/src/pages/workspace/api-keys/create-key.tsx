import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { Button, Group, NativeSelect, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { ApiKeyService, ServiceAccountService } from "@gen/auth/v1/api_key_pb";
import { Dialog } from "../../../components/dialog";
import { useForm } from "../../../components/form";
import { texts as all } from "../../../texts";
import { apiKeysTexts as texts } from "../../../texts/api-keys";
import { useWorkspace } from "../../../workspace";
import { Permissions } from "./permissions";

const days = [7, 30, 90, 180, 365] as const;

function inDays(days: number) {
  return timestampFromDate(new Date(Date.now() + days * 86_400_000));
}

/** Makes a key, of one's own or of a service account, and hands it over to be shown. */
export function CreateKey({ show, close }: { show: (token: string) => void; close: () => void }) {
  const { workspace, may } = useWorkspace();
  const accounts = useQuery(
    ServiceAccountService.method.listServiceAccounts,
    { workspaceId: workspace.id },
    { enabled: may("service_account.manage") && may("service_account.list") },
  );
  const [lifetime, setLifetime] = useState<number>(90);
  const form = useForm(
    ApiKeyService.method.createApiKey,
    { workspaceId: workspace.id, displayName: "", serviceAccountId: "", permissions: [], expireTime: inDays(90), requestId: crypto.randomUUID() },
    ({ token }) => {
      close();
      show(token);
    },
  );
  const chosen = form.values.permissions ?? [];
  return (
    <Dialog title={texts.creation.title} close={close} size="lg">
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <TextInput label={texts.creation.name} description={texts.creation.nameHint} autoComplete="off" data-autofocus {...form.field("displayName")} />
          {accounts.data !== undefined && accounts.data.serviceAccounts.length > 0 && (
            <NativeSelect
              label={texts.creation.of}
              data={[{ value: "", label: texts.creation.mine }, ...accounts.data.serviceAccounts.map(({ id, displayName }) => ({ value: id, label: displayName }))]}
              {...form.field("serviceAccountId")}
            />
          )}
          <NativeSelect
            label={texts.creation.expires}
            value={lifetime}
            onChange={({ currentTarget: { value } }) => {
              setLifetime(Number(value));
              form.set({ expireTime: inDays(Number(value)) });
            }}
            data={days.map((value) => ({ value: String(value), label: texts.creation.in[value] }))}
          />
          <Permissions chosen={chosen} choose={(permissions) => form.set({ permissions })} />
          {form.failure}
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              {all.common.cancel}
            </Button>
            <Button type="submit" loading={form.pending} disabled={chosen.length === 0}>
              {texts.creation.submit}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
