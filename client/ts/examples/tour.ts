/**
 * The whole life of an account, against a running server that sends its mail to the
 * mailbox for development (`make run`). It leaves nothing behind.
 *
 *     npm run --silent tour -w client/ts -- http://localhost:8080
 */
import { createManager, isReason, WorkspaceState } from "@logicspike/manager";

const baseUrl = process.argv[2] ?? "http://localhost:8080";
const email = `ada-${crypto.randomUUID().slice(0, 8)}@example.com`;
const password = "maple-lantern-quartz";

// The session's token; calls send whichever it is at the time.
let token: string | undefined;
const manager = createManager({ baseUrl, sessionToken: () => token });

// Register, and prove the address. The ids make both calls safe to repeat.
const { registration } = await manager.registration.register({
  email,
  password,
  workspaceName: "Analytical Engines",
  requestId: crypto.randomUUID(),
});
console.log(`register   ${email}, the code is in the mail`);

const { account } = await manager.registration.verifyRegistration({
  registrationId: registration!.id,
  code: await codeMailedTo(email),
  requestId: crypto.randomUUID(),
});
const workspaceId = account!.workspace!.id;
token = account!.sessionToken;
console.log(`verify     ${account!.user!.id} is ${account!.membership!.role} of ${workspaceId} (${account!.workspace!.slug})`);

// Sign in, as from another machine.
const signedIn = await manager.authentication.signInWithPassword({ email, password });
token = signedIn.sessionToken;
const { session } = await manager.sessions.getSession({});
console.log(`sign in    ${session!.id} of ${session!.userId}`);

const { workspace } = await manager.workspaces.updateWorkspace({ workspaceId, name: "Difference Engines" });
console.log(`rename     ${workspace!.name}`);

// Invite a colleague, who has no account yet: the code from the mail is all they need.
const colleague = email.replace("ada", "grace");
const { invitation } = await manager.invitations.createInvitation({ workspaceId, email: colleague });
console.log(`invite     ${invitation!.email} as ${invitation!.role}, the code is in the mail`);

const joined = await manager.invitations.registerWithInvitation({
  email: colleague,
  code: await codeMailedTo(colleague),
  password: "walnut-harbour-violin",
  displayName: "Grace",
  requestId: crypto.randomUUID(),
});
console.log(`join       ${joined.userId} is ${joined.membership!.role} of ${joined.membership!.workspaceId}`);

const { memberships } = await manager.memberships.listMemberships({ workspaceId });
console.log(`members    ${memberships.map((member) => `${member.displayName} (${member.role})`).join(", ")}`);

// Delete. What is deleted is what the preview showed: its etag says so.
const preview = await manager.workspaces.previewDeleteWorkspace({ workspaceId });
console.log(`preview    ${preview.deletedUserCount} users, ${preview.membershipCount} memberships, ${preview.sessionCount} sessions would go`);

const deleted = await manager.workspaces.deleteWorkspace({ workspaceId, etag: preview.etag });
console.log(`delete     ${WorkspaceState[deleted.workspace!.state]}`);

const undeleted = await manager.workspaces.undeleteWorkspace({ workspaceId });
console.log(`undelete   ${WorkspaceState[undeleted.workspace!.state]}`);

const again = await manager.workspaces.previewDeleteWorkspace({ workspaceId });
await manager.workspaces.deleteWorkspace({ workspaceId, etag: again.etag });
const last = await manager.workspaces.previewDeleteWorkspace({ workspaceId });
const purged = await manager.workspaces.purgeWorkspace({ workspaceId, etag: last.etag });
console.log(`purge      ${purged.deletedUserCount} users, ${purged.membershipCount} memberships are gone`);

// The users belonged to nothing else, so their sessions are gone too.
try {
  await manager.sessions.getSession({});
} catch (error) {
  if (!isReason(error, "SESSION_REQUIRED")) {
    throw error;
  }
  console.log("session    is gone");
}

/** Waits for the mail to an address and returns the six digits in it. */
async function codeMailedTo(address: string): Promise<string> {
  for (let tries = 0; tries < 100; tries++) {
    const answer = await fetch(`${baseUrl}/mailbox/messages?to=${encodeURIComponent(address)}`);
    const [newest] = (await answer.json()) as { text: string }[];
    const code = newest?.text.match(/\b[0-9]{6}\b/);
    if (code) {
      return code[0];
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no mail with a code came to ${address}`);
}
