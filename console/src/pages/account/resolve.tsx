import "@mantine/core/styles/InlineInput.css";
import "@mantine/core/styles/Radio.css";
import { Radio, Stack, Text } from "@mantine/core";
import { useState } from "react";
import type { SoleOwnedWorkspace, WorkspaceResolution } from "@gen/identity/v1/user_pb";
import { MembershipState } from "@gen/team/v1/membership_pb";
import { MemberSelect } from "../../components/member-select";
import { useSession } from "../../session";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";

const texts = accountTexts.deletion;

/** What becomes of a workspace. */
export type Resolution = Exclude<WorkspaceResolution["resolution"], { case: undefined }>;

/** Asks what becomes of a workspace that only the person owns. */
export function Resolve({
  workspace: { workspaceId, workspaceName, otherMemberCount, deletedUserCount },
  resolution,
  choose,
}: {
  workspace: SoleOwnedWorkspace;
  resolution: Resolution | undefined;
  choose: (resolution: Resolution | undefined) => void;
}) {
  const [way, setWay] = useState<string | null>(null);
  return (
    <Stack gap="sm">
      <Radio.Group
        label={
          <Text span fw={600}>
            {fill(texts.choice, { name: workspaceName })}
          </Text>
        }
        value={way}
        onChange={(chosen) => {
          setWay(chosen);
          choose(chosen === "delete" ? { case: "delete", value: true } : undefined);
        }}
      >
        <Stack gap="xs" mt="xs">
          <Radio
            value="transfer"
            label={texts.transfer}
            disabled={otherMemberCount === 0}
            {...(otherMemberCount === 0 && { description: texts.alone })}
          />
          <Radio
            value="delete"
            label={texts.delete}
            description={fill(texts.deleteText, { members: otherMemberCount, users: deletedUserCount })}
          />
        </Stack>
      </Radio.Group>
      {way === "transfer" && (
        <NewOwner
          workspaceId={workspaceId}
          workspaceName={workspaceName}
          chosen={resolution?.case === "transferToMembershipId" ? resolution.value : null}
          choose={(id) => choose(id === null ? undefined : { case: "transferToMembershipId", value: id })}
        />
      )}
    </Stack>
  );
}

function NewOwner({
  workspaceId,
  workspaceName,
  chosen,
  choose,
}: {
  workspaceId: string;
  workspaceName: string;
  chosen: string | null;
  choose: (membershipId: string | null) => void;
}) {
  const { session } = useSession();
  return (
    <MemberSelect
      workspaceId={workspaceId}
      label={fill(texts.to, { name: workspaceName })}
      placeholder={texts.search}
      none={texts.nobody}
      state={MembershipState.ACTIVE}
      optionOf={({ id, userId, displayName, email }) => (userId === session!.userId ? undefined : { value: id, label: `${displayName} (${email})` })}
      chosen={chosen}
      choose={choose}
    />
  );
}
