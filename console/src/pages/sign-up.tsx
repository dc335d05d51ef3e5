import { useMutation } from "@connectrpc/connect-query";
import { Anchor, Button, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";
import { RegistrationService } from "@gen/auth/v1/registration_pb";
import { queryClient } from "../api";
import { Card } from "../components/card";
import { CodeField } from "../components/code-field";
import { useForm } from "../components/form";
import { SendAgain } from "../components/send-again";
import { fill, texts } from "../texts";
import { startTexts } from "../texts/start";

/** Creates an account with its workspace: the address is proven by the mailed code. */
export function Page() {
  const [search] = useSearchParams();
  const [sent, setSent] = useState<{ id: string; email: string }>();
  const form = useForm(
    RegistrationService.method.register,
    { email: search.get("email") ?? "", password: "", workspaceName: "", requestId: crypto.randomUUID() },
    ({ registration, account }, { email }) =>
      account ? queryClient.resetQueries() : setSent({ id: registration?.id ?? "", email: email ?? "" }),
  );
  if (sent) {
    // Another address is another registration.
    const correct = () => {
      form.set({ requestId: crypto.randomUUID() });
      setSent(undefined);
    };
    return <Verify {...sent} correct={correct} />;
  }
  return (
    <Card title={startTexts.signUp.title}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <TextInput label={texts.common.email} type="email" autoComplete="username" autoFocus {...form.field("email")} />
          <PasswordInput
            label={texts.common.password}
            description={startTexts.signUp.passwordHint}
            autoComplete="new-password"
            {...form.field("password")}
          />
          <TextInput
            label={startTexts.signUp.workspace}
            description={startTexts.signUp.workspaceHint}
            autoComplete="organization"
            {...form.field("workspaceName")}
          />
          {form.failure}
          <Button type="submit" loading={form.pending}>
            {startTexts.signUp.submit}
          </Button>
        </Stack>
      </form>
      <Group gap="xs">
        <Text size="sm">{startTexts.signUp.haveAccount}</Text>
        <Anchor component={Link} to={`/sign-in?${search}`} size="sm">
          {texts.signIn.title}
        </Anchor>
      </Group>
    </Card>
  );
}

function Verify({ id, email, correct }: { id: string; email: string; correct: () => void }) {
  const form = useForm(RegistrationService.method.verifyRegistration, { registrationId: id, code: "" }, () => queryClient.resetQueries());
  const resend = useMutation(RegistrationService.method.resendRegistrationCode);
  return (
    <Card title={startTexts.signUp.verifyTitle} text={fill(startTexts.signUp.verifyText, { email })}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <CodeField {...form.field("code")} complete={(code) => form.submitWith({ code })} />
          {form.failure}
          <Button type="submit" loading={form.pending}>
            {startTexts.signUp.verify}
          </Button>
        </Stack>
      </form>
      <SendAgain send={() => resend.mutateAsync({ registrationId: id }).then(() => form.set({ code: "" }))} correct={correct} />
    </Card>
  );
}
