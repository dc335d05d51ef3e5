import "@mantine/core/styles/ScrollArea.css";
import "@mantine/core/styles/Table.css";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { Paper, Table, Text } from "@mantine/core";
import { SecurityService, type SecurityEvent } from "@gen/auth/v1/security_pb";
import { More } from "../../components/more";
import { Empty, Failure, Waiting } from "../../components/states";
import { moment } from "../../components/time";
import { fill } from "../../texts";
import { accountTexts } from "../../texts/account";
import { clientName } from "./client-name";
import { AccountPage } from "./page";

const texts = accountTexts.activity;

/** What happened to the account. */
export function Page() {
  const query = useInfiniteQuery(
    SecurityService.method.listSecurityEvents,
    { pageSize: 25, pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  const events = query.data?.pages.flatMap(({ securityEvents }) => securityEvents);
  return (
    <AccountPage title={texts.title} text={texts.text}>
      {query.error && !events ? (
        <Failure error={query.error} retry={() => void query.refetch()} />
      ) : !events ? (
        <Waiting />
      ) : events.length === 0 ? (
        <Empty title={texts.none} />
      ) : (
        <Paper withBorder p="lg">
          <Table verticalSpacing="sm" horizontalSpacing="xs">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{texts.what}</Table.Th>
                <Table.Th visibleFrom="xs">{texts.where}</Table.Th>
                <Table.Th>{texts.when}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {events.map((event) => (
                <Row key={event.id} event={event} />
              ))}
            </Table.Tbody>
          </Table>
          <More query={query} />
        </Paper>
      )}
    </AccountPage>
  );
}

function Row({ event: { action, createTime, clientAddress, userAgent, operatorUserId, reason } }: { event: SecurityEvent }) {
  const where = [userAgent === "" ? "" : clientName(userAgent), clientAddress].filter((part) => part !== "").join(" · ");
  return (
    <Table.Tr>
      <Table.Td>
        <Text size="sm" fw={500}>
          {(accountTexts.events as Partial<Record<string, string>>)[action] ?? action}
        </Text>
        {operatorUserId !== "" && (
          <Text size="sm" c="dimmed">
            {fill(texts.operator, { reason })}
          </Text>
        )}
        <Text size="sm" c="dimmed" hiddenFrom="xs">
          {where}
        </Text>
      </Table.Td>
      <Table.Td visibleFrom="xs">
        <Text size="sm">{where}</Text>
      </Table.Td>
      <Table.Td>
        <Text size="sm">{createTime && moment(createTime)}</Text>
      </Table.Td>
    </Table.Tr>
  );
}
