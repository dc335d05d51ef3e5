import { useQuery } from "@connectrpc/connect-query";
import { Button, Divider, Stack, Text } from "@mantine/core";
import { Link } from "react-router";
import { SecurityService } from "@gen/auth/v1/security_pb";
import { passkey } from "../passkey";
import { secondFactorTexts as texts } from "../texts/second-factor";
import { ByPasskey, ByTotp } from "./reauthentication-dialog";
import { Failure, Waiting } from "./states";

/** Has a person prove a second factor in their session; who has none is led to where one is added. */
export function SecondFactor({ done }: { done: () => void }) {
  const { data, error, refetch } = useQuery(SecurityService.method.getSecurityOverview, {});
  if (!data) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  const app = data.totpFactorCount > 0;
  const key = data.passkeyCount > 0 && passkey.supported;
  if (!app && !key) {
    return (
      <Stack align="start">
        <Text size="sm">{texts.missing}</Text>
        <Button component={Link} to="/account/security">
          {texts.add}
        </Button>
      </Stack>
    );
  }
  return (
    <Stack>
      <Text size="sm">{texts.confirm}</Text>
      {key && <ByPasskey done={done} />}
      {key && app && <Divider label={texts.or} />}
      {app && <ByTotp done={done} />}
    </Stack>
  );
}
