import "@mantine/core/styles/ScrollArea.css";
import "@mantine/core/styles/Popover.css";
import "@mantine/core/styles/Combobox.css";
import { useQuery } from "@connectrpc/connect-query";
import { Select } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";
import { MembershipService, type Membership, type MembershipState } from "@gen/team/v1/membership_pb";

/** Something to choose. */
export interface Option {
  value: string;
  label: string;
}

/** Chooses one of a workspace's members, however many there are: the server searches by what is typed. */
export function MemberSelect({
  workspaceId,
  label,
  placeholder,
  none,
  state,
  optionOf,
  others = [],
  clearable = false,
  chosen,
  choose,
}: {
  workspaceId: string;
  label: string;
  placeholder: string;
  /** What is said when nobody is found. */
  none: string;
  /** Which members are offered. Default: all. */
  state?: MembershipState;
  /** How a member is offered, if at all. */
  optionOf: (member: Membership) => Option | undefined;
  /** What is offered beside members. */
  others?: Option[];
  clearable?: boolean;
  chosen: string | null;
  choose: (value: string | null) => void;
}) {
  const [typed, setTyped] = useState("");
  const [search] = useDebouncedValue(typed, 200);
  const { data } = useQuery(MembershipService.method.listMemberships, { workspaceId, pageSize: 50, search: search.slice(0, 100), ...(state !== undefined && { state }) });
  const [known, setKnown] = useState<Option>(); // who is chosen
  const found = [
    ...(data?.memberships ?? []).flatMap((member) => optionOf(member) ?? []),
    ...others.filter(({ label }) => label.toLowerCase().includes(search.toLowerCase())),
  ];
  return (
    <Select
      label={label}
      placeholder={placeholder}
      searchable
      clearable={clearable}
      data={known && !found.some(({ value }) => value === known.value) ? [...found, known] : found}
      filter={({ options }) => options} // The server has searched.
      nothingFoundMessage={none}
      value={chosen}
      onChange={(value, option) => {
        setKnown(value === null || option === null ? undefined : { value, label: option.label });
        choose(value);
      }}
      onSearchChange={(text) => setTyped(text === known?.label ? "" : text)}
    />
  );
}
