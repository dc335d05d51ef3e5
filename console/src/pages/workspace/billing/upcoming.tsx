import { useQuery } from "@connectrpc/connect-query";
import { Table, Text } from "@mantine/core";
import { InvoiceLineKind, InvoiceService, type Invoice } from "@gen/billing/v1/invoice_pb";
import { PaymentProvider, type Subscription } from "@gen/billing/v1/subscription_pb";
import { Section } from "../../../components/section";
import { Failure, Waiting } from "../../../components/states";
import { count, day, money } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";
import { useWorkspace } from "../../../workspace";
import { AmountCell } from "./charges";

/** What the next invoice would say. */
export function Upcoming({ subscription }: { subscription: Subscription }) {
  const { workspace } = useWorkspace();
  const { data, error, refetch } = useQuery(InvoiceService.method.getUpcomingInvoice, { workspaceId: workspace.id });
  return (
    <Section title={texts.upcoming.title}>
      {error && !data && <Failure error={error} retry={() => void refetch()} />}
      {!error && !data && <Waiting />}
      {data && !data.invoice && (
        <Text size="sm" c="dimmed">
          {texts.upcoming.none}
        </Text>
      )}
      {data?.invoice && <Lines invoice={data.invoice} estimate={subscription.provider === PaymentProvider.STRIPE} />}
    </Section>
  );
}

function Lines({ invoice: { lines, subtotal, total, issueTime }, estimate }: { invoice: Invoice; estimate: boolean }) {
  const taxes = lines.filter(({ kind }) => kind === InvoiceLineKind.TAX);
  const sums = [
    ...(taxes.length > 0 && subtotal ? [{ label: texts.upcoming.subtotal, amount: subtotal }] : []),
    ...taxes.flatMap(({ description, amount }) => (amount ? [{ label: description, amount }] : [])),
    ...(total ? [{ label: texts.upcoming.total, amount: total }] : []),
  ];
  return (
    <>
      <Text size="sm" c="dimmed" mb="xs">
        {issueTime && fill(texts.upcoming.on, { time: day(issueTime) })} {estimate && texts.upcoming.estimate}{" "}
        {total && total.minorUnits < 0n && texts.upcoming.credited}
      </Text>
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{texts.charges.what}</Table.Th>
            <Table.Th ta="right">{texts.upcoming.quantity}</Table.Th>
            <Table.Th ta="right">{texts.charges.amount}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {lines.filter((line) => !taxes.includes(line)).map((line, i) => (
            <Table.Tr key={i}>
              <Table.Td>
                {line.description}
                <Text size="xs" c="dimmed">
                  {line.startTime && line.endTime && fill(texts.charges.span, { start: day(line.startTime), end: day(line.endTime) })}
                </Text>
              </Table.Td>
              <AmountCell>{count(line.quantity)}</AmountCell>
              <AmountCell>{line.amount && money(line.amount)}</AmountCell>
            </Table.Tr>
          ))}
        </Table.Tbody>
        <Table.Tfoot>
          {sums.map(({ label, amount }) => (
            <Table.Tr key={label}>
              <Table.Th scope="row" colSpan={2} fw={label === texts.upcoming.total ? 700 : 400}>
                {label}
              </Table.Th>
              <AmountCell strong={label === texts.upcoming.total}>{money(amount)}</AmountCell>
            </Table.Tr>
          ))}
        </Table.Tfoot>
      </Table>
    </>
  );
}
