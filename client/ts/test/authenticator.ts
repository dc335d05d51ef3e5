import type { CDPSession, Page } from "playwright-core";

/** A passkey in a virtual authenticator, as Chromium's protocol has it. */
export interface Credential {
  credentialId: string;
  isResidentCredential: boolean;
  rpId?: string;
  privateKey: string;
  userHandle?: string;
  signCount: number;
}

/** A virtual authenticator of a page: like one that is built into the device. */
export interface Authenticator {
  /** Returns the passkeys in it. */
  credentials(): Promise<Credential[]>;
  /** Puts a passkey into it, in place of the one with its id. */
  put(credential: Credential): Promise<void>;
  /** Removes all passkeys. */
  clear(): Promise<void>;
  /** Decides whether it verifies its user from now on. Default: it does. */
  verifyUser(verified: boolean): Promise<void>;
  /** Decides whether its user touches it from now on. Default: they do, at once. */
  simulatePresence(enabled: boolean): Promise<void>;
}

/**
 * Adds a virtual authenticator to a page.
 *
 * @param verifiesUser - false for a key in a USB port that cannot do that
 */
export async function addAuthenticator(page: Page, verifiesUser = true): Promise<Authenticator> {
  const session: CDPSession = await page.context().newCDPSession(page);
  await session.send("WebAuthn.enable");
  const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: verifiesUser ? "internal" : "usb",
      hasResidentKey: verifiesUser,
      hasUserVerification: verifiesUser,
      isUserVerified: verifiesUser,
      automaticPresenceSimulation: true,
    },
  });
  return {
    async credentials() {
      return (await session.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
    },
    async put(credential) {
      await session.send("WebAuthn.removeCredential", { authenticatorId, credentialId: credential.credentialId }).catch(() => undefined);
      await session.send("WebAuthn.addCredential", { authenticatorId, credential });
    },
    async clear() {
      await session.send("WebAuthn.clearCredentials", { authenticatorId });
    },
    async verifyUser(isUserVerified) {
      await session.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified });
    },
    async simulatePresence(enabled) {
      await session.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled });
    },
  };
}
