import { Button, Group, TextInput } from "@mantine/core";
import { useState } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { MfaService } from "@gen/auth/v1/mfa_pb";
import { SecondFactorKind } from "@gen/auth/v1/session_pb";
import { queryClient } from "../api";
import { Card } from "../components/card";
import { CodeField } from "../components/code-field";
import { Failure } from "../components/states";
import { useForm } from "../components/form";
import { passkey } from "../passkey";
import { useSession, wantedIn } from "../session";
import { signOut } from "../sign-out";
import { texts } from "../texts";
import { startTexts } from "../texts/start";

/** Asks for the second factor that the session owes. */
export function Page() {
  const { secondFactors: kinds } = useSession();
  const [search] = useSearchParams();
  const navigate = useNavigate();
  const [recovery, setRecovery] = useState(!kinds.includes(SecondFactorKind.TOTP));
  const [error, setError] = useState<unknown>();
  const done = async () => {
    await queryClient.resetQueries();
    await navigate(wantedIn(`/?${search}`), { replace: true });
  };
  const form = useForm(MfaService.method.verifySecondFactor, {}, done);
  const [code, setCode] = useState("");
  const enter = ({ currentTarget: { value } }: { currentTarget: { value: string } }) => {
    setCode(value);
    form.set({ proof: { case: recovery ? "recoveryCode" : "totpCode", value: value.trim() } });
  };
  const change = () => {
    setRecovery(!recovery);
    setCode("");
    form.set({ proof: { case: undefined } });
  };
  const byPasskey = async () => {
    setError(undefined);
    try {
      await passkey.verifySecondFactor();
      await done();
    } catch (failure) {
      setError(failure);
    }
  };
  return (
    <Card title={startTexts.secondStep.title}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        {recovery ? (
          <TextInput label={startTexts.secondStep.recovery} autoComplete="off" autoCapitalize="none" spellCheck={false} autoFocus value={code} onChange={enter} />
        ) : (
          <CodeField label={startTexts.secondStep.app} value={code} onChange={enter} />
        )}
        <Button type="submit" fullWidth mt="md" loading={form.pending}>
          {startTexts.secondStep.submit}
        </Button>
      </form>
      {form.failure}
      {error !== undefined && <Failure error={error} />}
      <Group justify="space-between">
        {kinds.includes(SecondFactorKind.PASSKEY) && (
          <Button variant="default" size="xs" onClick={() => void byPasskey()}>
            {startTexts.secondStep.usePasskey}
          </Button>
        )}
        {kinds.includes(SecondFactorKind.TOTP) && (
          <Button variant="subtle" size="xs" onClick={change}>
            {recovery ? startTexts.secondStep.useApp : startTexts.secondStep.useRecovery}
          </Button>
        )}
        <Button
          variant="subtle"
          size="xs"
          onClick={() => void signOut()}
        >
          {texts.common.signOut}
        </Button>
      </Group>
    </Card>
  );
}
