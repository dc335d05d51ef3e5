import "@mantine/core/styles/ScrollArea.css";
import "@mantine/core/styles/Popover.css";
import "@mantine/core/styles/Combobox.css";
import "@mantine/core/styles/InlineInput.css";
import "@mantine/core/styles/Radio.css";
import { useQuery } from "@connectrpc/connect-query";
import { Radio, Select, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";
import type { SoleOwnedWorkspace, WorkspaceResolution } from "@gen/identity/v1/user_pb";
import { MembershipService, MembershipState } from "@gen/team/v1/membership_pb";
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
  const [typed, setTyped] = useState("");
  const [search] = useDebouncedValue(typed, 200);
  const { data } = useQuery(MembershipService.method.listMemberships, {
    workspaceId,
    pageSize: 50,
    state: MembershipState.ACTIVE,
    search: search.slice(0, 100),
  });
  const [known, setKnown] = useState<{ value: string; label: string }>(); // of who is chosen
  const found = (data?.memberships ?? [])
    .filter(({ userId }) => userId !== session!.userId)
    .map(({ id, displayName, email }) => ({ value: id, label: `${displayName} (${email})` }));
  return (
    <Select
      label={fill(texts.to, { name: workspaceName })}
      placeholder={texts.search}
      searchable
      data={known && !found.some(({ value }) => value === known.value) ? [...found, known] : found}
      filter={({ options }) => options} // The server has searched.
      nothingFoundMessage={texts.nobody}
      value={chosen}
      onChange={(value, option) => {
        setKnown(value === null || option === null ? undefined : { value, label: option.label });
        choose(value);
      }}
      onSearchChange={(text) => setTyped(text === known?.label ? "" : text)}
    />
  );
}
