import { createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** An OpenID Connect provider that signs in whoever is to be next, without asking. */
export interface Provider {
  /** Where it is. */
  url(): string;
  /** The value of the server's setting `identity-providers`, by which it is called Acme. */
  setting(): string;
  /** Says who signs in from now on; without an address the person refuses. */
  next(email?: string): void;
  stop(): void;
}

/** Starts a provider. */
export async function startProvider(): Promise<Provider> {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const nonces = new Map<string, string>(); // by code
  let person: string | undefined;
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

  const server: Server = createServer(async (request, response) => {
    const { pathname, searchParams: query } = new URL(request.url ?? "", url());
    const answer = (body: unknown) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(body));
    if (pathname === "/.well-known/openid-configuration") {
      answer({
        issuer: url(),
        authorization_endpoint: `${url()}/authorize`,
        token_endpoint: `${url()}/token`,
        jwks_uri: `${url()}/keys`,
        id_token_signing_alg_values_supported: ["RS256"],
      });
    } else if (pathname === "/keys") {
      answer({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "key", alg: "RS256", use: "sig" }] });
    } else if (pathname === "/authorize") {
      const code = randomUUID();
      nonces.set(code, query.get("nonce") ?? "");
      const back = new URL(query.get("redirect_uri") ?? "");
      back.searchParams.set("state", query.get("state") ?? "");
      back.searchParams.set(...((person === undefined ? ["error", "access_denied"] : ["code", code]) as [string, string]));
      response.writeHead(302, { Location: back.href }).end();
    } else if (pathname === "/token") {
      let body = "";
      for await (const chunk of request) {
        body += chunk;
      }
      const now = Math.floor(Date.now() / 1000);
      const claims = {
        iss: url(),
        aud: "manager",
        sub: `sub of ${person}`,
        email: person,
        email_verified: true,
        nonce: nonces.get(new URLSearchParams(body).get("code") ?? ""),
        iat: now,
        exp: now + 300,
      };
      const content = `${encoded({ alg: "RS256", kid: "key" })}.${encoded(claims)}`;
      const signature = createSign("RSA-SHA256").update(content).sign(privateKey).toString("base64url");
      answer({ access_token: "access", token_type: "Bearer", expires_in: 300, id_token: `${content}.${signature}` });
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  function url(): string {
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  return {
    url,
    setting: () => `acme?client-id=manager&client-secret=secret&issuer=${encodeURIComponent(url())}&display-name=Acme`,
    next: (email) => (person = email),
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
