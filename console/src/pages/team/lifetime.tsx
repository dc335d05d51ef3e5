import { NativeSelect } from "@mantine/core";
import { team as texts } from "../../texts/team";

const day = 24 * 60 * 60;

/** What an invitation can be used for, at first. */
export const aWeek = 7 * day;

/** How long an invitation can be used, in seconds. */
export function Lifetime({ value, change }: { value: number; change: (seconds: number) => void }) {
  return (
    <NativeSelect
      label={texts.invitations.lifetime}
      value={value}
      onChange={({ currentTarget }) => change(Number(currentTarget.value))}
      data={[
        { value: String(day), label: texts.invitations.day },
        { value: String(aWeek), label: texts.invitations.week },
        { value: String(30 * day), label: texts.invitations.month },
        { value: String(90 * day), label: texts.invitations.quarter },
      ]}
    />
  );
}
