import { useQuery } from "@connectrpc/connect-query";
import { Navigate, useSearchParams } from "react-router";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { Failure, Waiting } from "../components/states";
import { lastWorkspace } from "../last-workspace";

/** Goes on to the workspace whose id is in the query, or that was looked at last, or to the first one. */
export function Page() {
  const [search] = useSearchParams();
  const { data, error, refetch } = useQuery(WorkspaceService.method.listWorkspaces, { pageSize: 200 });
  if (!data) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  const workspaces = data.workspaces.map(({ workspace }) => workspace!);
  const wanted = workspaces.find(({ id }) => id === search.get("workspace")) ?? workspaces.find(({ slug }) => slug === lastWorkspace.read()) ?? workspaces[0];
  const slug = wanted?.slug;
  return <Navigate to={slug === undefined ? "/finish-setup" : `/w/${slug}`} replace />;
}
