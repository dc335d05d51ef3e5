import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, Text, TextInput } from "@mantine/core";
import { IconFingerprint } from "@tabler/icons-react";
import { useState } from "react";
import { PasskeyService, type Passkey } from "@gen/auth/v1/passkey_pb";
import { queryClient } from "../../api";
import { Confirm } from "../../components/confirm";
import { useForm } from "../../components/form";
import { Section } from "../../components/section";
import { Failure, Waiting } from "../../components/states";
import { ago, day } from "../../components/time";
import { tell } from "../../components/toasts";
import { passkey } from "../../passkey";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { Item, ItemButtons, Items, RenameDialog } from "./item";

const texts = accountTexts.passkeys;
const { added, never, used } = accountTexts.security;

/** The passkeys of the account; `last` tells whether one of them is its only second factor. */
export function Passkeys({ last, show }: { last: boolean; show: (codes: string[]) => void }) {
  const { data, error, refetch } = useQuery(PasskeyService.method.listPasskeys, {});
  const remove = useMutation(PasskeyService.method.deletePasskey);
  const [adding, setAdding] = useState(false);
  const [renaming, setRenaming] = useState<Passkey>();
  const [deleting, setDeleting] = useState<Passkey>();
  return (
    <Section
      title={texts.title}
      actions={
        <Button variant="default" disabled={!passkey.supported} onClick={() => setAdding(true)}>
          {texts.add}
        </Button>
      }
    >
      <Text size="sm" c="dimmed" mb="md">
        {passkey.supported ? texts.text : texts.unsupported}
      </Text>
      {!data && error ? (
        <Failure error={error} retry={() => void refetch()} />
      ) : !data ? (
        <Waiting />
      ) : data.passkeys.length === 0 ? (
        <Text size="sm">{texts.none}</Text>
      ) : (
        <Items label={texts.title}>
          {data.passkeys.map((one) => (
            <Item
              key={one.id}
              icon={IconFingerprint}
              name={one.displayName}
              about={[
                one.createTime && fill(added, { time: day(one.createTime) }),
                one.lastUseTime ? fill(used, { time: ago(one.lastUseTime) }) : never,
                one.backedUp ? texts.backedUp : undefined,
              ]}
            >
              <ItemButtons name={one.displayName} rename={() => setRenaming(one)} remove={() => setDeleting(one)} />
            </Item>
          ))}
        </Items>
      )}
      {adding && <Add show={show} close={() => setAdding(false)} />}
      {renaming && <Rename passkey={renaming} close={() => setRenaming(undefined)} />}
      {deleting && (
        <Confirm
          title={texts.deleteTitle}
          action={accountTexts.security.delete}
          act={() => remove.mutateAsync({ passkeyId: deleting.id }).then(() => tell(texts.deleted))}
          close={() => setDeleting(undefined)}
        >
          <Text size="sm">{fill(texts.deleteText, { name: deleting.displayName })}</Text>
          {last && (
            <Text size="sm" mt="xs" fw={500}>
              {accountTexts.authenticators.deleteLast}
            </Text>
          )}
        </Confirm>
      )}
    </Section>
  );
}

function Add({ show, close }: { show: (codes: string[]) => void; close: () => void }) {
  const [name, setName] = useState("");
  return (
    <Confirm
      harmless
      title={texts.add}
      action={texts.submit}
      act={async () => {
        const { recoveryCodes } = await passkey.register(name.trim());
        void queryClient.invalidateQueries();
        tell(texts.added);
        show(recoveryCodes);
      }}
      close={close}
    >
      <Text size="sm" mb="sm">
        {texts.addText}
      </Text>
      <TextInput
        label={accountTexts.security.newName}
        placeholder={texts.placeholder}
        autoComplete="off"
        maxLength={100}
        data-autofocus
        value={name}
        onChange={({ currentTarget: { value } }) => setName(value)}
      />
    </Confirm>
  );
}

function Rename({ passkey, close }: { passkey: Passkey; close: () => void }) {
  const form = useForm(PasskeyService.method.updatePasskey, { passkeyId: passkey.id, displayName: passkey.displayName }, close);
  return <RenameDialog form={form} close={close} />;
}
