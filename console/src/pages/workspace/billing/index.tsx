import "./styles";
import { useQuery } from "@connectrpc/connect-query";
import { Alert, SimpleGrid } from "@mantine/core";
import { SubscriptionService } from "@gen/billing/v1/subscription_pb";
import { WorkspaceState } from "@gen/tenant/v1/workspace_pb";
import { Failure, Waiting } from "../../../components/states";
import { WorkspacePage } from "../../../components/workspace-page";
import { addReasons } from "../../../errors";
import { billingTexts as texts } from "../../../texts/billing";
import { useWorkspace } from "../../../workspace";
import { Invoices } from "./invoices";
import { PresentPlan, Standing } from "./plan";
import { Plans } from "./plans";
import { Seats } from "./seats";
import { Upcoming } from "./upcoming";
import { Usage } from "./usage";

addReasons(texts.reasons);

/** What a workspace pays for, and how much: for owners also of a deleted one. */
export function Page() {
  const { workspace, role, may } = useWorkspace();
  const deleted = workspace.state === WorkspaceState.DELETED;
  return (
    <WorkspacePage title={texts.title} text={texts.text} allowed={deleted ? role === "owner" : may("billing.get")}>
      {deleted ? (
        <Alert variant="default">
          {texts.deleted}
        </Alert>
      ) : (
        <Present />
      )}
      <Invoices />
    </WorkspacePage>
  );
}

function Present() {
  const { workspace } = useWorkspace();
  const { data, error, refetch } = useQuery(SubscriptionService.method.getSubscription, { workspaceId: workspace.id });
  const subscription = data?.subscription;
  if (!subscription) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  return (
    <>
      <Standing subscription={subscription} />
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <PresentPlan subscription={subscription} />
        <Seats subscription={subscription} />
      </SimpleGrid>
      <Plans subscription={subscription} triedPlans={data.triedPlans} />
      <Usage subscription={subscription} />
      <Upcoming subscription={subscription} />
    </>
  );
}
