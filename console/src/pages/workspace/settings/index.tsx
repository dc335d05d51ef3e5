import { WorkspaceState } from "@gen/tenant/v1/workspace_pb";
import { WorkspacePage } from "../../../components/workspace-page";
import { settingsTexts as texts } from "../../../texts/settings";
import { useWorkspace } from "../../../workspace";
import { Deleted } from "../deleted";
import { DangerZone } from "./danger-zone";
import { General } from "./general";
import { Security } from "./security";

/** What a workspace is called and requires, and its deletion: for owners also of a deleted one. */
export function Page() {
  const { workspace, role, may } = useWorkspace();
  const deleted = workspace.state === WorkspaceState.DELETED;
  const ends = deleted ? role === "owner" : may("workspace.delete");
  return (
    <WorkspacePage title={texts.title} text={texts.text} allowed={ends || may("workspace.update")}>
      {deleted && <Deleted />}
      {may("workspace.update") && <General />}
      {may("workspace.update") && <Security />}
      {ends && <DangerZone />}
    </WorkspacePage>
  );
}
