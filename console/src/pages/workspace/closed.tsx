import { Anchor, Button, Stack } from "@mantine/core";
import { Link } from "react-router";
import type { Workspace } from "@gen/tenant/v1/workspace_pb";
import { queryClient } from "../../api";
import { Card } from "../../components/card";
import { SecondFactor } from "../../components/second-factor";
import { tell } from "../../components/toasts";
import { signOut } from "../../sign-out";
import { fill, texts as all } from "../../texts";
import { frameTexts } from "../../texts/frame";
import { secondFactorTexts as texts } from "../../texts/second-factor";

/** What is shown of a workspace that requires a second factor to who has proven none: how they get in, and where else they can go. */
export function Closed({ workspace, others }: { workspace: Workspace; others: Workspace[] }) {
  const done = () => {
    tell(texts.confirmed);
    void queryClient.resetQueries();
  };
  return (
    <Card title={fill(texts.title, { name: workspace.name })} text={texts.text}>
      <SecondFactor done={done} />
      <Stack gap="xs" align="start">
        {others.map(({ id, name, slug }) => (
          <Anchor key={id} component={Link} to={`/w/${slug}`} size="sm">
            {fill(texts.goTo, { name })}
          </Anchor>
        ))}
        <Anchor component={Link} to="/account" size="sm">
          {frameTexts.manageAccount}
        </Anchor>
        <Button variant="subtle" size="compact-sm" px={0} onClick={() => void signOut()}>
          {all.common.signOut}
        </Button>
      </Stack>
    </Card>
  );
}
