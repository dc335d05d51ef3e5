import { useQuery } from "@connectrpc/connect-query";
import { createContext, use, type ReactNode } from "react";
import { AuthorizationService } from "@gen/team/v1/authorization_pb";
import type { Workspace } from "@gen/tenant/v1/workspace_pb";
import { Failure, Waiting } from "./components/states";

/** The workspace that a page is about, and what the person may do in it. */
export interface Here {
  workspace: Workspace;
  /** The role of the person: its id. */
  role: string;
  /** Reports whether the person may do something. */
  may(permission: Permission): boolean;
}

const Present = createContext<Here | null>(null);

/** The workspace of the page's path, below {@link InWorkspace}. */
export function useWorkspace(): Here {
  return use(Present)!;
}

/** What any page of a workspace shows or hides by. */
const permissions = [
  "api_key.create",
  "api_key.list",
  "billing.get",
  "billing.update",
  "domain.list",
  "domain.manage",
  "event.list",
  "invitation.create",
  "invitation.list",
  "invitation.revoke",
  "join_request.list",
  "join_request.review",
  "membership.get",
  "membership.remove",
  "membership.update",
  "role.list",
  "role.manage",
  "service_account.list",
  "service_account.manage",
  "workspace.delete",
  "workspace.transfer",
  "workspace.update",
] as const;

/** The name of a permission that pages ask for. */
export type Permission = (typeof permissions)[number];

/** Gives the pages below it their workspace. */
export function InWorkspace({ workspace, role, children }: { workspace: Workspace; role: string; children: ReactNode }) {
  const { data, error, refetch } = useQuery(AuthorizationService.method.batchCheckPermissions, {
    checks: permissions.map((permission) => ({ workspaceId: workspace.id, permission })),
  });
  if (!data) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  const allowed = new Set<Permission>(permissions.filter((_, i) => data.allowed[i]));
  return <Present value={{ workspace, role, may: (permission) => allowed.has(permission) }}>{children}</Present>;
}
