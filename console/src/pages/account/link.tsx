import { Anchor, Button, Text } from "@mantine/core";
import { useCallback, useEffect, useRef, useState } from "react";
import { Link, useNavigate } from "react-router";
import { ExternalIdentityService } from "@gen/auth/v1/external_identity_pb";
import { call, queryClient } from "../../api";
import { Card } from "../../components/card";
import { Failure, Waiting } from "../../components/states";
import { tell } from "../../components/toasts";
import { textOf } from "../../errors";
import { useReturned } from "../../external";
import { Cancelled, guarded } from "../../reauthentication";
import { texts as common } from "../../texts";
import { accountTexts } from "../../texts/account";

const texts = accountTexts.identities;

/** Where an identity provider sends people back to who link an account of theirs. */
export function Page() {
  const { externalSignInId, resultToken, error } = useReturned();
  const [failure, setFailure] = useState<string>();
  const navigate = useNavigate();
  const [cancelled, setCancelled] = useState(false);
  const begun = useRef(false);
  const complete = useCallback(async () => {
    setCancelled(false);
    try {
      await guarded(() => call(ExternalIdentityService.method.completeExternalSignIn, { externalSignInId, resultToken }));
    } catch (failure) {
      if (failure instanceof Cancelled) {
        setCancelled(true);
      } else {
        setFailure(textOf(failure));
      }
      return;
    }
    tell(texts.linked);
    await queryClient.invalidateQueries();
    await navigate("/account/security", { replace: true });
  }, [externalSignInId, resultToken, navigate]);
  useEffect(() => {
    if (begun.current) {
      return;
    }
    begun.current = true;
    if (error !== null || externalSignInId === "") {
      setFailure(error === "ACCESS_DENIED" ? texts.denied : texts.failed);
      return;
    }
    void complete();
  }, [externalSignInId, error, complete]);
  return (
    <Card title={texts.linking}>
      {failure === undefined && !cancelled ? (
        <Waiting />
      ) : (
        <>
          {failure !== undefined && <Failure text={failure} />}
          {cancelled && (
            <>
              <Text size="sm">{texts.unproven}</Text>
              <Button onClick={() => void complete()}>{texts.goOn}</Button>
            </>
          )}
          <Anchor component={Link} to="/account/security" size="sm">
            {common.common.back}
          </Anchor>
        </>
      )}
    </Card>
  );
}
