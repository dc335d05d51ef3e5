import { Anchor } from "@mantine/core";
import { Link } from "react-router";
import { Card } from "../components/card";
import { texts } from "../texts";

/** What a path shows that is none. */
export function NotFound() {
  return (
    <Card title="404" text={texts.common.notFound}>
      <Anchor component={Link} to="/">
        {texts.common.back}
      </Anchor>
    </Card>
  );
}
