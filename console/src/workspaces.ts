import { useQuery } from "@tanstack/react-query";
import { WorkspaceService, type ListWorkspacesResponse } from "@gen/tenant/v1/workspace_pb";
import { call } from "./api";

/** All workspaces of the person with their role in each, however many pages they are; if wanted, with those that are deleted. */
export function useWorkspaces({ showDeleted = false } = {}) {
  return useQuery({ queryKey: ["workspaces", { showDeleted }], queryFn: () => all(showDeleted) });
}

async function all(showDeleted: boolean): Promise<ListWorkspacesResponse["workspaces"]> {
  const found: ListWorkspacesResponse["workspaces"] = [];
  let pageToken = "";
  do {
    const { workspaces, nextPageToken } = await call(WorkspaceService.method.listWorkspaces, { pageSize: 200, pageToken, showDeleted });
    found.push(...workspaces);
    pageToken = nextPageToken;
  } while (pageToken !== "");
  return found;
}
