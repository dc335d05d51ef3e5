import { useMutation } from "@connectrpc/connect-query";
import { Anchor, Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { PasswordService } from "@gen/auth/v1/password_pb";
import { queryClient } from "../api";
import { asPerson } from "../captcha";
import { Card } from "../components/card";
import { CodeField } from "../components/code-field";
import { useForm } from "../components/form";
import { SendAgain } from "../components/send-again";
import { tell } from "../components/toasts";
import { fill, texts } from "../texts";
import { startTexts } from "../texts/start";

/** Mails a code, and sets a new password by it. */
export function Page() {
  const [sent, setSent] = useState<{ id: string; email: string }>();
  const form = useForm(PasswordService.method.requestPasswordReset, { email: "" }, ({ passwordResetId }, { email }) =>
    setSent({ id: passwordResetId, email: email ?? "" }),
  );
  if (sent) {
    return <Reset {...sent} correct={() => setSent(undefined)} />;
  }
  return (
    <Card title={startTexts.forgot.title} text={startTexts.forgot.text}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <TextInput label={texts.common.email} type="email" autoComplete="username" autoFocus {...form.field("email")} />
          {form.failure}
          <Button type="submit" loading={form.pending}>
            {startTexts.forgot.submit}
          </Button>
        </Stack>
      </form>
      <Anchor component={Link} to="/sign-in" size="sm">
        {texts.common.back}
      </Anchor>
    </Card>
  );
}

function Reset({ id, email, correct }: { id: string; email: string; correct: () => void }) {
  const navigate = useNavigate();
  const form = useForm(PasswordService.method.resetPassword, { passwordResetId: id, code: "", newPassword: "" }, async () => {
    tell(texts.common.saved);
    await queryClient.resetQueries();
    await navigate(`/sign-in?email=${encodeURIComponent(email)}`);
  });
  const { mutateAsync: request } = useMutation(PasswordService.method.requestPasswordReset);
  const again = async () => {
    const { passwordResetId } = await asPerson(PasswordService.method.requestPasswordReset, () => request({ email }));
    form.set({ passwordResetId, code: "" });
  };
  return (
    <Card title={startTexts.forgot.title} text={fill(startTexts.forgot.codeText, { email })}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <CodeField {...form.field("code")} />
          <PasswordInput
            label={startTexts.forgot.newPassword}
            description={startTexts.signUp.passwordHint}
            autoComplete="new-password"
            {...form.field("newPassword")}
          />
          {form.failure}
          <Button type="submit" loading={form.pending}>
            {startTexts.forgot.set}
          </Button>
        </Stack>
      </form>
      <SendAgain send={again} correct={correct} />
    </Card>
  );
}
