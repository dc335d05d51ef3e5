import { useEffect } from "react";
import { Navigate, useSearchParams } from "react-router";
import { queryClient } from "../api";
import { Failure, Waiting } from "../components/states";
import { lastWorkspace } from "../last-workspace";
import { useWorkspaces } from "../workspaces";

/** Goes on to the workspace whose id is in the query, or that was looked at last, or to the first one. */
export function Page() {
  const [search] = useSearchParams();
  const { data, error, refetch } = useWorkspaces();
  const none = data?.length === 0;
  useEffect(() => {
    if (none) {
      void queryClient.invalidateQueries(); // The session says then what has to be done first.
    }
  }, [none]);
  if (!data || none) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  const workspaces = data.map(({ workspace }) => workspace!);
  const wanted = workspaces.find(({ id }) => id === search.get("workspace")) ?? workspaces.find(({ slug }) => slug === lastWorkspace.read()) ?? workspaces[0];
  return wanted && <Navigate to={`/w/${wanted.slug}`} replace />;
}
