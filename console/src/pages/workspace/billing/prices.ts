import { Interval, TierMode, type Feature, type Plan, type Price, type UsagePrice } from "@gen/billing/v1/plan_pb";
import { count, money, plural, unitMoney, words } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";

/** The price of a plan in a currency and interval; undefined where it has none. */
export function priceOf(plan: Plan, currency: string, interval: Interval): Price | undefined {
  return plan.prices.find((price) => price.currency === currency && price.interval === interval);
}

/** What a price is for a period, without what comes on top. */
export function flatText(price: Price | undefined): string {
  if (!price?.flat) {
    return texts.plan.free;
  }
  return fill(price.interval === Interval.YEAR ? texts.plan.year : texts.plan.month, { amount: money(price.flat) });
}

/** What seats and usage cost on top, line by line. */
export function furtherTexts(price: Price): string[] {
  const lines: string[] = [];
  const { amount, included = 0 } = price.seat ?? {};
  if (amount && amount.minorUnits > 0n) {
    lines.push(included > 0 ? plural(texts.plan.seatsIncluded, included, { amount: money(amount) }) : fill(texts.plan.seats, { amount: money(amount) }));
  }
  return [...lines, ...price.usage.map((usage) => fill(texts.features.overage, { name: words(usage.meter), price: tiersText(usage, price.currency) }))];
}

function tiersText({ mode, tiers }: UsagePrice, currency: string): string {
  const t = texts.features;
  const volume = mode === TierMode.VOLUME;
  const parts = tiers.map(({ upTo, unitAmount, flat }, i) => {
    const free = Number(unitAmount) === 0;
    const amount = unitMoney(currency, unitAmount);
    let text: string;
    if (upTo === 0n) {
      text = i === 0 ? fill(t.tierAll, { amount }) : free ? t.tierRestFree : fill(t.tierRest, { amount });
    } else {
      text = fill(i === 0 && !volume ? t.first : t.upTo, { part: fill(free ? t.tierFree : t.firstTier, { count: count(upTo), amount }) });
    }
    return flat && flat.minorUnits > 0n ? fill(t.tierFlat, { each: text, flat: money(flat) }) : text;
  });
  return volume && tiers.length > 1 ? fill(t.volume, { tiers: parts.join(", ") }) : parts.join(", ");
}

/** What a plan gives, for people; undefined for what it does not. */
export function featureText({ feature, value }: Feature): string | undefined {
  const t = texts.features;
  const name = words(feature);
  switch (value.case) {
    case "enabled":
      return value.value ? name : undefined;
    case "limit":
      if (feature === "seats") {
        return value.value.unlimited ? t.seatsUnlimited : plural(t.seats, value.value.value);
      }
      return value.value.unlimited ? fill(t.unlimited, { name }) : fill(t.limit, { name, count: count(value.value.value) });
    case "metered": {
      const { limit, soft } = value.value;
      return !limit || limit.unlimited ? fill(t.unlimited, { name }) : fill(soft ? t.soft : t.metered, { name, count: count(limit.value) });
    }
    default:
      return undefined;
  }
}

/** Whether anything has to be paid by any price of a plan. */
export function costs(plan: Plan): boolean {
  return plan.prices.length > 0;
}
