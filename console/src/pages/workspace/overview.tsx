import { useQuery } from "@connectrpc/connect-query";
import { Badge, Card, Group, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { SeatService } from "@gen/billing/v1/seat_pb";
import { SubscriptionService } from "@gen/billing/v1/subscription_pb";
import { WorkspaceState } from "@gen/tenant/v1/workspace_pb";
import { Failure, Waiting } from "../../components/states";
import { usePageTitle } from "../../product";
import { fill } from "../../texts";
import { workspaceTexts } from "../../texts/workspace";
import { useRoles } from "../../roles";
import { useWorkspace } from "../../workspace";
import { Deleted } from "./deleted";
import { FirstSteps, useFirstSteps } from "./first-steps";

/** What a workspace is, at a glance. */
export function Page() {
  const { workspace, role } = useWorkspace();
  const { nameOf } = useRoles();
  const deleted = workspace.state === WorkspaceState.DELETED;
  usePageTitle(workspace.name);
  return (
    <>
      <Group mb="md">
        <Title order={1} size="h3">
          {workspace.name}
        </Title>
        <Badge variant="default">{nameOf(role)}</Badge>
      </Group>
      {deleted ? <Deleted /> : <Live />}
    </>
  );
}

function Live() {
  const { may } = useWorkspace();
  const { steps, hide } = useFirstSteps();
  return (
    <Stack>
      {steps && steps.length > 0 && <FirstSteps steps={steps} hide={hide} />}
      {may("billing.get") && <Billing />}
      {!may("billing.get") && steps?.length === 0 && <Text c="dimmed">{workspaceTexts.overview.nothing}</Text>}
    </Stack>
  );
}

function Billing() {
  const { workspace } = useWorkspace();
  const subscription = useQuery(SubscriptionService.method.getSubscription, { workspaceId: workspace.id });
  const seats = useQuery(SeatService.method.getSeatUsage, { workspaceId: workspace.id });
  const failed = [subscription, seats].find(({ data, error }) => !data && error);
  if (failed) {
    return <Failure error={failed.error} retry={() => void failed.refetch()} />;
  }
  if (!subscription.data || !seats.data) {
    return <Waiting />;
  }
  const { active, reserved, limit } = seats.data;
  return (
    <SimpleGrid cols={{ base: 1, sm: 2 }}>
      <Fact label={workspaceTexts.overview.plan}>{subscription.data.subscription?.plan?.displayName}</Fact>
      <Fact label={workspaceTexts.overview.seats}>
        {limit?.unlimited ? active : fill(workspaceTexts.overview.of, { active, all: String(limit?.value ?? 0) })}
        {reserved > 0 && (
          <Text span size="sm" c="dimmed">
            {" "}
            {fill(workspaceTexts.overview.reserved, { count: reserved })}
          </Text>
        )}
      </Fact>
    </SimpleGrid>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <Card withBorder component="section" aria-label={label}>
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <Text fw={600} component="div">
        {children}
      </Text>
    </Card>
  );
}
