import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";

const units = [
  ["year", 365 * 86400],
  ["month", 30 * 86400],
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
] as const;

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** How long ago something was, or how soon it will be, to the largest unit that fits. */
export function ago(time: Timestamp): string {
  const seconds = (timestampDate(time).getTime() - Date.now()) / 1000;
  const unit = units.find(([, length]) => Math.abs(seconds) >= length);
  return unit ? relative.format(Math.round(seconds / unit[1]), unit[0]) : relative.format(0, "second");
}

/** When a number of seconds will have passed, to the largest unit that fits. */
export function soon(seconds: number): string {
  const [name, length] = units.find(([, length]) => seconds >= length) ?? (["second", 1] as const);
  return relative.format(Math.ceil(seconds / length), name);
}

const days = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** A day. */
export function day(time: Timestamp): string {
  return days.format(timestampDate(time));
}

/** A time of a day. */
export function moment(time: Timestamp): string {
  return timestampDate(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
