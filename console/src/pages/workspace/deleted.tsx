import { timestampDate } from "@bufbuild/protobuf/wkt";
import { useMutation } from "@connectrpc/connect-query";
import { Alert, Button, Text } from "@mantine/core";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { tell, tellFailure } from "../../components/toasts";
import { fill } from "../../texts";
import { workspaceTexts as texts } from "../../texts/workspace";
import { useWorkspace } from "../../workspace";

/** Tells of the deletion, and lets owners take it back: no permission is anybody's in a deleted workspace. */
export function Deleted() {
  const { workspace, role } = useWorkspace();
  const undelete = useMutation(WorkspaceService.method.undeleteWorkspace);
  const time = workspace.purgeTime && timestampDate(workspace.purgeTime).toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" });
  return (
    <Alert color="red" variant="light" title={texts.overview.deleted} role="status">
      <Text size="sm" mb="sm">
        {fill(texts.overview.purge, { time: time ?? "" })}
      </Text>
      {role === "owner" && (
        <Button
          variant="default"
          loading={undelete.isPending}
          onClick={() => void undelete.mutateAsync({ workspaceId: workspace.id }).then(() => tell(texts.overview.undeleted), tellFailure)}
        >
          {texts.overview.undelete}
        </Button>
      )}
    </Alert>
  );
}
