import { NativeSelect } from "@mantine/core";
import { teamTexts } from "../../texts/team";

const day = 24 * 60 * 60;

/** What an invitation can be used for, at first. */
export const aWeek = 7 * day;

/** How long an invitation can be used, in seconds. */
export function Lifetime({ value, change }: { value: number; change: (seconds: number) => void }) {
  return (
    <NativeSelect
      label={teamTexts.invitations.lifetime}
      value={value}
      onChange={({ currentTarget }) => change(Number(currentTarget.value))}
      data={[
        { value: String(day), label: teamTexts.invitations.day },
        { value: String(aWeek), label: teamTexts.invitations.week },
        { value: String(30 * day), label: teamTexts.invitations.month },
        { value: String(90 * day), label: teamTexts.invitations.quarter },
      ]}
    />
  );
}
