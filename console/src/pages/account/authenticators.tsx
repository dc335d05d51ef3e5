import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, Center, Text, Textarea } from "@mantine/core";
import { IconDeviceMobile } from "@tabler/icons-react";
import { useState } from "react";
import { MfaService, type CreateTotpFactorResponse, type TotpFactor } from "@gen/auth/v1/mfa_pb";
import { CodeField } from "../../components/code-field";
import { Confirm } from "../../components/confirm";
import { Copy } from "../../components/copy";
import { useForm } from "../../components/form";
import { FormDialog } from "../../components/form-dialog";
import { Section } from "../../components/section";
import { Failure, Waiting } from "../../components/states";
import { ago, day } from "../../components/time";
import { tell, tellFailure } from "../../components/toasts";
import { guarded } from "../../reauthentication";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { Item, ItemButtons, Items, RenameDialog } from "./item";

const texts = accountTexts.authenticators;
const { added, never, used } = accountTexts.security;

/** The authenticator apps of the account; `last` tells whether one of them is its only second factor. */
export function Authenticators({ last, show }: { last: boolean; show: (codes: string[]) => void }) {
  const { data, error, refetch } = useQuery(MfaService.method.listTotpFactors, {});
  const create = useMutation(MfaService.method.createTotpFactor);
  const remove = useMutation(MfaService.method.deleteTotpFactor);
  const [adding, setAdding] = useState<CreateTotpFactorResponse>();
  const [renaming, setRenaming] = useState<TotpFactor>();
  const [deleting, setDeleting] = useState<TotpFactor>();
  return (
    <Section
      title={texts.title}
      actions={
        <Button variant="default" loading={create.isPending} onClick={() => void guarded(() => create.mutateAsync({})).then(setAdding, tellFailure)}>
          {texts.add}
        </Button>
      }
    >
      <Text size="sm" c="dimmed" mb="md">
        {texts.text}
      </Text>
      {!data && error ? (
        <Failure error={error} retry={() => void refetch()} />
      ) : !data ? (
        <Waiting />
      ) : data.totpFactors.length === 0 ? (
        <Text size="sm">{texts.none}</Text>
      ) : (
        <Items label={texts.title}>
          {data.totpFactors.map((factor) => (
            <Item
              key={factor.id}
              icon={IconDeviceMobile}
              name={factor.displayName}
              about={[
                factor.createTime && fill(added, { time: day(factor.createTime) }),
                factor.lastUseTime ? fill(used, { time: ago(factor.lastUseTime) }) : never,
              ]}
            >
              <ItemButtons name={factor.displayName} rename={() => setRenaming(factor)} remove={() => setDeleting(factor)} />
            </Item>
          ))}
        </Items>
      )}
      {adding && <Add factor={adding} show={show} close={() => setAdding(undefined)} />}
      {renaming && <Rename factor={renaming} close={() => setRenaming(undefined)} />}
      {deleting && (
        <Confirm
          title={texts.deleteTitle}
          action={accountTexts.security.delete}
          act={() => remove.mutateAsync({ totpFactorId: deleting.id }).then(() => tell(texts.deleted))}
          close={() => setDeleting(undefined)}
        >
          <Text size="sm">{fill(texts.deleteText, { name: deleting.displayName })}</Text>
          {last && (
            <Text size="sm" mt="xs" fw={500}>
              {texts.deleteLast}
            </Text>
          )}
        </Confirm>
      )}
    </Section>
  );
}

function Add({ factor, show, close }: { factor: CreateTotpFactorResponse; show: (codes: string[]) => void; close: () => void }) {
  const form = useForm(MfaService.method.confirmTotpFactor, { totpFactorId: factor.totpFactorId, code: "" }, ({ recoveryCodes }) => {
    tell(texts.added);
    close();
    show(recoveryCodes);
  });
  return (
    <FormDialog title={texts.addTitle} form={form} action={texts.submit} close={close}>
      <Text size="sm">{texts.scan}</Text>
      <Center>
        <img
          src={`data:image/svg+xml;charset=utf-8,${encodeURIComponent(factor.qrSvg)}`}
          alt={texts.qr}
          width={200}
          height={200}
          style={{ background: "white", padding: 8, borderRadius: 8 }}
        />
      </Center>
      <Textarea
        label={texts.key}
        description={texts.manual}
        readOnly
        autosize
        value={factor.secret.replace(/.{4}(?=.)/g, "$& ")}
        rightSection={<Copy value={factor.secret} label={texts.copyKey} />}
        styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
      />
      <CodeField label={texts.code} {...form.field("code")} />
    </FormDialog>
  );
}

function Rename({ factor, close }: { factor: TotpFactor; close: () => void }) {
  const form = useForm(MfaService.method.updateTotpFactor, { totpFactorId: factor.id, displayName: factor.displayName }, close);
  return <RenameDialog form={form} close={close} />;
}
