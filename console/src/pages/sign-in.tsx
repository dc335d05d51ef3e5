import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Anchor, Button, Divider, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { IconFingerprint, IconMail } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import { Link, useLocation, useSearchParams } from "react-router";
import { AuthenticationService } from "@gen/auth/v1/authentication_pb";
import { EmailChallengeService } from "@gen/auth/v1/email_challenge_pb";
import { ExternalIdentityService, ExternalSignInPurpose } from "@gen/auth/v1/external_identity_pb";
import { queryClient } from "../api";
import { Card } from "../components/card";
import { CodeField } from "../components/code-field";
import { useForm } from "../components/form";
import { Failure } from "../components/states";
import { passkey } from "../passkey";
import { wantedIn } from "../session";
import { fill, texts } from "../texts";

/** Signs in by password, mailed code, passkey or identity provider. */
export function Page() {
  const [search] = useSearchParams();
  const { state } = useLocation() as { state: { ended?: boolean } | null };
  const [challenge, setChallenge] = useState<{ id: string; email: string }>();
  const [error, setError] = useState<unknown>();
  // The session is read anew, and with it the page that comes next.
  const done = () => queryClient.resetQueries();
  const password = useForm(AuthenticationService.method.signInWithPassword, { email: search.get("email") ?? "", password: "" }, done);
  const byCode = useForm(EmailChallengeService.method.startEmailSignIn, { email: "" }, ({ emailChallengeId }, { email }) =>
    setChallenge({ id: emailChallengeId, email: email ?? "" }),
  );
  const providers = useQuery(ExternalIdentityService.method.listIdentityProviders, {}, { staleTime: Infinity });
  const external = useMutation(ExternalIdentityService.method.startExternalSignIn);

  useEffect(() => {
    const leaving = new AbortController();
    void passkey.offer(leaving.signal).then(
      (signedIn) => (signedIn ? done() : undefined),
      () => undefined,
    );
    return () => leaving.abort();
  }, []);

  const trying = async (way: () => Promise<unknown>) => {
    setError(undefined);
    try {
      await way();
    } catch (failure) {
      setError(failure);
    }
  };
  if (challenge) {
    return <EnterCode {...challenge} done={done} back={() => setChallenge(undefined)} />;
  }
  return (
    <Card title={texts.signIn.title} text={state?.ended && texts.signIn.ended}>
      <form onSubmit={(event) => void password.submit(event)} noValidate>
        <Stack>
          <TextInput label={texts.common.email} type="email" autoComplete="username webauthn" autoFocus {...byCode.field("email")} {...password.field("email")} />
          <PasswordInput label={texts.common.password} autoComplete="current-password" {...password.field("password")} />
          {password.failure}
          <Button type="submit" loading={password.pending}>
            {texts.signIn.submit}
          </Button>
        </Stack>
      </form>
      <Anchor component={Link} to="/forgot-password" size="sm">
        {texts.signIn.forgot}
      </Anchor>
      <Divider label={texts.signIn.or} />
      <Stack gap="xs">
        <Button
          variant="default"
          leftSection={<IconMail size={18} aria-hidden />}
          loading={byCode.pending}
          onClick={() => void byCode.submitWith({ email: password.values.email ?? "" })}
        >
          {texts.signIn.byCode}
        </Button>
        {passkey.supported && (
          <Button
            variant="default"
            leftSection={<IconFingerprint size={18} aria-hidden />}
            onClick={() => void trying(() => passkey.signIn().then(done))}
          >
            {texts.signIn.byPasskey}
          </Button>
        )}
        {providers.data?.identityProviders.map(({ name, displayName }) => (
          <Button
            key={name}
            variant="default"
            onClick={() =>
              void trying(async () => {
                const { authorizationUrl } = await external.mutateAsync({
                  provider: name,
                  purpose: ExternalSignInPurpose.SIGN_IN,
                  returnUrl: "/external-sign-in?" + new URLSearchParams({ to: wantedIn(`/?${search}`) }).toString(),
                });
                window.location.assign(authorizationUrl);
              })
            }
          >
            {fill(texts.signIn.byProvider, { name: displayName })}
          </Button>
        ))}
      </Stack>
      {byCode.failure}
      {error !== undefined && <Failure error={error} />}
      <Group gap="xs">
        <Text size="sm">{texts.signIn.noAccount}</Text>
        <Anchor component={Link} to={`/sign-up?${search}`} size="sm">
          {texts.signIn.toSignUp}
        </Anchor>
      </Group>
    </Card>
  );
}

function EnterCode({ id, email, done, back }: { id: string; email: string; done: () => unknown; back: () => void }) {
  const form = useForm(EmailChallengeService.method.completeEmailSignIn, { emailChallengeId: id, code: "" }, done);
  return (
    <Card title={texts.signIn.codeTitle} text={fill(texts.signIn.codeSent, { email })}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <CodeField {...form.field("code")} complete={(code) => form.submitWith({ code })} />
          {form.failure}
          <Button type="submit" loading={form.pending}>
            {texts.signIn.submit}
          </Button>
        </Stack>
      </form>
      <Button variant="subtle" size="xs" onClick={back}>
        {texts.signIn.otherWay}
      </Button>
    </Card>
  );
}
