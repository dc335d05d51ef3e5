import { useQuery } from "@connectrpc/connect-query";
import { Button, Divider, Group, PasswordInput, Stack, Text } from "@mantine/core";
import { useState, type ReactNode } from "react";
import { AuthenticationService } from "@gen/auth/v1/authentication_pb";
import { EmailChallengeService } from "@gen/auth/v1/email_challenge_pb";
import { SecurityService, type GetSecurityOverviewResponse } from "@gen/auth/v1/security_pb";
import { call } from "../api";
import { textOf } from "../errors";
import { passkey } from "../passkey";
import { reauthenticationTexts as texts } from "../texts/reauthentication";
import { CodeField } from "./code-field";
import { Dialog as Frame } from "./dialog";
import { useForm } from "./form";
import { Failure, Waiting } from "./states";

/** How people can prove who they are. */
const ways = ["password", "passkey", "totp", "email"] as const;
type Way = (typeof ways)[number];

/** Asks for a proof of who the person is, by whatever their account has. */
export default function Dialog({ done, cancel }: { done: () => void; cancel: () => void }) {
  const { data, error, refetch } = useQuery(SecurityService.method.getSecurityOverview, {});
  return (
    <Frame title={texts.title} close={cancel} zIndex={300}>
      {data ? <Ways has={data} done={done} /> : error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />}
    </Frame>
  );
}

function Ways({ has, done }: { has: GetSecurityOverviewResponse; done: () => void }) {
  const [chosen, setChosen] = useState<Way>();
  const usable: Record<Way, boolean> = {
    password: has.hasPassword,
    passkey: has.passkeyCount > 0 && passkey.supported,
    totp: has.totpFactorCount > 0,
    email: has.emailVerified && !has.secondFactorRequired,
  };
  const open = ways.filter((way) => usable[way]);
  const way = chosen ?? open[0];
  const others = open.filter((other) => other !== way);
  return (
    <Stack>
      <Text size="sm">{texts.text}</Text>
      {way === "password" && <ByPassword done={done} />}
      {way === "passkey" && <ByPasskey done={done} />}
      {way === "totp" && <ByTotp done={done} />}
      {way === "email" && <ByEmail done={done} />}
      {way === undefined && <Text size="sm">{texts.none}</Text>}
      {others.length > 0 && (
        <>
          <Divider label={texts.otherWays} />
          <Group gap="xs">
            {others.map((other) => (
              <Button key={other} variant="default" size="xs" onClick={() => setChosen(other)}>
                {texts[other]}
              </Button>
            ))}
          </Group>
        </>
      )}
    </Stack>
  );
}

function ByPassword({ done }: { done: () => void }) {
  const form = useForm(AuthenticationService.method.reauthenticate, { password: "" }, done, { CREDENTIALS_INVALID: texts.wrongPassword });
  return (
    <ProofForm form={form} given={form.values.password !== ""}>
      <PasswordInput label={texts.password} autoComplete="current-password" data-autofocus autoFocus {...form.field("password")} />
    </ProofForm>
  );
}

export function ByTotp({ done }: { done: () => void }) {
  const form = useForm(AuthenticationService.method.reauthenticate, { totpCode: "" }, done);
  return (
    <ProofForm form={form} given={form.values.totpCode !== ""}>
      <CodeField label={texts.totpCode} {...form.field("totpCode")} />
    </ProofForm>
  );
}

export function ByPasskey({ done }: { done: () => void }) {
  const { trying, pending, failure } = useTry();
  return (
    <>
      <Text size="sm">{texts.passkeyText}</Text>
      {failure}
      <Button data-autofocus loading={pending} onClick={() => void trying(() => passkey.reauthenticate().then(done))}>
        {texts.passkey}
      </Button>
    </>
  );
}

function ByEmail({ done }: { done: () => void }) {
  const [challengeId, setChallengeId] = useState<string>();
  const [code, setCode] = useState("");
  const form = useForm(AuthenticationService.method.reauthenticate, {}, done);
  const { trying, pending, failure } = useTry();
  if (challengeId === undefined) {
    return (
      <>
        <Text size="sm">{texts.emailText}</Text>
        {failure}
        <Button
          data-autofocus
          loading={pending}
          onClick={() =>
            void trying(async () => setChallengeId((await call(EmailChallengeService.method.startEmailReauthentication, {})).emailChallengeId))
          }
        >
          {texts.sendCode}
        </Button>
      </>
    );
  }
  return (
    <ProofForm form={form} given={code !== ""}>
      <CodeField
        value={code}
        onChange={({ currentTarget: { value } }) => {
          setCode(value);
          form.set({ emailCode: { emailChallengeId: challengeId, code: value } });
        }}
      />
    </ProofForm>
  );
}

function ProofForm({
  form,
  given,
  children,
}: {
  form: { submit: (event: React.FormEvent) => Promise<void>; pending: boolean; failure: ReactNode };
  given: boolean;
  children: ReactNode;
}) {
  return (
    <form onSubmit={(event) => void form.submit(event)} noValidate>
      <Stack>
        {children}
        {form.failure}
        <Button type="submit" loading={form.pending} disabled={!given}>
          {texts.submit}
        </Button>
      </Stack>
    </form>
  );
}

/** Tries something, and says why it failed. */
function useTry(): { trying: (act: () => Promise<unknown>) => Promise<void>; pending: boolean; failure: ReactNode } {
  const [pending, setPending] = useState(false);
  const [error, setError] = useState<unknown>();
  return {
    pending,
    failure: error !== undefined && <Failure text={textOf(error)} />,
    trying: async (act) => {
      setPending(true);
      setError(undefined);
      try {
        await act();
      } catch (failure) {
        setError(failure);
      } finally {
        setPending(false);
      }
    },
  };
}
