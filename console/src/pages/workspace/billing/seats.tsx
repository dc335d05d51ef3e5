import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, NumberInput, Progress, Radio, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";
import { SeatService, type GetSeatUsageResponse, type UpdateSeatCountResponse } from "@gen/billing/v1/seat_pb";
import { SubscriptionState, type Subscription } from "@gen/billing/v1/subscription_pb";
import { Confirm } from "../../../components/confirm";
import { Section } from "../../../components/section";
import { Failure, Waiting } from "../../../components/states";
import { tell } from "../../../components/toasts";
import { count, day, plural } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";
import { useWorkspace } from "../../../workspace";
import { Charges } from "./charges";
import { priceOf } from "./prices";

/** How many belong to the workspace, how many may, and for how many it pays. */
export function Seats({ subscription }: { subscription: Subscription }) {
  const { workspace, may } = useWorkspace();
  const [changing, setChanging] = useState(false);
  const { data, error, refetch } = useQuery(SeatService.method.getSeatUsage, { workspaceId: workspace.id });
  const { plan, currency, interval } = subscription;
  const { amount, included = 0 } = (plan && priceOf(plan, currency, interval)?.seat) ?? {};
  const perSeat = amount !== undefined && amount.minorUnits > 0n;
  const paused = subscription.state === SubscriptionState.PAUSED;
  return (
    <Section title={texts.seats.title}>
      {error && !data && <Failure error={error} retry={() => void refetch()} />}
      {!error && !data && <Waiting />}
      {data && (
        <Stack gap="xs" flex={1}>
          <Taken usage={data} paused={paused} />
          <Text size="sm" c="dimmed">
            {data.seatCount > 0 ? plural(texts.seats.bought, data.seatCount) : perSeat ? texts.seats.asMembers : ""}{" "}
            {perSeat && (data.billed > included ? plural(texts.seats.billed, data.billed - included) : included > 0 ? texts.seats.included : "")}
          </Text>
          {may("billing.update") && !paused && (
            <Button variant="default" mt="auto" style={{ alignSelf: "flex-start" }} onClick={() => setChanging(true)}>
              {texts.seats.change}
            </Button>
          )}
          {changing && <Change usage={data} close={() => setChanging(false)} />}
        </Stack>
      )}
    </Section>
  );
}

function Taken({ usage: { limit, active, reserved }, paused }: { usage: GetSeatUsageResponse; paused: boolean }) {
  const taken = active + reserved;
  const all = Number(limit?.value ?? 0n);
  const parts = [fill(texts.seats.taken, { count: count(active) }), ...(reserved > 0 ? [fill(texts.seats.reserved, { count: count(reserved) })] : [])];
  const sentence = paused
    ? texts.seats.none
    : limit?.unlimited
      ? plural(texts.seats.unlimited, taken)
      : plural(texts.seats.of, taken, { all: count(all) });
  return (
    <>
      <Text fw={700} size="xl">
        {parts.join(", ")}
      </Text>
      {!limit?.unlimited && all > 0 && (
        <Progress.Root size="md">
          <Progress.Section value={(active / all) * 100} aria-label={fill(texts.seats.taken, { count: count(active) })} />
          <Progress.Section value={(reserved / all) * 100} color="gray.5" aria-label={fill(texts.seats.reserved, { count: count(reserved) })} />
        </Progress.Root>
      )}
      <Text size="sm">{sentence}</Text>
    </>
  );
}

/** Asks for how many to pay; it is done once it is shown what that costs. */
function Change({ usage, close }: { usage: GetSeatUsageResponse; close: () => void }) {
  const { workspace } = useWorkspace();
  const [fixed, setFixed] = useState(usage.seatCount > 0);
  const [number, setNumber] = useState<number | string>(usage.seatCount || usage.active + usage.reserved);
  const update = useMutation(SeatService.method.updateSeatCount);
  const valid = !fixed || (typeof number === "number" && Number.isInteger(number) && number > 0);
  const seatCount = fixed && typeof number === "number" ? number : 0;
  const changes = valid && seatCount !== usage.seatCount;
  const [settled] = useDebouncedValue(seatCount, 300);
  const current = changes && settled === seatCount;
  const input = { workspaceId: workspace.id, seatCount: settled, validateOnly: true };
  const { data, error, refetch } = useQuery(SeatService.method.updateSeatCount, input, { enabled: current, gcTime: 0, retry: false });
  const preview = current && !error ? data : undefined;
  return (
    <Confirm
      title={texts.seats.changeTitle}
      action={texts.seats.confirm}
      harmless
      size="lg"
      disabled={!preview}
      close={close}
      act={() => update.mutateAsync({ workspaceId: workspace.id, seatCount }).then(() => tell(texts.seats.changed))}
    >
      <Radio.Group label={texts.seats.kind} value={fixed ? "fixed" : "automatic"} onChange={(value) => setFixed(value === "fixed")}>
        <Stack gap="sm" mt="xs">
          <Radio value="automatic" label={texts.seats.automatic} description={texts.seats.automaticText} />
          <Radio value="fixed" label={texts.seats.fixed} description={texts.seats.fixedText} />
        </Stack>
      </Radio.Group>
      {fixed && (
        <NumberInput
          label={texts.seats.number}
          min={1}
          max={1_000_000}
          allowDecimal={false}
          value={number}
          onChange={setNumber}
          hideControls
          maw={160}
          mt="md"
        />
      )}
      {preview && <Preview preview={preview} />}
      {current && error && <Failure error={error} retry={() => void refetch()} />}
      {changes && !preview && !(current && error) && <Waiting />}
    </Confirm>
  );
}

function Preview({ preview: { charges, nextPeriodTime, nextPeriodTotal } }: { preview: UpdateSeatCountResponse }) {
  if (!nextPeriodTime || !nextPeriodTotal) {
    return null;
  }
  return (
    <>
      <Charges charges={charges} sums={[{ label: fill(texts.charges.next, { time: day(nextPeriodTime) }), amount: nextPeriodTotal }]} />
      {charges.length > 0 && <Text size="sm">{texts.seats.later}</Text>}
    </>
  );
}
