import "@mantine/core/styles/Table.css";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { Button, Group, NativeSelect, Table, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconSearch, IconUserPlus } from "@tabler/icons-react";
import { keepPreviousData } from "@tanstack/react-query";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { MembershipOrder, MembershipService, MembershipState, type Membership } from "@gen/team/v1/membership_pb";
import { Heading } from "../../components/heading";
import { Empty, Failure, Waiting } from "../../components/states";
import { useRoles, type Roles } from "../../roles";
import { useSession } from "../../session";
import { teamTexts } from "../../texts/team";
import { workspaceTexts } from "../../texts/workspace";
import { useWorkspace } from "../../workspace";
import { Ask, type Asked } from "./member-questions";
import { MemberRow, rowHeight } from "./member-row";

const orders = [
  { value: String(MembershipOrder.OLDEST_FIRST), label: teamTexts.members.oldest },
  { value: String(MembershipOrder.NEWEST_FIRST), label: teamTexts.members.newest },
  { value: String(MembershipOrder.NAME), label: teamTexts.members.byName },
  { value: String(MembershipOrder.EMAIL), label: teamTexts.members.byEmail },
];

const states = [
  { value: "", label: teamTexts.members.anyState },
  { value: String(MembershipState.ACTIVE), label: teamTexts.members.active },
  { value: String(MembershipState.DEACTIVATED), label: teamTexts.members.deactivated },
];

const narrow = { flex: "1 1 140px", maw: { xs: 240 } };

/** Who belongs to the workspace. What is looked for is in the path, so that it can be gone back to. */
export function Page() {
  const { workspace, may } = useWorkspace();
  const roles = useRoles();
  const [search, setSearch] = useSearchParams();
  const change = (name: string, value: string) =>
    setSearch(
      (before) => {
        const after = new URLSearchParams(before);
        if (value === "") {
          after.delete(name);
        } else {
          after.set(name, value);
        }
        return after;
      },
      { replace: true },
    );
  if (!may("membership.get")) {
    return <Failure text={teamTexts.may.forbidden} />;
  }
  return (
    <>
      <Heading title={workspaceTexts.team.members}>
        {may("invitation.create") && may("invitation.list") && (
          <Button component={Link} to={`/w/${workspace.slug}/invitations?invite`} leftSection={<IconUserPlus size={16} aria-hidden />}>
            {teamTexts.members.invite}
          </Button>
        )}
      </Heading>
      <Group mb="md" gap="sm" role="search">
        <Search value={search.get("q") ?? ""} change={(words) => change("q", words)} />
        <NativeSelect
          {...narrow}
          aria-label={teamTexts.members.filterRole}
          value={search.get("role") ?? ""}
          onChange={({ currentTarget }) => change("role", currentTarget.value)}
          data={[{ value: "", label: teamTexts.members.anyRole }, ...roles.ids.map((id) => ({ value: id, label: roles.nameOf(id) }))]}
        />
        <NativeSelect {...narrow} aria-label={teamTexts.members.filterState} value={search.get("state") ?? ""} onChange={({ currentTarget }) => change("state", currentTarget.value)} data={states} />
        <NativeSelect {...narrow} aria-label={teamTexts.members.order} value={search.get("order") ?? orders[0]!.value} onChange={({ currentTarget }) => change("order", currentTarget.value)} data={orders} />
      </Group>
      <List
        roles={roles}
        search={search.get("q") ?? ""}
        role={search.get("role") ?? ""}
        state={Number(search.get("state") ?? 0)}
        order={Number(search.get("order") ?? 0)}
        clear={() => setSearch({}, { replace: true })}
      />
    </>
  );
}

/** The words that are looked for, once somebody stops typing. */
function Search({ value, change }: { value: string; change: (value: string) => void }) {
  const [typed, setTyped] = useState(value);
  const [told, setTold] = useState(value);
  const later = useDebouncedCallback((words: string) => {
    setTold(words);
    change(words);
  }, 250);
  // Somebody else has changed it: the button that shows all, or the way back.
  if (value !== told) {
    setTold(value);
    setTyped(value);
  }
  return (
    <TextInput
      type="search"
      aria-label={teamTexts.members.search}
      placeholder={teamTexts.members.search}
      leftSection={<IconSearch size={16} aria-hidden />}
      maxLength={100}
      flex="1 1 100%"
      value={typed}
      onChange={({ currentTarget }) => {
        setTyped(currentTarget.value);
        later(currentTarget.value);
      }}
    />
  );
}

const pageSize = 200;

/** The members that were asked for, of which the rows in sight are in the page, and the pages in reach are fetched. */
function List({
  roles,
  clear,
  ...filter
}: {
  roles: Roles;
  clear: () => void;
  search: string;
  role: string;
  state: MembershipState;
  order: MembershipOrder;
}) {
  const { workspace } = useWorkspace();
  const { session } = useSession();
  const [asked, ask] = useState<Asked>();
  const query = useInfiniteQuery(
    MembershipService.method.listMemberships,
    { workspaceId: workspace.id, pageSize, pageToken: "", ...filter },
    {
      pageParamKey: "pageToken",
      getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined,
      placeholderData: keepPreviousData,
      // All pages that were fetched are fetched again: not just because somebody came back to the window.
      refetchOnWindowFocus: false,
    },
  );
  const { data, error, hasNextPage, isFetching, isFetchNextPageError, fetchNextPage, refetch } = query;
  const members = data?.pages.flatMap(({ memberships }) => memberships) ?? [];
  const body = useRef<HTMLTableSectionElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => setTop(body.current?.offsetTop ?? 0), [data]);
  const virtual = useWindowVirtualizer({ count: members.length, estimateSize: () => rowHeight, overscan: 6, scrollMargin: top });
  const rows = virtual.getVirtualItems();
  const last = rows.at(-1)?.index ?? 0;
  useEffect(() => {
    if (hasNextPage && !isFetching && !isFetchNextPageError && last > members.length - pageSize / 2) {
      void fetchNextPage();
    }
  }, [last, members.length, hasNextPage, isFetching, isFetchNextPageError, fetchNextPage]);
  const askOf = useCallback((what: Asked["what"], member: Membership) => ask({ what, member }), []);
  if (data === undefined) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  if (members.length === 0) {
    return (
      <Empty title={teamTexts.members.none}>
        {teamTexts.members.noneText}
        <Button variant="default" size="xs" onClick={clear}>
          {teamTexts.members.clear}
        </Button>
      </Empty>
    );
  }
  const above = (rows[0]?.start ?? top) - top;
  const below = virtual.getTotalSize() - ((rows.at(-1)?.end ?? top) - top);
  return (
    <>
      <Table fz="sm" layout="fixed" stickyHeader stickyHeaderOffset={56} verticalSpacing={0} aria-rowcount={hasNextPage ? -1 : members.length + 1} aria-busy={isFetching}>
        <Table.Thead>
          <Table.Tr aria-rowindex={1}>
            <Table.Th>{teamTexts.members.member}</Table.Th>
            <Table.Th visibleFrom="md" w={140}>
              {teamTexts.members.joined}
            </Table.Th>
            <Table.Th w={{ base: 118, sm: 170 }}>{teamTexts.role.label}</Table.Th>
            <Table.Th w={50} aria-label={teamTexts.members.actions} />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody ref={body}>
          {above > 0 && <Space height={above} />}
          {rows.map(({ index }) => {
            const member = members[index]!;
            return <MemberRow key={member.id} member={member} index={index} self={member.userId === session?.userId} roles={roles} ask={askOf} />;
          })}
          {below > 0 && <Space height={below} />}
        </Table.Tbody>
      </Table>
      {isFetchNextPageError && <Failure error={error} retry={() => void fetchNextPage()} />}
      {asked && <Ask {...asked} roles={roles} close={() => ask(undefined)} />}
    </>
  );
}

/** Keeps the place of rows that are out of sight. */
function Space({ height }: { height: number }) {
  return (
    <tr aria-hidden>
      <td style={{ height, padding: 0 }} />
    </tr>
  );
}
