import "@mantine/core/styles/Badge.css";
import { useQuery } from "@connectrpc/connect-query";
import { Badge, Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { UserService, type User } from "@gen/identity/v1/user_pb";
import { CodeField } from "../../components/code-field";
import { useForm } from "../../components/form";
import { FormDialog } from "../../components/form-dialog";
import { Section } from "../../components/section";
import { Failure, Waiting } from "../../components/states";
import { day } from "../../components/time";
import { tell } from "../../components/toasts";
import { fill, texts as common } from "../../texts";
import { accountTexts } from "../../texts/account";
import { AccountPage } from "./page";

const texts = accountTexts.profile;

/** What others see of the person, and the address of the account. */
export function Page() {
  const { data, error, refetch } = useQuery(UserService.method.getMe, {});
  return (
    <AccountPage title={texts.title} text={texts.text}>
      {data ? <Profile user={data.user!} /> : error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />}
    </AccountPage>
  );
}

function Profile({ user }: { user: User }) {
  return (
    <>
      <Name user={user} />
      <Email user={user} />
      {user.createTime && (
        <Text size="sm" c="dimmed">
          {fill(texts.created, { time: day(user.createTime) })}
        </Text>
      )}
    </>
  );
}

function Name({ user }: { user: User }) {
  const form = useForm(
    UserService.method.updateMe,
    { displayName: user.displayName, updateMask: { paths: ["display_name"] } },
    () => tell(common.common.saved),
  );
  return (
    <Section title={texts.name}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <TextInput label={texts.nameLabel} description={texts.nameHint} autoComplete="name" maw={420} {...form.field("displayName")} />
          {form.failure}
          <div>
            <Button type="submit" loading={form.pending} disabled={form.values.displayName === user.displayName}>
              {common.common.save}
            </Button>
          </div>
        </Stack>
      </form>
    </Section>
  );
}

function Email({ user }: { user: User }) {
  const [changing, setChanging] = useState(false);
  const [change, setChange] = useState<{ id: string; email: string }>();
  const close = () => {
    setChanging(false);
    setChange(undefined);
  };
  // Asked for the present address, the change proves that one.
  const verify = useForm(UserService.method.requestEmailChange, { newEmail: user.email }, ({ emailChangeId }) => setChange({ id: emailChangeId, email: user.email }));
  return (
    <Section
      title={texts.email}
      actions={
        <Button variant="default" onClick={() => setChanging(true)}>
          {texts.change}
        </Button>
      }
    >
      <Stack gap="xs">
        <Group gap="xs">
          <Text style={{ overflowWrap: "anywhere" }}>{user.email}</Text>
          {user.emailVerified ? (
            <Badge variant="default" tt="none">{texts.verified}</Badge>
          ) : (
            <>
              <Badge color="red" variant="light" tt="none">
                {texts.unverified}
              </Badge>
              <Button size="compact-sm" variant="subtle" loading={verify.pending} onClick={() => void verify.submit()}>
                {texts.verify}
              </Button>
            </>
          )}
        </Group>
        <Text size="sm" c="dimmed">
          {texts.emailText}
        </Text>
        {verify.failure}
      </Stack>
      {change ? <EnterCode {...change} close={close} /> : changing && <EnterAddress sent={setChange} close={close} />}
    </Section>
  );
}

function EnterAddress({ sent, close }: { sent: (change: { id: string; email: string }) => void; close: () => void }) {
  const form = useForm(UserService.method.requestEmailChange, { newEmail: "" }, ({ emailChangeId }, { newEmail }) =>
    sent({ id: emailChangeId, email: newEmail ?? "" }),
  );
  return (
    <FormDialog title={texts.changeTitle} form={form} action={texts.sendCode} close={close}>
      <Text size="sm">{texts.changeText}</Text>
      <TextInput label={texts.newEmail} type="email" autoComplete="email" data-autofocus {...form.field("newEmail")} />
    </FormDialog>
  );
}

function EnterCode({ id, email, close }: { id: string; email: string; close: () => void }) {
  const form = useForm(UserService.method.confirmEmailChange, { emailChangeId: id, code: "" }, () => {
    tell(texts.changed);
    close();
  });
  return (
    <FormDialog title={texts.changeTitle} form={form} action={texts.confirm} close={close}>
      <Text size="sm">{fill(texts.codeText, { email })}</Text>
      <CodeField {...form.field("code")} complete={(code) => form.submitWith({ code })} />
    </FormDialog>
  );
}
