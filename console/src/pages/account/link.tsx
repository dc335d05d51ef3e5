import { Anchor } from "@mantine/core";
import { useEffect, useRef, useState } from "react";
import { Link, useNavigate } from "react-router";
import { ExternalIdentityService } from "@gen/auth/v1/external_identity_pb";
import { call, queryClient } from "../../api";
import { Card } from "../../components/card";
import { Failure, Waiting } from "../../components/states";
import { tell } from "../../components/toasts";
import { textOf } from "../../errors";
import { useReturned } from "../../external";
import { guarded } from "../../reauthentication";
import { texts as common } from "../../texts";
import { accountTexts } from "../../texts/account";

const texts = accountTexts.identities;

/** Where an identity provider sends people back to who link an account of theirs. */
export function Page() {
  const { externalSignInId, resultToken, error } = useReturned();
  const [failure, setFailure] = useState<string>();
  const navigate = useNavigate();
  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) {
      return;
    }
    begun.current = true;
    if (error !== null || externalSignInId === "") {
      setFailure(error === "ACCESS_DENIED" ? texts.denied : texts.failed);
      return;
    }
    guarded(() => call(ExternalIdentityService.method.completeExternalSignIn, { externalSignInId, resultToken })).then(
      async () => {
        tell(texts.linked);
        await queryClient.invalidateQueries();
        await navigate("/account/security", { replace: true });
      },
      (error: unknown) => setFailure(textOf(error)),
    );
  }, [externalSignInId, resultToken, error, navigate]);
  return (
    <Card title={texts.linking}>
      {failure === undefined ? (
        <Waiting />
      ) : (
        <>
          <Failure text={failure} />
          <Anchor component={Link} to="/account/security" size="sm">
            {common.common.back}
          </Anchor>
        </>
      )}
    </Card>
  );
}
