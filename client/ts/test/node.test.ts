import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import {
  AccessDecision,
  Code,
  ConnectError,
  createManager,
  InvitationState,
  InvitationStep,
  isReason,
  reasonOf,
  SessionTransport,
  TokenKind,
  violationsOf,
  WorkspaceState,
  type Manager,
  type ReasonName,
} from "@logicspike/manager";
import { createRefreshingTokenSource, createTokenSource, createTokenVerifier, TokenError } from "@logicspike/manager/token";
import { codeMailedTo, findMailedTo, linkMailedTo, newAddress } from "./mailbox.js";
import { packageFolder } from "./paths.js";
import { freePort, startServer, type Server } from "./server.js";
import { totpCode } from "./totp.js";

const password = "maple-lantern-quartz";
const audience = "https://api.example.com";

describe("on Node", () => {
  let server: Server;
  before(async () => void (server = await startServer("node", { MANAGER_TOKEN_AUDIENCES: audience })));
  after(() => server?.stop());

  it("goes through the whole life of an account", async () => {
    const email = newAddress();
    let token: string | undefined;
    const manager = createManager({ baseUrl: server.url, sessionToken: () => token });

    const { registration, account: early } = await manager.registration.register({
      email,
      password,
      workspaceName: "Analytical Engines",
      requestId: crypto.randomUUID(),
    });
    assert.match(registration!.id, /^reg_/);
    assert.equal(early, undefined);

    const { account } = await manager.registration.verifyRegistration({
      registrationId: registration!.id,
      code: await codeMailedTo(server.url, email),
      requestId: crypto.randomUUID(),
    });
    const workspaceId = account!.workspace!.id;
    assert.equal(account!.user!.email, email);
    assert.ok(account!.user!.emailVerified);
    assert.equal(account!.workspace!.name, "Analytical Engines");
    assert.equal(account!.membership!.role, "owner");

    token = account!.sessionToken;
    const first = await manager.sessions.getSession({});
    assert.equal(first.session!.id, account!.session!.id);
    assert.equal(first.session!.transport, SessionTransport.BEARER);
    assert.ok(first.session!.current);
    assert.deepEqual(first.requirements, []);

    const signedIn = await manager.authentication.signInWithPassword({ email, password });
    assert.notEqual(signedIn.sessionToken, token);
    token = signedIn.sessionToken;
    assert.equal((await manager.sessions.getSession({})).session!.id, signedIn.session!.id);

    const { workspace: renamed } = await manager.workspaces.updateWorkspace({
      workspaceId,
      name: "Difference Engines",
      etag: account!.workspace!.etag,
    });
    assert.equal(renamed!.name, "Difference Engines");
    await fails(manager.workspaces.updateWorkspace({ workspaceId, name: "Other", etag: account!.workspace!.etag }), Code.Aborted, "ETAG_MISMATCH");

    const preview = await manager.workspaces.previewDeleteWorkspace({ workspaceId });
    assert.equal(preview.deletedUserCount, 1);
    assert.deepEqual(preview.deletedUsers.map((user) => user.email), [email]);
    assert.equal(preview.remainingUserCount, 0);
    assert.equal(preview.membershipCount, 1);
    assert.equal(preview.sessionCount, 2);

    await fails(manager.workspaces.deleteWorkspace({ workspaceId, etag: "stale" }), Code.Aborted, "ETAG_MISMATCH");
    await fails(manager.workspaces.purgeWorkspace({ workspaceId, etag: preview.etag }), Code.FailedPrecondition, "WORKSPACE_NOT_DELETED");
    const { workspace: deleted } = await manager.workspaces.deleteWorkspace({ workspaceId, etag: preview.etag });
    assert.equal(deleted!.state, WorkspaceState.DELETED);
    assert.ok(deleted!.purgeTime!.seconds > deleted!.deleteTime!.seconds);
    assert.equal((await manager.workspaces.getWorkspace({ workspaceId })).workspace!.state, WorkspaceState.DELETED);

    const { workspace: undeleted } = await manager.workspaces.undeleteWorkspace({ workspaceId });
    assert.equal(undeleted!.state, WorkspaceState.ACTIVE);
    assert.equal(undeleted!.name, "Difference Engines");
    assert.equal(undeleted!.purgeTime, undefined);

    await manager.workspaces.deleteWorkspace({ workspaceId, etag: await deletionEtag() });
    const purged = await manager.workspaces.purgeWorkspace({ workspaceId, etag: await deletionEtag() });
    assert.equal(purged.deletedUserCount, 1);
    assert.equal(purged.membershipCount, 1);

    await fails(manager.sessions.getSession({}), Code.Unauthenticated, "SESSION_REQUIRED");
    await fails(manager.authentication.signInWithPassword({ email, password }), Code.Unauthenticated, "CREDENTIALS_INVALID");

    async function deletionEtag(): Promise<string> {
      return (await manager.workspaces.previewDeleteWorkspace({ workspaceId })).etag;
    }
  });

  it("invites people, who join with a new account or with the one they have", async () => {
    const ada = await newAccount("Analytical Engines");
    const { invitations, memberships } = ada.manager;
    const workspaceId = ada.workspaceId;
    await fails(invitations.createInvitation({ workspaceId, email: ada.email }), Code.AlreadyExists, "ALREADY_MEMBER");

    // Somebody new, by the code.
    const email = newAddress();
    const { invitation } = await invitations.createInvitation({ workspaceId, email, role: "admin" });
    assert.deepEqual([invitation!.email, invitation!.role, invitation!.state], [email, "admin", InvitationState.PENDING]);
    const link = await linkMailedTo(server.url, email, "/accept-invitation");
    const token = decodeURIComponent(link.replace(/.*#token=/, ""));
    const anybody = createManager({ baseUrl: server.url });
    const received = await anybody.invitations.getInvitationByToken({ token });
    assert.deepEqual([received.invitation!.workspaceName, received.nextStep], ["Analytical Engines", InvitationStep.REGISTER]);
    assert.ok(received.maskedEmail.endsWith("@example.com") && received.maskedEmail !== email, received.maskedEmail);

    const registration = {
      email,
      code: await codeMailedTo(server.url, email),
      password,
      displayName: "Grace",
      requestId: crypto.randomUUID(),
    };
    const joined = await anybody.invitations.registerWithInvitation(registration);
    assert.deepEqual([joined.membership!.workspaceId, joined.membership!.role], [workspaceId, "admin"]);
    assert.equal((await anybody.invitations.registerWithInvitation(registration)).userId, joined.userId);
    const grace = createManager({ baseUrl: server.url, sessionToken: joined.sessionToken });
    const { user } = await grace.users.getMe({});
    assert.deepEqual([user!.email, user!.emailVerified, user!.displayName], [email, true, "Grace"]);
    assert.equal((await grace.workspaces.listWorkspaces({})).workspaces.length, 1);
    await fails(anybody.invitations.declineInvitation({ token }), Code.FailedPrecondition, "INVITATION_USED");

    // Somebody who has an account, invited by the new admin.
    const bob = await newAccount("Bob's");
    await grace.invitations.createInvitation({ workspaceId, email: bob.email });
    const [pending, ...more] = (await bob.manager.invitations.listReceivedInvitations({})).invitations;
    assert.deepEqual([pending!.inviterName, pending!.role, more.length], ["Grace", "member", 0]);
    await fails(ada.manager.invitations.acceptInvitation({ invitationId: pending!.id }), Code.NotFound, "NOT_FOUND");
    const accepted = await bob.manager.invitations.acceptInvitation({ invitationId: pending!.id });
    const again = await bob.manager.invitations.acceptInvitation({ invitationId: pending!.id });
    assert.equal(again.membership!.id, accepted.membership!.id);

    assert.deepEqual(await members(), [[ada.email, "owner"], [email, "admin"], [bob.email, "member"]]);
    const found = await memberships.listMemberships({ workspaceId, search: "grac" });
    assert.deepEqual(found.memberships.map((member) => member.email), [email]);

    // What they may do, and a role of the workspace's own.
    const permission = "invitation.create";
    const allowed = async (manager: Manager) => (await manager.authorization.checkPermission({ workspaceId, permission })).allowed;
    assert.deepEqual([await allowed(grace), await allowed(bob.manager)], [true, false]);
    await fails(bob.manager.invitations.createInvitation({ workspaceId, email: newAddress() }), Code.PermissionDenied, "PERMISSION_MISSING");
    const { role } = await ada.manager.roles.createRole({ workspaceId, name: "Recruiter", permissions: [permission] });
    await memberships.updateMembership({ workspaceId, membershipId: accepted.membership!.id, role: role!.id });
    assert.ok(await allowed(bob.manager));
    const why = await ada.manager.authorization.explainAccess({ workspaceId, userId: accepted.membership!.userId, permission });
    assert.equal(why.decision, AccessDecision.GRANTED);

    const { domain } = await ada.manager.domains.createDomain({ workspaceId, domain: `d-${crypto.randomUUID()}.example.com` });
    assert.ok(!domain!.verified && domain!.recordName !== "" && domain!.recordValue !== "");
    assert.deepEqual((await bob.manager.joinRequests.listJoinableWorkspaces({})).workspaces, []);

    async function members(): Promise<string[][]> {
      return (await memberships.listMemberships({ workspaceId })).memberships.map((member) => [member.email, member.role]);
    }
  });

  it("issues access tokens that other services verify by themselves", async () => {
    const { manager, workspaceId } = await newAccount("Engines");
    const { user } = await manager.users.getMe({});
    const { session } = await manager.sessions.getSession({});
    const verifier = createTokenVerifier({ issuer: server.url, audience });

    const source = createTokenSource(manager, { audience, workspaceId });
    const token = await source.accessToken();
    assert.equal(await source.accessToken(), token);
    const said = await verifier.verifyHeader(`Bearer ${token}`);
    assert.deepEqual(
      [said.userId, said.sessionId, said.workspaceId, said.role, said.impersonatorUserId],
      [user!.id, session!.id, workspaceId, "owner", undefined],
    );
    assert.ok(said.permissions.includes("workspace.delete") && said.methods.length > 0);
    assert.ok(Math.abs(said.expireTime.getTime() - Date.now() - 300_000) < 10_000, said.expireTime.toISOString());
    assert.ok(said.authenticateTime!.getTime() <= Date.now());

    const bare = await verifier.verify(await createTokenSource(manager).accessToken());
    assert.deepEqual([bare.workspaceId, bare.role, bare.permissions], [undefined, undefined, []]);
    for (const other of [
      createTokenVerifier({ issuer: server.url, audience: "https://other.example.com" }),
      createTokenVerifier({ issuer: "https://other.example.com", audience, jwksUrl: `${server.url}/.well-known/jwks.json` }),
    ]) {
      await assert.rejects(other.verify(token), TokenError);
    }

    // The API itself takes sessions and API keys only.
    const byToken = createManager({ baseUrl: server.url, sessionToken: token });
    await fails(byToken.users.getMe({}), Code.Unauthenticated, "SESSION_REQUIRED");
    await fails(manager.tokens.createAccessToken({ audience: "https://other.example.com" }), Code.FailedPrecondition, "AUDIENCE_NOT_ALLOWED");
    const somebody = await newAccount("Other");
    await fails(createTokenSource(manager, { workspaceId: somebody.workspaceId }).accessToken(), Code.NotFound, "NOT_FOUND");

    const { active, kind, userId } = await manager.tokens.introspectToken({ workspaceId, token });
    assert.deepEqual([active, kind, userId], [true, TokenKind.ACCESS, user!.id]);
    assert.equal((await somebody.manager.tokens.introspectToken({ workspaceId: somebody.workspaceId, token })).active, false);
  });

  it("refreshes access tokens without a session's token, until the session ends", async () => {
    const { manager, workspaceId } = await newAccount("Engines");
    const anybody = createManager({ baseUrl: server.url });
    const verifier = createTokenVerifier({ issuer: server.url, audience });
    const newSource = async () => {
      const stored = [(await manager.tokens.createRefreshToken({ audience, workspaceId })).refreshToken];
      return { stored, source: createRefreshingTokenSource(anybody, { refreshToken: stored[0]!, store: (token) => void stored.push(token) }) };
    };

    const { stored, source } = await newSource();
    for (let i = 1; i <= 3; i++) {
      source.expire();
      assert.equal((await verifier.verify(await source.accessToken())).workspaceId, workspaceId);
      assert.equal(stored.length, i + 1);
    }
    assert.equal(new Set(stored).size, 4);
    // A program that was started again goes on with what was stored; a token long used ends all.
    const again = createRefreshingTokenSource(anybody, { refreshToken: stored.at(-1)!, store: (token) => void stored.push(token) });
    await again.accessToken();
    await fails(anybody.tokens.refreshAccessToken({ refreshToken: stored[0]! }), Code.Unauthenticated, "TOKEN_INVALID");
    again.expire();
    await fails(again.accessToken(), Code.Unauthenticated, "TOKEN_INVALID");

    const revoked = await newSource();
    await revoked.source.accessToken();
    await revoked.source.revoke();
    await fails(revoked.source.accessToken(), Code.Unauthenticated, "TOKEN_INVALID");

    const last = await newSource();
    await manager.authentication.signOut({});
    await fails(last.source.accessToken(), Code.Unauthenticated, "TOKEN_INVALID");
  });

  it("runs the example of a service", async () => {
    const { manager, workspaceId } = await newAccount("Engines");
    const port = await freePort();
    const service = spawn(process.execPath, [join(packageFolder, "dist", "client", "ts", "examples", "service.js"), server.url, audience, `${port}`]);
    try {
      await once(service.stdout, "data");
      const get = async (token: string | undefined, workspace: string) => {
        const answer = await fetch(`http://localhost:${port}/workspaces/${workspace}`, token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } });
        return [answer.status, await answer.text()];
      };
      const token = await createTokenSource(manager, { workspaceId }).accessToken();
      const { user } = await manager.users.getMe({});
      assert.deepEqual(await get(token, workspaceId), [200, `${JSON.stringify({ user: user!.id, workspace: workspaceId, role: "owner", onBehalfOf: false })}\n`]);
      assert.equal((await get(token, "wsp_other"))[0], 404);
      assert.equal((await get(`${token}x`, workspaceId))[0], 401);
      assert.equal((await get(undefined, workspaceId))[0], 401);
    } finally {
      service.kill();
    }
  });

  it("lets programs call with API keys, by what the keys hold", async () => {
    const { manager, workspaceId } = await newAccount("Engines");
    const { serviceAccount } = await manager.serviceAccounts.createServiceAccount({ workspaceId, displayName: "Importer" });
    const { apiKey, token } = await manager.apiKeys.createApiKey({
      workspaceId,
      displayName: "Importer",
      serviceAccountId: serviceAccount!.id,
      permissions: ["membership.get"],
      requestId: crypto.randomUUID(),
    });
    assert.match(token, /^lsmk_/);
    const program = createManager({ baseUrl: server.url, sessionToken: token });
    assert.equal((await program.memberships.listMemberships({ workspaceId })).memberships.length, 1);
    await fails(program.workspaces.updateWorkspace({ workspaceId, name: "Taken over" }), Code.PermissionDenied, "PERMISSION_MISSING");
    await fails(program.users.getMe({}), Code.PermissionDenied, "API_KEY_NOT_ALLOWED");
    await manager.apiKeys.revokeApiKey({ workspaceId, apiKeyId: apiKey!.id });
    await fails(program.memberships.listMemberships({ workspaceId }), Code.Unauthenticated, "SESSION_REQUIRED");
  });

  it("signs in by a mailed code, and asks for a second factor", async () => {
    const { manager, email } = await newAccount("Engines");
    const anybody = createManager({ baseUrl: server.url });
    const byMail = async () => {
      const { emailChallengeId, bindingToken } = await anybody.emailChallenges.startEmailSignIn({ email });
      const code = (await findMailedTo(server.url, email, /to copy: [0-9]{6}[^]*sign-in-by-email/)).slice(9, 15);
      return { emailChallengeId, bindingToken, code };
    };
    const proof = await byMail();
    await fails(anybody.emailChallenges.completeEmailSignIn({ ...proof, bindingToken: "" }), Code.FailedPrecondition, "CODE_INVALID");
    const signedIn = await anybody.emailChallenges.completeEmailSignIn(proof);
    assert.deepEqual(signedIn.requirements, []);
    await fails(anybody.emailChallenges.completeEmailSignIn(proof), Code.FailedPrecondition, "CODE_INVALID");

    let device: string | undefined;
    const { authentication } = createManager({ baseUrl: server.url, deviceToken: { read: () => device, write: (given) => void (device = given) } });
    await authentication.signInWithPassword({ email, password });
    assert.ok(device, "the server knows the device again");
    const known = device;
    await authentication.signInWithPassword({ email, password });
    assert.equal(device, known);

    const { totpFactorId, secret } = await manager.secondFactors.createTotpFactor({ displayName: "Phone" });
    const { recoveryCodes } = await manager.secondFactors.confirmTotpFactor({ totpFactorId, code: totpCode(secret) });
    assert.equal(recoveryCodes.length, 10);

    let token = (await authentication.signInWithPassword({ email, password })).sessionToken;
    const again = createManager({ baseUrl: server.url, sessionToken: () => token });
    await fails(again.users.getMe({}), Code.FailedPrecondition, "SECOND_FACTOR_REQUIRED");
    const wrong = { proof: { case: "recoveryCode", value: "wrong" } } as const;
    await fails(again.secondFactors.verifySecondFactor(wrong), Code.Unauthenticated, "SECOND_FACTOR_INVALID");
    token = (await again.secondFactors.verifySecondFactor({ proof: { case: "recoveryCode", value: recoveryCodes[0]! } })).sessionToken;
    assert.equal((await again.users.getMe({})).user!.email, email);
    const overview = await again.security.getSecurityOverview({});
    assert.deepEqual(
      [overview.hasPassword, overview.totpFactorCount, overview.recoveryCodeCount, overview.secondFactorRequired],
      [true, 1, 9, true],
    );
  });

  it("tells why a call failed", async () => {
    const manager = createManager({ baseUrl: server.url });
    await fails(manager.sessions.getSession({}), Code.Unauthenticated, "SESSION_REQUIRED");
    await fails(manager.authentication.signInWithPassword({ email: newAddress(), password: "wrong" }), Code.Unauthenticated, "CREDENTIALS_INVALID");

    const common = { email: newAddress(), password: "password1234", workspaceName: "Engines" };
    assert.deepEqual(fieldsOf(await fails(manager.registration.register(common), Code.InvalidArgument, "PASSWORD_COMMON")), ["password"]);

    const malformed = { email: "Ada <ada@example.com>", password, workspaceName: "Engines" };
    assert.deepEqual(fieldsOf(await fails(manager.registration.register(malformed), Code.InvalidArgument, "FIELD_INVALID")), ["email"]);

    const nameless = { email: newAddress(), password, workspaceName: "" };
    assert.deepEqual(fieldsOf(await fails(manager.registration.register(nameless), Code.InvalidArgument, "FIELD_INVALID")), ["workspace_name"]);
  });

  it("tells a wrong password from a server that cannot be reached", async () => {
    const manager = createManager({ baseUrl: `http://localhost:${await freePort()}` });
    const error = await caught(manager.sessions.getSession({}));
    assert.ok(error instanceof ConnectError);
    assert.equal(reasonOf(error), undefined);
    assert.ok(!isReason(error, "CREDENTIALS_INVALID"));
  });

  it("runs the example", async () => {
    const tour = join(packageFolder, "dist", "client", "ts", "examples", "tour.js");
    const { stdout } = await promisify(execFile)(process.execPath, [tour, server.url], { timeout: 60_000 });
    const steps = stdout.trimEnd().split("\n").map((line) => line.split(" ")[0]);
    assert.deepEqual(steps, ["register", "verify", "sign", "rename", "invite", "join", "members", "preview", "delete", "undelete", "purge", "session"], stdout);
  });

  /** Makes an account, and a client that is signed in to it. */
  async function newAccount(workspaceName: string): Promise<{ manager: Manager; email: string; workspaceId: string }> {
    const email = newAddress();
    const { registration } = createManager({ baseUrl: server.url });
    const begun = await registration.register({ email, password, workspaceName });
    const { account } = await registration.verifyRegistration({
      registrationId: begun.registration!.id,
      code: await codeMailedTo(server.url, email),
    });
    const manager = createManager({ baseUrl: server.url, sessionToken: account!.sessionToken });
    return { manager, email, workspaceId: account!.workspace!.id };
  }
});

/** Waits for a call to fail with this code and reason, and returns the error. */
async function fails(call: Promise<unknown>, code: Code, reason: ReasonName): Promise<ConnectError> {
  const error = ConnectError.from(await caught(call));
  assert.deepEqual([Code[error.code], reasonOf(error)], [Code[code], reason], error.message);
  return error;
}

async function caught(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  assert.fail("the call did not fail");
}

function fieldsOf(error: unknown): string[] {
  return violationsOf(error).map((violation) => violation.field);
}
