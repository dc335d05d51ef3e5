import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Badge, Button, Card, Group, List, NativeSelect, SegmentedControl, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { timestampFromDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { useState } from "react";
import type { Money } from "@gen/billing/v1/money_pb";
import { Interval, PlanService, type Plan } from "@gen/billing/v1/plan_pb";
import { PaymentProvider, SubscriptionService, SubscriptionState, type PreviewChangeSubscriptionResponse, type Subscription } from "@gen/billing/v1/subscription_pb";
import { Confirm } from "../../../components/confirm";
import { Dialog } from "../../../components/dialog";
import { Section } from "../../../components/section";
import { Failure, Waiting } from "../../../components/states";
import { tell } from "../../../components/toasts";
import { isReason } from "../../../errors";
import { day, money, plural } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";
import { useWorkspace } from "../../../workspace";
import { Charges } from "./charges";
import { intervalOf } from "./plan";
import { costs, featureText, flatText, furtherTexts, priceOf } from "./prices";

/** A plan, and the price of it; neither currency nor interval for what costs nothing. */
interface Choice {
  plan: Plan;
  currency: string;
  interval: Interval;
}

const soonestCharge = 2 * 86_400_000; // a trial that ends sooner may be charged when it is bought

/** All plans that are offered, to change to or to try. */
export function Plans({ subscription, triedPlans }: { subscription: Subscription; triedPlans: string[] }) {
  const { data, error, refetch } = useQuery(PlanService.method.listPlans, {});
  const [interval, setInterval] = useState(intervalOf(subscription));
  const [currency, setCurrency] = useState<string>();
  const [chosen, setChosen] = useState<Choice>();
  const [tried, setTried] = useState<Choice>();
  if (!data) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  const prices = data.plans.flatMap((plan) => plan.prices);
  const currencies = [...new Set(prices.map((price) => price.currency))];
  const yearly = prices.some((price) => price.interval === Interval.YEAR) && prices.some((price) => price.interval === Interval.MONTH);
  const present = currency ?? (subscription.currency || currencies[0] || "");
  return (
    <Section
      title={texts.plans.title}
      actions={
        <Group gap="xs">
          {yearly && (
            <SegmentedControl
              size="xs"
              transitionDuration={0}
              aria-label={texts.plans.interval}
              value={String(interval)}
              onChange={(value) => setInterval(Number(value))}
              data={[
                { value: String(Interval.MONTH), label: texts.plans.byMonth },
                { value: String(Interval.YEAR), label: texts.plans.byYear },
              ]}
            />
          )}
          {currencies.length > 1 && (
            <NativeSelect
              size="xs"
              aria-label={texts.plans.currency}
              data={currencies}
              value={present}
              onChange={({ currentTarget: { value } }) => setCurrency(value)}
            />
          )}
        </Group>
      }
    >
      <SimpleGrid cols={{ base: 1, xs: 2, md: Math.min(3, Math.max(2, data.plans.length)) }}>
        {data.plans.map((plan) => (
          <Offer
            key={plan.plan}
            choice={costs(plan) ? { plan, currency: present, interval } : { plan, currency: "", interval: Interval.UNSPECIFIED }}
            subscription={subscription}
            tried={triedPlans.includes(plan.plan)}
            choose={setChosen}
            attempt={setTried}
          />
        ))}
      </SimpleGrid>
      {chosen && <Change choice={chosen} provider={subscription.provider} close={() => setChosen(undefined)} />}
      {tried && <Trial choice={tried} close={() => setTried(undefined)} />}
    </Section>
  );
}

function Offer({
  choice,
  subscription,
  tried,
  choose,
  attempt,
}: {
  choice: Choice;
  subscription: Subscription;
  tried: boolean;
  choose: (choice: Choice) => void;
  attempt: (choice: Choice) => void;
}) {
  const { may } = useWorkspace();
  const { plan, currency, interval } = choice;
  const price = priceOf(plan, currency, interval);
  const sold = price !== undefined || !costs(plan);
  const mine =
    subscription.plan?.plan === plan.plan &&
    subscription.currency === currency &&
    subscription.interval === interval &&
    subscription.state !== SubscriptionState.PAUSED;
  const present = mine && subscription.plan?.version === plan.version;
  const trialing = subscription.state === SubscriptionState.TRIALING;
  const triable = plan.trialDays > 0 && !tried && sold && subscription.currency === "" && subscription.state === SubscriptionState.ACTIVE && !mine;
  return (
    <Card withBorder component="article" aria-label={plan.displayName} style={mine ? { borderColor: "var(--mantine-primary-color-filled)" } : {}}>
      <Stack gap="xs" flex={1}>
        <Group justify="space-between">
          <Title order={3} size="h5">
            {plan.displayName}
          </Title>
          {mine && <Badge variant="light">{texts.plans.present}</Badge>}
        </Group>
        {mine && !present && <Text size="sm">{texts.plans.earlier}</Text>}
        {plan.description && (
          <Text size="sm" c="dimmed">
            {plan.description}
          </Text>
        )}
        <div>
          <Text fw={600}>{sold ? flatText(price) : texts.plans.unavailable}</Text>
          {price && furtherTexts(price).map((line) => (
            <Text key={line} size="sm" c="dimmed">
              {line}
            </Text>
          ))}
        </div>
        <List size="sm">
          {plan.features.map(featureText).filter((text) => text !== undefined).map((text) => (
            <List.Item key={text}>{text}</List.Item>
          ))}
        </List>
        {may("billing.update") && present && trialing && price && subscription.provider === PaymentProvider.MANUAL && (
          <Keep choice={choice} subscription={subscription} />
        )}
        {may("billing.update") && !present && (
          <Stack gap="xs" mt="auto">
            {triable && (
              <Button onClick={() => attempt(choice)}>{plural(texts.plans.tryIt, plan.trialDays, { plan: plan.displayName })}</Button>
            )}
            <Button variant={triable ? "subtle" : "default"} disabled={!sold} onClick={() => choose(choice)}>
              {fill(mine ? texts.plans.renew : texts.plans.choose, { plan: plan.displayName })}
            </Button>
          </Stack>
        )}
      </Stack>
    </Card>
  );
}

/** Offers to keep the plan that is tried, beyond the trial. */
function Keep({ choice, subscription }: { choice: Choice; subscription: Subscription }) {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <Button variant="default" mt="auto" onClick={() => setAsking(true)}>
        {fill(texts.plans.keep, { plan: choice.plan.displayName })}
      </Button>
      {asking && <Kept choice={choice} subscription={subscription} close={() => setAsking(false)} />}
    </>
  );
}

/**
 * Shows what the plan that is tried will cost. It is bought where the payment provider
 * sells it, and otherwise continues by itself, once it is not canceled any more.
 */
function Kept({ choice: { plan, currency, interval }, subscription, close }: { choice: Choice; subscription: Subscription; close: () => void }) {
  const { workspaceId, trialEndTime, scheduledCancelTime } = subscription;
  const choice = { workspaceId, plan: plan.plan, currency, interval };
  const preview = useQuery(SubscriptionService.method.previewChangeSubscription, choice, { gcTime: 0 });
  const resume = useMutation(SubscriptionService.method.resumeSubscription);
  if (isReason(preview.error, "PAYMENT_REQUIRED") && trialEndTime) {
    const later = timestampMs(trialEndTime) - Date.now() > soonestCharge;
    return <Checkout choice={choice} text={fill(later ? texts.plans.checkoutTrial : texts.plans.checkoutTrialEnding, { time: day(trialEndTime) })} close={close} />;
  }
  const title = fill(texts.plans.keep, { plan: plan.displayName });
  if (preview.error || !preview.data) {
    return (
      <Dialog title={title} close={close} size="lg">
        {preview.error ? <Failure error={preview.error} retry={() => void preview.refetch()} /> : <Waiting />}
      </Dialog>
    );
  }
  const charges = <Charges charges={preview.data.charges} sums={sumsOf(preview.data)} />;
  if (scheduledCancelTime) {
    return (
      <Confirm title={title} action={title} harmless size="lg" close={close} act={() => resume.mutateAsync({ workspaceId }).then(() => tell(texts.plan.resumed))}>
        {charges}
      </Confirm>
    );
  }
  return (
    <Dialog title={title} close={close} size="lg">
      <Text size="sm" mb="sm">
        {fill(texts.plans.continues, { plan: plan.displayName })}
      </Text>
      {charges}
    </Dialog>
  );
}

/** What a change comes to, now and from the next period on. */
function sumsOf({ charges, total, dueNow, nextPeriodTime, nextPeriodTotal }: PreviewChangeSubscriptionResponse): { label: string; amount: Money; strong?: boolean }[] {
  const due = dueNow && dueNow.minorUnits > 0n ? dueNow : undefined;
  const sums = [];
  if (total) {
    const { minorUnits } = total;
    if (charges.length > 0) {
      sums.push({ label: texts.charges.total, amount: total });
    }
    if (due && due.minorUnits !== minorUnits) {
      sums.push({ label: texts.charges.waiting, amount: { ...due, minorUnits: due.minorUnits - minorUnits } });
    }
    sums.push(
      minorUnits < 0n
        ? { label: texts.charges.credit, amount: { ...total, minorUnits: -minorUnits }, strong: true }
        : { label: texts.charges.dueNow, amount: due ?? { ...total, minorUnits: 0n }, strong: true },
    );
  }
  if (nextPeriodTime && nextPeriodTotal) {
    sums.push({ label: fill(texts.charges.next, { time: day(nextPeriodTime) }), amount: nextPeriodTotal });
  }
  return sums;
}

/** Shows exactly what a change costs, and makes it as it was shown. */
function Change({ choice: { plan, currency, interval }, provider, close }: { choice: Choice; provider: PaymentProvider; close: () => void }) {
  const { workspace } = useWorkspace();
  const choice = { workspaceId: workspace.id, plan: plan.plan, currency, interval };
  // What is shown is what is confirmed, so it is read anew only when it is told to be.
  const preview = useQuery(SubscriptionService.method.previewChangeSubscription, choice, { staleTime: Infinity, gcTime: 0 });
  const change = useMutation(SubscriptionService.method.changeSubscription);
  if (isReason(preview.error, "PAYMENT_REQUIRED")) {
    return <Checkout choice={choice} text={texts.plans.checkout} close={close} />;
  }
  const confirmFor = provider === PaymentProvider.STRIPE ? texts.plans.confirmFor : texts.plans.confirmInvoice;
  const title = fill(texts.plans.previewTitle, { plan: plan.displayName });
  if (preview.error || !preview.data) {
    return (
      <Dialog title={title} close={close} size="lg">
        {preview.error ? <Failure error={preview.error} retry={() => void preview.refetch()} /> : <Waiting />}
      </Dialog>
    );
  }
  const { charges, dueNow, etag } = preview.data;
  const due = dueNow && dueNow.minorUnits > 0n ? dueNow : undefined;
  const act = async () => {
    try {
      await change.mutateAsync({ ...choice, etag });
    } catch (error) {
      if (isReason(error, "ETAG_MISMATCH")) {
        await preview.refetch();
      }
      throw error;
    }
    tell(texts.plans.changed);
  };
  const sums = sumsOf(preview.data);
  return (
    <Confirm
      title={title}
      action={due ? fill(confirmFor, { amount: money(due) }) : texts.plans.confirm}
      harmless
      size="lg"
      act={act}
      close={close}
    >
      {sums.length > 0 ? <Charges charges={charges} sums={sums} /> : <Text size="sm">{texts.plans.nothing}</Text>}
    </Confirm>
  );
}

/** Sells a plan on the payment provider's page. */
function Checkout({ choice, text, close }: { choice: { workspaceId: string; plan: string; currency: string; interval: Interval }; text: string; close: () => void }) {
  const create = useMutation(SubscriptionService.method.createCheckoutSession);
  const act = async () => {
    const { url } = await create.mutateAsync({ ...choice, successUrl: window.location.pathname, cancelUrl: window.location.pathname });
    window.location.assign(url);
  };
  return (
    <Confirm title={texts.plans.checkoutTitle} action={texts.plans.toCheckout} harmless act={act} close={close}>
      <Text size="sm">{text}</Text>
    </Confirm>
  );
}

function Trial({ choice: { plan, currency, interval }, close }: { choice: Choice; close: () => void }) {
  const { workspace } = useWorkspace();
  const start = useMutation(SubscriptionService.method.startTrial);
  const [end] = useState(() => new Date(Date.now() + plan.trialDays * 86_400_000));
  const price = priceOf(plan, currency, interval);
  const values = { plan: plan.displayName, time: day(timestampFromDate(end)), price: flatText(price) };
  return (
    <Confirm
      title={fill(texts.plans.trialTitle, { plan: plan.displayName })}
      action={texts.plans.startTrial}
      harmless
      close={close}
      act={() => start.mutateAsync({ workspaceId: workspace.id, plan: plan.plan, currency, interval }).then(() => tell(texts.plans.trialStarted))}
    >
      <Text size="sm">{plural(price ? texts.plans.trial : texts.plans.trialFree, plan.trialDays, values)}</Text>
    </Confirm>
  );
}
