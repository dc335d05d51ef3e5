import "@mantine/core/styles/Table.css";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { timestampFromDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { useInfiniteQuery, useQuery } from "@connectrpc/connect-query";
import { Box, Group, NativeSelect, Table, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { ActorKind, EventOrder, EventService, type Event } from "@gen/audit/v1/event_pb";
import { ServiceAccountService } from "@gen/auth/v1/api_key_pb";
import { UserService } from "@gen/identity/v1/user_pb";
import { MembershipService } from "@gen/team/v1/membership_pb";
import { MemberSelect } from "../../components/member-select";
import { More } from "../../components/more";
import { Empty, Failure, Waiting } from "../../components/states";
import { WorkspacePage } from "../../components/workspace-page";
import { moment, money, words } from "../../format";
import { fill } from "../../texts";
import { eventsTexts as texts } from "../../texts/events";
import { useWorkspace } from "../../workspace";

const pageSize = 50;
const orders = { newest: EventOrder.NEWEST_FIRST, oldest: EventOrder.OLDEST_FIRST };

/** Who changed what in a workspace. */
export function Page() {
  const { may } = useWorkspace();
  return (
    <WorkspacePage title={texts.title} text={texts.text} allowed={may("event.list")}>
      <Events />
    </WorkspacePage>
  );
}

function Events() {
  const { workspace, may } = useWorkspace();
  const [action, setAction] = useState("");
  const [actor, setActor] = useState<string | null>(null);
  const [first, setFirst] = useState(""); // days, as an input gives them
  const [last, setLast] = useState("");
  const [order, setOrder] = useState<keyof typeof orders>("newest");
  const list = useInfiniteQuery(
    EventService.method.listEvents,
    {
      workspaceId: workspace.id,
      action,
      actorId: actor ?? "",
      ...startOf(first, 0, "startTime"),
      ...startOf(last, 1, "endTime"),
      order: orders[order],
      pageSize,
      pageToken: "",
    },
    {
      pageParamKey: "pageToken",
      // Of the oldest first there is always a token, for what comes later.
      getNextPageParam: ({ events, nextPageToken }) => (events.length < pageSize ? undefined : nextPageToken || undefined),
    },
  );
  const accounts = useQuery(ServiceAccountService.method.listServiceAccounts, { workspaceId: workspace.id }, { enabled: may("service_account.list") });
  const pages = list.data?.pages.map(({ events }) => events).filter((events) => events.length > 0);
  const actions = Object.entries(texts.actions).map(([value, label]) => ({ value, label }));
  return (
    <div>
      <Group mb="md" gap="sm">
        <NativeSelect
          label={texts.action}
          value={action}
          onChange={({ currentTarget: { value } }) => setAction(value)}
          data={[{ value: "", label: texts.anything }, ...actions.sort((a, b) => a.label.localeCompare(b.label))]}
        />
        {may("membership.get") && (
          <MemberSelect
            workspaceId={workspace.id}
            label={texts.by}
            placeholder={texts.anybody}
            none={texts.nobody}
            optionOf={({ userId, displayName, email }) => ({ value: userId, label: displayName === "" ? email : `${displayName} (${email})` })}
            others={(accounts.data?.serviceAccounts ?? []).map(({ id, displayName }) => ({ value: id, label: fill(texts.serviceAccount, { name: displayName }) }))}
            clearable
            chosen={actor}
            choose={setActor}
          />
        )}
        <TextInput type="date" label={texts.from} max={last} value={first} onChange={({ currentTarget: { value } }) => setFirst(value)} />
        <TextInput type="date" label={texts.to} min={first} value={last} onChange={({ currentTarget: { value } }) => setLast(value)} />
        <NativeSelect
          label={texts.order}
          value={order}
          onChange={({ currentTarget: { value } }) => setOrder(value as keyof typeof orders)}
          data={(["newest", "oldest"] as const).map((value) => ({ value, label: texts[value] }))}
        />
      </Group>
      {list.error && !list.data && <Failure error={list.error} retry={() => void list.refetch()} />}
      {!list.error && !pages && <Waiting />}
      {pages?.length === 0 && <Empty title={texts.none} />}
      {pages !== undefined && pages.length > 0 && (
        <Table.ScrollContainer minWidth={300} type="native">
          <Table verticalSpacing="xs" aria-label={texts.title}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{texts.time}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.who}</Table.Th>
                <Table.Th>{texts.what}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.details}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {pages.map((events) => (
                <Rows key={events[0]!.id} events={events} />
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      <More query={list} />
    </div>
  );
}

/** When a day begins here, or one that is so many days later, under a name; nothing for no day, or none that the log can have. */
function startOf<Name extends string>(date: string, later: number, name: Name): { [key in Name]?: Timestamp } {
  const [year = 0, month = 0, day = 0] = date.split("-").map(Number);
  return year < 2001 || year > 2198 ? {} : ({ [name]: timestampFromDate(new Date(year, month - 1, day + later)) } as { [key in Name]: Timestamp });
}

function Rows({ events }: { events: Event[] }) {
  const names = useNames(events);
  return events.map((event) => <Row key={event.id} event={event} names={names} />);
}

function Row({ event, names }: { event: Event; names: Names }) {
  const who = (
    <>
      {actorOf(event, names)}
      {event.actorApiKeyId !== "" && (
        <Text size="xs" c="dimmed">
          {texts.byKey}
        </Text>
      )}
    </>
  );
  const lines = detailsOf(event.details, names).map((line) => (
    <Text key={line} size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
      {line}
    </Text>
  ));
  return (
    <Table.Tr>
      <Table.Td style={{ verticalAlign: "top" }}>{event.createTime && moment(event.createTime)}</Table.Td>
      <Table.Td visibleFrom="sm" style={{ verticalAlign: "top" }}>
        {who}
      </Table.Td>
      <Table.Td style={{ verticalAlign: "top" }}>
        <Text size="sm" fw={600}>
          {(texts.actions as Partial<Record<string, string>>)[event.action] ?? event.action}
        </Text>
        <Box hiddenFrom="sm">
          {who}
          {lines}
        </Box>
      </Table.Td>
      <Table.Td visibleFrom="sm" style={{ verticalAlign: "top" }}>
        {lines}
      </Table.Td>
    </Table.Tr>
  );
}

/** Names by the ids of users and service accounts, as far as they are known. */
type Names = (id: string) => string | undefined;

/** Knows the members that events name, as many as can be asked for at once, and all service accounts. */
function useNames(events: Event[]): Names {
  const { workspace, may } = useWorkspace();
  const me = useQuery(UserService.method.getMe, {});
  const userIds = [...new Set(events.flatMap(({ actorUserId, details }) => [actorUserId, ...usersIn(details)]))].filter((id) => id !== "").slice(0, 200);
  const members = useQuery(
    MembershipService.method.listMemberships,
    { workspaceId: workspace.id, userIds, pageSize: 200 },
    { enabled: may("membership.get") && userIds.length > 0 },
  );
  const accounts = useQuery(ServiceAccountService.method.listServiceAccounts, { workspaceId: workspace.id }, { enabled: may("service_account.list") });
  const names = new Map<string, string>([
    ...(members.data?.memberships ?? []).map(({ userId, displayName, email }) => [userId, displayName || email] as const),
    ...(accounts.data?.serviceAccounts ?? []).map(({ id, displayName }) => [id, displayName] as const),
  ]);
  if (me.data?.user) {
    names.set(me.data.user.id, texts.you);
  }
  return (id) => names.get(id);
}

/** The ids of users anywhere in a value. */
function usersIn(value: JsonValue | undefined): string[] {
  return JSON.stringify(value ?? null).match(/\busr_[0-9a-z]{26}\b/g) ?? [];
}

function actorOf(event: Event, names: Names): string {
  const user = names(event.actorUserId) ?? (event.actorUserId || texts.formerMember);
  switch (event.actorKind) {
    case ActorKind.SYSTEM:
      return texts.system;
    case ActorKind.OPERATOR:
      return texts.operator;
    case ActorKind.SERVICE_ACCOUNT:
      return fill(texts.serviceAccount, { name: names(event.actorServiceAccountId) ?? event.actorServiceAccountId });
    default:
      return event.impersonatorUserId === "" ? user : fill(texts.operatorFor, { name: user });
  }
}

/** What changed, line by line. */
function detailsOf(details: JsonObject | undefined, names: Names): string[] {
  const { before, after, total, ...others } = details ?? {};
  const lines = changesOf(before, after, names);
  if (typeof total === "number" && typeof others["currency"] === "string") {
    lines.push(`${words("total")}: ${money({ currency: others["currency"], minorUnits: BigInt(total) })}`);
    delete others["currency"];
  }
  return [...lines, ...Object.entries(others).map(([name, value]) => `${words(name).replace(/ id$/, "")}: ${valueOf(value, names)}`)];
}

/** How two states of a thing differ. */
function changesOf(before: JsonValue | undefined, after: JsonValue | undefined, names: Names): string[] {
  if (!isObject(before) || !isObject(after)) {
    return [];
  }
  return Object.keys(after)
    .filter((name) => before[name] !== after[name])
    .map((name) => `${words(name)}: ${fill(texts.change, { before: valueOf(before[name], names), after: valueOf(after[name], names) })}`);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function valueOf(value: JsonValue | undefined, names: Names): string {
  if (value === null || value === undefined || value === "") {
    return texts.nothing;
  }
  if (Array.isArray(value)) {
    return value.length === 0 ? texts.nothing : value.map((one) => valueOf(one, names)).join(", ");
  }
  if (typeof value === "object") {
    const { before, after, ...others } = value;
    return Object.keys(others).length === 0 && "after" in value && !isObject(after)
      ? fill(texts.change, { before: valueOf(before, names), after: valueOf(after, names) })
      : detailsOf(value, names).join(", ");
  }
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) {
    return moment(timestampFromDate(new Date(value)));
  }
  return typeof value === "string" ? (names(value) ?? value) : String(value);
}
