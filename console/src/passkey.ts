import { createClient } from "@connectrpc/connect";
import * as passkeys from "@client/passkeys";
import { AuthenticationService } from "@gen/auth/v1/authentication_pb";
import { MfaService } from "@gen/auth/v1/mfa_pb";
import { PasskeyService } from "@gen/auth/v1/passkey_pb";
import { transport } from "./api";

const clients = {
  passkeys: createClient(PasskeyService, transport),
  secondFactors: createClient(MfaService, transport),
  authentication: createClient(AuthenticationService, transport),
};

/** What passkeys do, on this page's server. */
export const passkey = {
  supported: passkeys.isSupported(),
  signIn: (options?: passkeys.SignInOptions) => passkeys.signIn(clients, options),
  /** Waits in the autofill of a sign-in form; false where the browser has none. */
  offer: async (signal: AbortSignal): Promise<boolean> => {
    if (!(await passkeys.isAutofillSupported())) {
      return false;
    }
    await passkeys.signIn(clients, { autofill: true, signal });
    return true;
  },
  verifySecondFactor: () => passkeys.verifySecondFactor(clients),
  reauthenticate: () => passkeys.reauthenticate(clients),
  register: (displayName: string) => passkeys.register(clients, { displayName }),
};
