import { Anchor, Button, Stack, TextInput } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { Link, useNavigate, useSearchParams } from "react-router";
import { ExternalIdentityService, type ExternalSetup } from "@gen/auth/v1/external_identity_pb";
import { call, queryClient } from "../api";
import { Card } from "../components/card";
import { useForm } from "../components/form";
import { Failure, Waiting } from "../components/states";
import { textOf } from "../errors";
import { useReturned } from "../external";
import { texts } from "../texts";
import { startTexts } from "../texts/start";

/**
 * Where an identity provider sends people back to: signs them in, or asks what a new
 * account needs.
 */
export function Page() {
  const [search] = useSearchParams();
  const { externalSignInId, resultToken, error } = useReturned();
  const [setup, setSetup] = useState<ExternalSetup>();
  const [failure, setFailure] = useState<string>();
  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) {
      return;
    }
    begun.current = true;
    if (error !== null || externalSignInId === "") {
      setFailure(error === "ACCESS_DENIED" ? startTexts.external.denied : error === null ? startTexts.external.nothing : startTexts.external.failed);
      return;
    }
    call(ExternalIdentityService.method.completeExternalSignIn, { externalSignInId, resultToken }).then(
      // The session is read anew, and with it the page that comes next.
      (answer) => (answer.setup ? setSetup(answer.setup) : queryClient.resetQueries()),
      (error: unknown) => setFailure(textOf(error)),
    );
  }, [externalSignInId, resultToken, error]);
  if (setup) {
    return <NewAccount setup={setup} externalSignInId={externalSignInId} resultToken={resultToken} />;
  }
  return (
    <Card title={startTexts.external.title}>
      {failure === undefined ? (
        <Waiting />
      ) : (
        <>
          <Failure text={failure} />
          <Anchor component={Link} to={`/sign-in?${search}`} size="sm">
            {texts.signIn.otherWay}
          </Anchor>
        </>
      )}
    </Card>
  );
}

function NewAccount({ setup, externalSignInId, resultToken }: { setup: ExternalSetup; externalSignInId: string; resultToken: string }) {
  const navigate = useNavigate();
  const form = useForm(
    ExternalIdentityService.method.completeExternalSignIn,
    {
      externalSignInId,
      resultToken,
      displayName: setup.suggestedDisplayName,
      workspaceName: setup.suggestedWorkspaceName,
    },
    async () => {
      await queryClient.resetQueries();
      await navigate("/", { replace: true });
    },
  );
  return (
    <Card title={startTexts.signUp.title} text={setup.email}>
      <form onSubmit={(event) => void form.submit(event)} noValidate>
        <Stack>
          <TextInput label={startTexts.external.yourName} autoComplete="name" {...form.field("displayName")} />
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
    </Card>
  );
}
