import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";

/** A day as people write it where they are; empty for none. */
export function dayOf(time: Timestamp | undefined): string {
  return time === undefined ? "" : timestampDate(time).toLocaleDateString(undefined, { dateStyle: "medium" });
}

/** A moment, to the minute, as people write it where they are; empty for none. */
export function momentOf(time: Timestamp | undefined): string {
  return time === undefined ? "" : timestampDate(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
