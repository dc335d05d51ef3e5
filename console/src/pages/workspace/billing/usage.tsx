import { timestampDate, timestampFromDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { useQuery } from "@connectrpc/connect-query";
import { Group, NativeSelect, Progress, Stack, Table, Text } from "@mantine/core";
import { useMemo, useState } from "react";
import { EntitlementService, type Entitlement } from "@gen/billing/v1/entitlement_pb";
import type { Subscription } from "@gen/billing/v1/subscription_pb";
import { UsageBucket, UsageService, type UsageSum } from "@gen/billing/v1/usage_pb";
import { Section } from "../../../components/section";
import { Failure, Waiting } from "../../../components/states";
import { count, words } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";
import { useWorkspace } from "../../../workspace";
import { priceOf } from "./prices";

type Span = "period" | "days" | "hours" | "months";

const hour = 3_600_000;
const spans: Record<Span, { bucket: UsageBucket; since: (now: Date) => Date }> = {
  period: { bucket: UsageBucket.DAY, since: (now) => now },
  days: { bucket: UsageBucket.DAY, since: (now) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - 29)) },
  hours: { bucket: UsageBucket.HOUR, since: (now) => new Date(Math.floor(now.getTime() / hour) * hour - 23 * hour) },
  months: { bucket: UsageBucket.MONTH, since: (now) => new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 11)) },
};

/** What was used of all that the plan meters; nothing where it meters nothing. */
export function Usage({ subscription }: { subscription: Subscription }) {
  const { workspace } = useWorkspace();
  const entitlements = useQuery(EntitlementService.method.listEntitlements, { workspaceId: workspace.id });
  const [wanted, setWanted] = useState<string>();
  const [span, setSpan] = useState<Span>("days");
  const plan = subscription.plan;
  const metered = (entitlements.data?.entitlements ?? []).flatMap((entitlement) =>
    entitlement.feature?.value.case === "metered" ? [[entitlement.feature.value.value.meter, entitlement] as const] : [],
  );
  const charged = (plan && priceOf(plan, subscription.currency, subscription.interval)?.usage.map(({ meter }) => meter)) ?? [];
  const meters = [...new Set([...metered.map(([meter]) => meter), ...charged])];
  const meter = wanted ?? meters[0];
  if (entitlements.error && !entitlements.data) {
    return <Failure error={entitlements.error} retry={() => void entitlements.refetch()} />;
  }
  if (meter === undefined) {
    return null;
  }
  const limit = metered.find(([name]) => name === meter)?.[1];
  return (
    <Section
      title={texts.usage.title}
      actions={
        <Group gap="xs">
          <NativeSelect
            size="xs"
            aria-label={texts.usage.meter}
            value={meter}
            onChange={({ currentTarget: { value } }) => setWanted(value)}
            data={meters.map((value) => ({ value, label: words(value) }))}
          />
          <NativeSelect
            size="xs"
            aria-label={texts.usage.span}
            value={span}
            onChange={({ currentTarget: { value } }) => setSpan(value as Span)}
            data={(["period", "days", "hours", "months"] as const).map((value) => ({ value, label: texts.usage[value] }))}
          />
        </Group>
      }
    >
      <Stack gap="md">
        {limit && <Used entitlement={limit} />}
        <Chart meter={meter} span={span} periodStart={subscription.currentPeriodStartTime} />
      </Stack>
    </Section>
  );
}

function Used({ entitlement: { used, feature } }: { entitlement: Entitlement }) {
  const limit = feature?.value.case === "metered" ? feature.value.value.limit : undefined;
  if (!limit || limit.unlimited) {
    return <Text size="sm">{fill(texts.usage.noLimit, { used: count(used) })}</Text>;
  }
  const label = fill(texts.usage.limit, { used: count(used), limit: count(limit.value) });
  const part = limit.value === 0n ? 100 : Math.min(100, (Number(used) / Number(limit.value)) * 100);
  return (
    <div>
      <Text size="sm" mb={4}>
        {label}
      </Text>
      <Progress value={part} aria-label={label} {...(part >= 90 && { color: "red" })} />
    </div>
  );
}

function Chart({ meter, span, periodStart }: { meter: string; span: Span; periodStart: Timestamp | undefined }) {
  const { workspace } = useWorkspace();
  // The time that is asked for stays the same while it is looked at: to the next whole hour.
  const [startTime, endTime] = useMemo(() => {
    const now = new Date();
    const { since } = spans[span];
    const start = span === "period" && periodStart ? periodStart : timestampFromDate(since(now));
    return [start, timestampFromDate(new Date(Math.ceil((now.getTime() + 1) / hour) * hour))];
  }, [span, periodStart]);
  const { bucket } = spans[span];
  const { data, error, refetch } = useQuery(UsageService.method.queryUsage, { workspaceId: workspace.id, meter, bucket, startTime, endTime });
  if (!data) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  const most = data.sums.reduce((max, { quantity }) => (quantity > max ? quantity : max), 0n);
  if (most === 0n) {
    return (
      <Text size="sm" c="dimmed">
        {texts.usage.nothing}
      </Text>
    );
  }
  return (
    <Stack gap="xs">
      <Text fw={600}>{fill(texts.usage.total, { total: count(data.total) })}</Text>
      <Bars sums={data.sums} most={most} bucket={bucket} label={fill(texts.usage.chart, { meter: words(meter), total: count(data.total), most: count(most) })} />
      <details>
        <summary>
          <Text span size="sm">
            {texts.usage.asTable}
          </Text>
        </summary>
        <Table mt="xs">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{texts.usage.time}</Table.Th>
              <Table.Th ta="right">{texts.usage.quantity}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {data.sums.map((sum, i) => (
              <Table.Tr key={i}>
                <Table.Td>{bucketText(sum, bucket)}</Table.Td>
                <Table.Td ta="right">{count(sum.quantity)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </details>
    </Stack>
  );
}

const width = 700;
const height = 160;

/** Bars of what was used, as high as that is. */
function Bars({ sums, most, bucket, label }: { sums: UsageSum[]; most: bigint; bucket: UsageBucket; label: string }) {
  const step = width / Math.max(sums.length, 12); // few are not wide
  return (
    <div>
      <Text size="xs" c="dimmed" aria-hidden>
        {count(most)}
      </Text>
      <svg role="img" aria-label={label} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" style={{ width: "100%", height, display: "block" }}>
        {[0, 0.5, 1].map((part) => (
          <line
            key={part}
            x1={0}
            x2={width}
            y1={part * height}
            y2={part * height}
            stroke="var(--mantine-color-default-border)"
            vectorEffect="non-scaling-stroke"
          />
        ))}
        {sums.map((sum, i) => {
          const tall = (Number(sum.quantity) / Number(most)) * height;
          return (
            <rect key={i} x={i * step + step * 0.15} width={step * 0.7} y={height - tall} height={tall} fill="var(--mantine-primary-color-filled)">
              <title>{`${bucketText(sum, bucket)}: ${count(sum.quantity)}`}</title>
            </rect>
          );
        })}
      </svg>
      <Group justify="space-between" aria-hidden wrap="nowrap" style={{ width: `${(Math.min(1, sums.length / 12) * 100).toFixed(0)}%` }}>
        <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
          {sums[0] && bucketText(sums[0], bucket)}
        </Text>
        {sums.length > 5 && (
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
            {bucketText(sums.at(-1)!, bucket)}
          </Text>
        )}
      </Group>
    </div>
  );
}

/** When a bucket is, in UTC: its day, its month, or its hour. */
function bucketText({ startTime }: UsageSum, bucket: UsageBucket): string {
  const options: Intl.DateTimeFormatOptions =
    bucket === UsageBucket.MONTH
      ? { month: "short", year: "numeric" }
      : { month: "short", day: "numeric", ...(bucket === UsageBucket.HOUR && { hour: "2-digit", minute: "2-digit" }) };
  return startTime ? timestampDate(startTime).toLocaleString(undefined, { timeZone: "UTC", ...options }) : "";
}
