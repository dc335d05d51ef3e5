import { useQuery } from "@connectrpc/connect-query";
import { Badge, Card, Group, SimpleGrid, Text, Title } from "@mantine/core";
import { SeatService } from "@gen/billing/v1/seat_pb";
import { SubscriptionService } from "@gen/billing/v1/subscription_pb";
import { texts } from "../../texts";
import { useWorkspace } from "../../workspace";

/** What a workspace is, at a glance. */
export function Page() {
  const { workspace, role, may } = useWorkspace();
  const enabled = may("billing.get");
  const subscription = useQuery(SubscriptionService.method.getSubscription, { workspaceId: workspace.id }, { enabled });
  const seats = useQuery(SeatService.method.getSeatUsage, { workspaceId: workspace.id }, { enabled });
  return (
    <>
      <Group mb="md">
        <Title order={1} size="h3">
          {workspace.name}
        </Title>
        <Badge variant="light">{role}</Badge>
      </Group>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        {subscription.data && (
          <Card withBorder>
            <Text size="sm" c="dimmed">
              {texts.overview.plan}
            </Text>
            <Text fw={600}>{subscription.data.subscription?.plan?.displayName}</Text>
          </Card>
        )}
        {seats.data && (
          <Card withBorder>
            <Text size="sm" c="dimmed">
              {texts.overview.seats}
            </Text>
            <Text fw={600}>
              {seats.data.active}
              {seats.data.limit?.unlimited ? "" : ` / ${seats.data.limit?.value}`}
            </Text>
          </Card>
        )}
      </SimpleGrid>
    </>
  );
}
