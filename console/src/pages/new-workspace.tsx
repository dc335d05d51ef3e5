import { Anchor } from "@mantine/core";
import { Link } from "react-router";
import { Card } from "../components/card";
import { CreateWorkspace } from "../components/create-workspace";
import { texts } from "../texts";
import { startTexts } from "../texts/start";
import { workspaceTexts } from "../texts/workspace";

/** Creates one more workspace, which the person owns. */
export function Page() {
  return (
    <Card title={workspaceTexts.shell.newWorkspace}>
      <CreateWorkspace label={startTexts.setup.submit} />
      <Anchor component={Link} to="/" size="sm">
        {texts.common.back}
      </Anchor>
    </Card>
  );
}
