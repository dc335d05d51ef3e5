import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Alert, Badge, Button, Group, List, Radio, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { Interval, PlanService } from "@gen/billing/v1/plan_pb";
import { PauseReason, PaymentProvider, SubscriptionService, SubscriptionState, type Subscription } from "@gen/billing/v1/subscription_pb";
import { Confirm } from "../../../components/confirm";
import { Section } from "../../../components/section";
import { tell, tellFailure } from "../../../components/toasts";
import { day } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";
import { useWorkspace } from "../../../workspace";
import { featureText, flatText, furtherTexts, priceOf } from "./prices";

const colors: Partial<Record<SubscriptionState, string>> = {
  [SubscriptionState.ACTIVE]: "green",
  [SubscriptionState.TRIALING]: "indigo",
  [SubscriptionState.PAST_DUE]: "red",
  [SubscriptionState.PAUSED]: "orange",
};

/** The plan of the workspace: what has become of it, and its end. */
export function PresentPlan({ subscription }: { subscription: Subscription }) {
  const { may } = useWorkspace();
  const [canceling, setCanceling] = useState(false);
  const { plan, state, currency, interval, currentPeriodEndTime, scheduledCancelTime, trialEndTime, createTime } = subscription;
  const price = plan && priceOf(plan, currency, interval);
  const trialing = state === SubscriptionState.TRIALING;
  const more = (plan?.features ?? []).map(featureText).filter((text) => text !== undefined);
  const when = scheduledCancelTime
    ? fill(texts.plan.ends, { time: day(scheduledCancelTime) })
    : trialing && trialEndTime
      ? fill(price ? texts.plan.trialEnds : texts.plan.trialEndsFree, { time: day(trialEndTime), price: flatText(price) })
      : price && currentPeriodEndTime && state !== SubscriptionState.PAUSED
        ? fill(texts.plan.renews, { time: day(currentPeriodEndTime) })
        : createTime && fill(texts.plan.since, { time: day(createTime) });
  const cancelable = (price !== undefined || trialing) && state !== SubscriptionState.PAUSED;
  return (
    <Section
      title={texts.plan.title}
      actions={
        <Badge variant="light" color={colors[state] ?? "gray"} c="var(--mantine-color-text)">
          {texts.plan.states[state]}
        </Badge>
      }
    >
      <Stack gap="xs" flex={1}>
        <div>
          <Text fw={700} size="xl">
            {plan?.displayName}
          </Text>
          <Text fw={600}>{flatText(price)}</Text>
          {price && furtherTexts(price).map((line) => (
            <Text key={line} size="sm" c="dimmed">
              {line}
            </Text>
          ))}
        </div>
        {more.length > 0 && (
          <List size="sm">
            {more.map((text) => (
              <List.Item key={text}>{text}</List.Item>
            ))}
          </List>
        )}
        <Text size="sm" c="dimmed">
          {when}
        </Text>
        {may("billing.update") && (
          <Group mt="auto">
            {(scheduledCancelTime !== undefined || subscription.pauseReason === PauseReason.CANCELED) && <Resume subscription={subscription} />}
            {cancelable && (
              <Button variant="default" onClick={() => setCanceling(true)}>
                {texts.plan.cancel}
              </Button>
            )}
            {subscription.provider === PaymentProvider.STRIPE && <Portal />}
          </Group>
        )}
      </Stack>
      {canceling && <Cancel subscription={subscription} close={() => setCanceling(false)} />}
    </Section>
  );
}

/** What stands out about a subscription, on top of the page. */
export function Standing({ subscription: { state, pauseReason, pastDueTime, scheduledCancelTime } }: { subscription: Subscription }) {
  if (state === SubscriptionState.PAST_DUE) {
    return (
      <Alert color="red" variant="light" title={texts.plan.pastDueTitle} role="status">
        {fill(texts.plan.pastDue, { time: pastDueTime ? day(pastDueTime) : "" })}
      </Alert>
    );
  }
  if (state === SubscriptionState.PAUSED) {
    const unpaid = pauseReason === PauseReason.UNPAID;
    return (
      <Alert color={unpaid ? "red" : "orange"} variant="light" title={unpaid ? texts.plan.pausedUnpaidTitle : texts.plan.pausedTitle} role="status">
        {unpaid ? texts.plan.pausedUnpaid : texts.plan.paused}
      </Alert>
    );
  }
  if (scheduledCancelTime) {
    return (
      <Alert color="orange" variant="light" title={texts.plan.scheduledTitle} role="status">
        {fill(texts.plan.ends, { time: day(scheduledCancelTime) })}
      </Alert>
    );
  }
  return null;
}

function Resume({ subscription: { workspaceId, pauseReason } }: { subscription: Subscription }) {
  const [asking, setAsking] = useState(false);
  const resume = useMutation(SubscriptionService.method.resumeSubscription);
  const act = () => resume.mutateAsync({ workspaceId }).then(() => tell(texts.plan.resumed));
  if (pauseReason !== PauseReason.CANCELED) {
    return (
      <Button loading={resume.isPending} onClick={() => void act().catch(tellFailure)}>
        {texts.plan.resume}
      </Button>
    );
  }
  return (
    <>
      <Button onClick={() => setAsking(true)}>{texts.plan.resume}</Button>
      {asking && (
        <Confirm title={texts.plan.resume} action={texts.plan.resume} harmless act={act} close={() => setAsking(false)}>
          <Text size="sm">{texts.plan.resumePaused}</Text>
        </Confirm>
      )}
    </>
  );
}

function Cancel({ subscription, close }: { subscription: Subscription; close: () => void }) {
  const end = subscription.trialEndTime ?? subscription.currentPeriodEndTime;
  const scheduled = subscription.scheduledCancelTime !== undefined;
  const later = end !== undefined && !scheduled && subscription.currency !== "";
  const [when, setWhen] = useState<string>(later ? "end" : "now");
  const cancel = useMutation(SubscriptionService.method.cancelSubscription);
  const fallback = useQuery(PlanService.method.listPlans, {}).data?.plans.find((plan) => plan.default);
  return (
    <Confirm
      title={fill(texts.plan.cancelTitle, { plan: subscription.plan?.displayName ?? "" })}
      action={texts.plan.cancel}
      keep={texts.plan.keep}
      close={close}
      act={() =>
        cancel
          .mutateAsync({ workspaceId: subscription.workspaceId, atPeriodEnd: when === "end", etag: subscription.etag })
          .then(() => tell(texts.plan.canceled))
      }
    >
      <Radio.Group label={texts.plan.when} value={when} onChange={setWhen}>
        <Stack gap="sm" mt="xs">
          {later && <Radio value="end" label={fill(texts.plan.cancelAtEnd, { time: day(end) })} description={texts.plan.cancelAtEndText} />}
          <Radio value="now" label={texts.plan.cancelNow} description={texts.plan.cancelNowText} />
        </Stack>
      </Radio.Group>
      <Text size="sm" mt="md">
        {fallback && fallback.prices.length === 0 ? fill(texts.plan.cancelTo, { plan: fallback.displayName }) : texts.plan.cancelToNothing} {texts.plan.cancelAfter}
      </Text>
    </Confirm>
  );
}

function Portal() {
  const { workspace } = useWorkspace();
  const create = useMutation(SubscriptionService.method.createPortalSession);
  return (
    <Button
      variant="default"
      loading={create.isPending}
      onClick={() =>
        void create.mutateAsync({ workspaceId: workspace.id, returnUrl: window.location.pathname }).then(({ url }) => window.location.assign(url), tellFailure)
      }
    >
      {texts.plan.portal}
    </Button>
  );
}

/** By which interval prices are shown at first. */
export function intervalOf({ interval }: Subscription): Interval {
  return interval === Interval.YEAR ? Interval.YEAR : Interval.MONTH;
}
