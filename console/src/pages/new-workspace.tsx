import { Anchor } from "@mantine/core";
import { Link } from "react-router";
import { Card } from "../components/card";
import { CreateWorkspace } from "../components/create-workspace";
import { texts } from "../texts";

/** Creates one more workspace, which the person owns. */
export function Page() {
  return (
    <Card title={texts.shell.newWorkspace}>
      <CreateWorkspace label={texts.setup.submit} />
      <Anchor component={Link} to="/" size="sm">
        {texts.common.back}
      </Anchor>
    </Card>
  );
}
