import { useQuery } from "@connectrpc/connect-query";
import { useState } from "react";
import { SecurityService } from "@gen/auth/v1/security_pb";
import { UserService } from "@gen/identity/v1/user_pb";
import { Failure, Waiting } from "../../components/states";
import { accountTexts } from "../../texts/account";
import { Authenticators } from "./authenticators";
import { Identities } from "./identities";
import { AccountPage } from "./page";
import { Passkeys } from "./passkeys";
import { Password } from "./password";
import { RecoveryCodes, ShowRecoveryCodes } from "./recovery-codes";

/** By what the person signs in. */
export function Page() {
  const overview = useQuery(SecurityService.method.getSecurityOverview, {});
  const me = useQuery(UserService.method.getMe, {});
  const [codes, setCodes] = useState<string[]>([]);
  const failed = [overview, me].find(({ data, error }) => !data && error);
  return (
    <AccountPage title={accountTexts.security.title} text={accountTexts.security.text}>
      {failed ? (
        <Failure error={failed.error} retry={() => void failed.refetch()} />
      ) : !overview.data || !me.data ? (
        <Waiting />
      ) : (
        <>
          <Password has={overview.data.hasPassword} email={me.data.user!.email} />
          <Passkeys last={overview.data.totpFactorCount + overview.data.passkeyCount === 1} show={setCodes} />
          <Authenticators last={overview.data.totpFactorCount + overview.data.passkeyCount === 1} show={setCodes} />
          {overview.data.secondFactorRequired && <RecoveryCodes show={setCodes} />}
          <Identities />
        </>
      )}
      {codes.length > 0 && <ShowRecoveryCodes codes={codes} close={() => setCodes([])} />}
    </AccountPage>
  );
}
