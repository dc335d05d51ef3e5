import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Money } from "@gen/billing/v1/money_pb";
import { fill } from "./texts";

/** An amount as people write it, exactly: from its minor units, of which currencies have none to three digits. */
export function money({ currency, minorUnits }: Pick<Money, "currency" | "minorUnits">): string {
  return amountOf(currency, minorUnits.toString());
}

/** The price of one unit, which may be less than the least coin: a decimal number of minor units. */
export function unitMoney(currency: string, minorUnits: string): string {
  return amountOf(currency, minorUnits);
}

function amountOf(currency: string, minorUnits: string): string {
  const style = { style: "currency", currency } as const;
  const digits = new Intl.NumberFormat(undefined, style).resolvedOptions().maximumFractionDigits ?? 2;
  const [whole = "", part = ""] = minorUnits.replace("-", "").split(".");
  const padded = whole.padStart(digits + 1, "0");
  const places = padded.slice(padded.length - digits) + part;
  const decimal = `${minorUnits.startsWith("-") ? "-" : ""}${padded.slice(0, padded.length - digits)}${places === "" ? "" : `.${places}`}`;
  // A string is taken as the decimal number that it is, whatever a number could hold.
  return new Intl.NumberFormat(undefined, { ...style, maximumFractionDigits: Math.max(digits, places.length) }).format(decimal as Intl.StringNumericLiteral);
}

/** A count with its thousands apart. */
export function count(value: number | bigint): string {
  return new Intl.NumberFormat().format(value);
}

/** A text of a count: the one for a single thing, or that for many. */
export function plural(text: { one: string; many: string }, number: number | bigint, values: Record<string, string> = {}): string {
  return fill(Number(number) === 1 ? text.one : text.many, { ...values, count: count(number) });
}

/** The day of a time, where the person is. */
export function day(time: Timestamp): string {
  return timestampDate(time).toLocaleDateString(undefined, { dateStyle: "medium" });
}

/** A time to the minute, where the person is. */
export function moment(time: Timestamp): string {
  return timestampDate(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** What people read for a name of the API: `api_calls` is "API calls". */
export function words(name: string): string {
  return (name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ")).replace(/\b(api|scim|sso|url)\b/gi, (word) => word.toUpperCase());
}
