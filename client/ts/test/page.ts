// A page that does by clicks all that an account's life needs. The session is in a
// cookie: this script never sees its token.
import { createManager, isReason, reasonOf, WorkspaceState, type Workspace } from "@logicspike/manager";

const manager = createManager({ baseUrl: document.documentElement.dataset["api"]!, credentials: "cookie" });

let registrationId = "";
let workspaceId = "";
let etag = ""; // of the last preview

onSubmit("register", async ({ email, password, workspaceName }) => {
  const { registration } = await manager.registration.register({
    email: email!,
    password: password!,
    workspaceName: workspaceName!,
    requestId: crypto.randomUUID(),
  });
  registrationId = registration!.id;
  return "Enter the code from the mail";
});

onSubmit("verify", async ({ code }) => {
  await manager.registration.verifyRegistration({ registrationId, code: code!, requestId: crypto.randomUUID() });
  await showAccount();
  return "Registered";
});

onSubmit("sign-in", async ({ email, password }) => {
  await manager.authentication.signInWithPassword({ email: email!, password: password! });
  await showAccount();
  return "Signed in";
});

onSubmit("rename", async ({ name }) => {
  show((await manager.workspaces.updateWorkspace({ workspaceId, name: name! })).workspace!);
  return "Renamed";
});

onClick("preview", async () => {
  const preview = await manager.workspaces.previewDeleteWorkspace({ workspaceId });
  etag = preview.etag;
  enable("delete", true);
  enable("purge", true);
  return `${preview.deletedUserCount} user, ${preview.membershipCount} membership and ${preview.sessionCount} session would go`;
});

onClick("delete", async () => {
  show((await manager.workspaces.deleteWorkspace({ workspaceId, etag })).workspace!);
  return "Deleted";
});

onClick("undelete", async () => {
  show((await manager.workspaces.undeleteWorkspace({ workspaceId })).workspace!);
  return "Undeleted";
});

onClick("purge", async () => {
  await manager.workspaces.purgeWorkspace({ workspaceId, etag });
  await showAccount();
  return "Purged";
});

onClick("sign-out", async () => {
  await manager.authentication.signOut({});
  await showAccount();
  return "Signed out";
});

run(async () => ((await showAccount()) ? "Welcome back" : "Welcome"));

/** Shows the user and their workspace, or the forms for who is signed out. */
async function showAccount(): Promise<boolean> {
  const signedIn = await manager.sessions.getSession({}).then(
    () => true,
    (error) => {
      if (isReason(error, "SESSION_REQUIRED")) {
        return false;
      }
      throw error;
    },
  );
  if (signedIn) {
    const { user } = await manager.users.getMe({});
    element("user").textContent = user!.email;
    const { workspaces } = await manager.workspaces.listWorkspaces({ showDeleted: true });
    show(workspaces[0]!.workspace!);
  }
  element("signed-in").hidden = !signedIn;
  element("signed-out").hidden = signedIn;
  return signedIn;
}

function show(workspace: Workspace): void {
  workspaceId = workspace.id;
  element("name").textContent = workspace.name;
  element("state").textContent = WorkspaceState[workspace.state];
  enable("delete", false);
  enable("purge", false);
}

function onSubmit(id: string, action: (fields: Record<string, string | undefined>) => Promise<string>): void {
  element(id).addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.target as HTMLFormElement)) as Record<string, string>;
    run(() => action(fields));
  });
}

function onClick(id: string, action: () => Promise<string>): void {
  element(id).addEventListener("click", () => run(action));
}

/** Runs an action and says how it went. */
function run(action: () => Promise<string>): void {
  const status = document.querySelector("[role=status]")!;
  status.textContent = "…";
  action().then(
    (text) => (status.textContent = text),
    (error) => (status.textContent = `Failed: ${reasonOf(error) ?? error}`),
  );
}

function enable(button: string, enabled: boolean): void {
  (element(button) as HTMLButtonElement).disabled = !enabled;
}

function element(id: string): HTMLElement {
  return document.getElementById(id)!;
}
