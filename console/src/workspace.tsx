import { useQuery } from "@connectrpc/connect-query";
import { createContext, use, type ReactNode } from "react";
import { AuthorizationService } from "@gen/team/v1/authorization_pb";
import type { Workspace } from "@gen/tenant/v1/workspace_pb";

/** The workspace that a page is about, and what the person may do in it. */
export interface Here {
  workspace: Workspace;
  /** The role of the person: its id. */
  role: string;
  /** Reports whether the person may do something: false until that is known. */
  may(permission: string): boolean;
}

const Present = createContext<Here | null>(null);

/** The workspace of the page's path, below {@link InWorkspace}. */
export function useWorkspace(): Here {
  return use(Present)!;
}

/** What any page of a workspace shows or hides by. */
const permissions = [
  "workspace.update",
  "workspace.delete",
  "membership.get",
  "membership.update",
  "membership.remove",
  "invitation.create",
  "invitation.list",
  "invitation.revoke",
  "role.list",
  "role.create",
  "domain.list",
  "domain.create",
  "join_request.list",
  "billing.get",
  "billing.update",
  "api_key.list",
  "api_key.create",
  "service_account.list",
  "service_account.create",
  "event.list",
] as const;

/** Gives the pages below it their workspace. */
export function InWorkspace({ workspace, role, children }: { workspace: Workspace; role: string; children: ReactNode }) {
  const { data } = useQuery(AuthorizationService.method.batchCheckPermissions, {
    checks: permissions.map((permission) => ({ workspaceId: workspace.id, permission })),
  });
  const allowed = new Set(permissions.filter((_, i) => data?.allowed[i]));
  return <Present value={{ workspace, role, may: (permission) => (allowed as Set<string>).has(permission) }}>{children}</Present>;
}
