import { Button, PasswordInput, Text } from "@mantine/core";
import { useState } from "react";
import { PasswordService } from "@gen/auth/v1/password_pb";
import { queryClient } from "../../api";
import { CodeField } from "../../components/code-field";
import { useForm } from "../../components/form";
import { FormDialog } from "../../components/form-dialog";
import { Section } from "../../components/section";
import { tell } from "../../components/toasts";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { startTexts } from "../../texts/start";

const texts = accountTexts.password;

/** The password of the account; one without is set by a mailed code. */
export function Password({ has, email }: { has: boolean; email: string }) {
  const [changing, setChanging] = useState(false);
  const [resetId, setResetId] = useState<string>();
  const request = useForm(PasswordService.method.requestPasswordReset, { email }, ({ passwordResetId }) => setResetId(passwordResetId));
  return (
    <Section
      title={texts.title}
      actions={
        <Button variant="default" loading={request.pending} onClick={() => (has ? setChanging(true) : void request.submit())}>
          {has ? texts.change : texts.set}
        </Button>
      }
    >
      <Text size="sm" c="dimmed">
        {has ? texts.has : texts.none}
      </Text>
      {request.failure}
      {changing && <Change close={() => setChanging(false)} />}
      {resetId !== undefined && <SetByMail id={resetId} email={email} close={() => setResetId(undefined)} />}
    </Section>
  );
}

function Change({ close }: { close: () => void }) {
  const form = useForm(
    PasswordService.method.changePassword,
    { currentPassword: "", newPassword: "" },
    ({ revokedCount }) => {
      tell(revokedCount > 0 ? fill(texts.changedCount, { count: revokedCount }) : texts.changed);
      close();
    },
    { CREDENTIALS_INVALID: texts.wrong },
  );
  return (
    <FormDialog title={texts.change} form={form} action={texts.change} close={close}>
      <Text size="sm">{texts.changeText}</Text>
      <PasswordInput label={texts.present} autoComplete="current-password" data-autofocus {...form.field("currentPassword")} />
      <PasswordInput
        label={startTexts.forgot.newPassword}
        description={startTexts.signUp.passwordHint}
        autoComplete="new-password"
        {...form.field("newPassword")}
      />
    </FormDialog>
  );
}

/** All sessions end with it, this one as well: the session is read anew, and with it the page that comes next. */
function SetByMail({ id, email, close }: { id: string; email: string; close: () => void }) {
  const form = useForm(PasswordService.method.resetPassword, { passwordResetId: id, code: "", newPassword: "" }, async () => {
    tell(texts.changed);
    await queryClient.resetQueries();
  });
  return (
    <FormDialog title={texts.set} form={form} action={texts.set} close={close}>
      <Text size="sm">{fill(texts.setText, { email })}</Text>
      <CodeField {...form.field("code")} />
      <PasswordInput
        label={startTexts.forgot.newPassword}
        description={startTexts.signUp.passwordHint}
        autoComplete="new-password"
        {...form.field("newPassword")}
      />
    </FormDialog>
  );
}
