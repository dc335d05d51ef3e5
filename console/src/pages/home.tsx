import { useQuery } from "@connectrpc/connect-query";
import { Navigate } from "react-router";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { Failure, Waiting } from "../components/states";
import { lastWorkspace } from "../last-workspace";

/** Goes on to the workspace that was looked at last, or to the first one. */
export function Page() {
  const { data, error, refetch } = useQuery(WorkspaceService.method.listWorkspaces, { pageSize: 200 });
  if (error) {
    return <Failure error={error} retry={() => void refetch()} />;
  }
  if (!data) {
    return <Waiting />;
  }
  const slugs = data.workspaces.map(({ workspace }) => workspace!.slug);
  const last = lastWorkspace.read();
  const slug = last !== undefined && slugs.includes(last) ? last : slugs[0];
  return <Navigate to={slug === undefined ? "/finish-setup" : `/w/${slug}`} replace />;
}
