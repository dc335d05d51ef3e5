import { Table, Text } from "@mantine/core";
import { useQuery } from "@connectrpc/connect-query";
import type { Money } from "@gen/billing/v1/money_pb";
import { PlanService } from "@gen/billing/v1/plan_pb";
import { ChargeKind, type Charge } from "@gen/billing/v1/subscription_pb";
import type { ReactNode } from "react";
import { day, money, plural } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";

/** What a change charges and credits, line by line, with sums below. */
export function Charges({ charges, sums }: { charges: Charge[]; sums: { label: string; amount: Money; strong?: boolean }[] }) {
  const plans = useQuery(PlanService.method.listPlans, {});
  const nameOf = (plan: string) => plans.data?.plans.find((p) => p.plan === plan)?.displayName ?? plan;
  return (
    <>
      <Table>
          {charges.length > 0 && (
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{texts.charges.what}</Table.Th>
                <Table.Th ta="right">{texts.charges.amount}</Table.Th>
              </Table.Tr>
            </Table.Thead>
          )}
          <Table.Tbody>
            {charges.map((charge, i) => (
              <Table.Tr key={i}>
                <Table.Td>
                  {chargeText(charge, nameOf(charge.plan))}
                  <Text size="xs" c="dimmed">
                    {charge.startTime && charge.endTime && fill(texts.charges.span, { start: day(charge.startTime), end: day(charge.endTime) })}
                  </Text>
                </Table.Td>
                <AmountCell>{charge.amount && money(charge.amount)}</AmountCell>
              </Table.Tr>
            ))}
          </Table.Tbody>
          <Table.Tfoot>
            {sums.map(({ label, amount, strong }) => (
              <Table.Tr key={label}>
                <Table.Th fw={strong ? 700 : 400} scope="row">
                  {label}
                </Table.Th>
                <AmountCell strong={strong ?? false}>{money(amount)}</AmountCell>
              </Table.Tr>
            ))}
          </Table.Tfoot>
      </Table>
      <Text size="xs" c="dimmed">
        {texts.charges.net}
      </Text>
    </>
  );
}

/** A cell of a table that holds an amount. */
export function AmountCell({ strong = false, children }: { strong?: boolean; children: ReactNode }) {
  return (
    <Table.Td ta="right" fw={strong ? 700 : 400} style={{ whiteSpace: "nowrap", fontVariantNumeric: "tabular-nums" }}>
      {children}
    </Table.Td>
  );
}

function chargeText({ kind, quantity, amount }: Charge, plan: string): string {
  const credit = (amount?.minorUnits ?? 0n) < 0n;
  const t = texts.charges;
  if (kind === ChargeKind.SEATS) {
    return plural(credit ? t.seatsCredit : t.seats, quantity, { plan });
  }
  return fill(credit ? t.flatCredit : t.flat, { plan });
}
