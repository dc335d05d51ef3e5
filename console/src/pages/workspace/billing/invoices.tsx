import { timestampMs } from "@bufbuild/protobuf/wkt";
import { useInfiniteQuery } from "@connectrpc/connect-query";
import { Alert, Anchor, Badge, Box, Button, Group, Table, Text } from "@mantine/core";
import { IconDownload, IconExternalLink } from "@tabler/icons-react";
import { useState } from "react";
import { InvoiceFormat, InvoiceService, InvoiceState, type Invoice } from "@gen/billing/v1/invoice_pb";
import { call } from "../../../api";
import { Section } from "../../../components/section";
import { More } from "../../../components/more";
import { Empty, Failure, Waiting } from "../../../components/states";
import { tellFailure } from "../../../components/toasts";
import { day, money } from "../../../format";
import { fill } from "../../../texts";
import { billingTexts as texts } from "../../../texts/billing";
import { useWorkspace } from "../../../workspace";
import { AmountCell } from "./charges";

/** All invoices of the workspace, as documents too. */
export function Invoices() {
  const { workspace } = useWorkspace();
  const list = useInfiniteQuery(
    InvoiceService.method.listInvoices,
    { workspaceId: workspace.id, pageSize: 12, pageToken: "" },
    { pageParamKey: "pageToken", getNextPageParam: ({ nextPageToken }) => nextPageToken || undefined },
  );
  const invoices = list.data?.pages.flatMap((page) => page.invoices);
  const open = invoices?.find(({ state, documentUrl }) => state === InvoiceState.OPEN && documentUrl === "");
  return (
    <Section title={texts.invoices.title}>
      {list.error && !list.data && <Failure error={list.error} retry={() => void list.refetch()} />}
      {!list.error && !invoices && <Waiting />}
      {open && (
        <Alert variant="default" title={texts.invoices.payTitle} mb="md" role="note">
          {texts.invoices.pay}
          <Text size="sm" mt={4} style={{ whiteSpace: "pre-line" }}>
            {open.issuer}
          </Text>
        </Alert>
      )}
      {invoices?.length === 0 && <Empty title={texts.invoices.none} />}
      {invoices !== undefined && invoices.length > 0 && (
        <Table.ScrollContainer minWidth={0} type="native">
          <Table verticalSpacing="xs">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{texts.invoices.number}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.invoices.issued}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.invoices.due}</Table.Th>
                <Table.Th visibleFrom="sm">{texts.invoices.state}</Table.Th>
                <Table.Th ta="right">{texts.invoices.total}</Table.Th>
                <Table.Th ta="right">{texts.invoices.documents}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {invoices.map((invoice) => (
                <Row key={invoice.id} invoice={invoice} />
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      <More query={list} />
    </Section>
  );
}

const colors: Partial<Record<InvoiceState, string>> = { [InvoiceState.OPEN]: "orange", [InvoiceState.PAID]: "green" };

function Row({ invoice }: { invoice: Invoice }) {
  const { number, state, issueTime, dueTime, paidTime, total, documentUrl, note } = invoice;
  const overdue = state === InvoiceState.OPEN && dueTime !== undefined && timestampMs(dueTime) < Date.now();
  const standing = (
    <>
      <Badge variant="light" color={overdue ? "red" : (colors[state] ?? "gray")} c="var(--mantine-color-text)">
        {overdue ? texts.invoices.overdue : texts.invoices.states[state]}
      </Badge>
      {(paidTime || note) && (
        <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
          {[paidTime && fill(texts.invoices.paidOn, { time: day(paidTime) }), note].filter(Boolean).join(" · ")}
        </Text>
      )}
    </>
  );
  return (
    <Table.Tr>
      <Table.Th scope="row">
        {number}
        <Box hiddenFrom="sm" fw={400}>
          <Text size="xs" c="dimmed">
            {issueTime && day(issueTime)}
          </Text>
          {standing}
        </Box>
      </Table.Th>
      <Table.Td visibleFrom="sm">{issueTime && day(issueTime)}</Table.Td>
      <Table.Td visibleFrom="sm">{dueTime && day(dueTime)}</Table.Td>
      <Table.Td visibleFrom="sm">{standing}</Table.Td>
      <AmountCell>{total && money(total)}</AmountCell>
      <Table.Td>
        <Group gap="xs" justify="flex-end">
          {documentUrl === "" ? (
            <Documents invoice={invoice} />
          ) : (
            <Anchor href={documentUrl} target="_blank" rel="noreferrer" size="sm" aria-label={fill(texts.invoices.view, { number })}>
              {texts.invoices.viewShort} <IconExternalLink size={14} aria-hidden />
            </Anchor>
          )}
        </Group>
      </Table.Td>
    </Table.Tr>
  );
}

function Documents({ invoice: { id, workspaceId, number } }: { invoice: Invoice }) {
  const [rendering, setRendering] = useState<InvoiceFormat>();
  const render = async (format: InvoiceFormat, use: (url: string, fileName: string) => void) => {
    setRendering(format);
    try {
      const { content, contentType, fileName } = await call(InvoiceService.method.renderInvoice, { workspaceId, invoiceId: id, format });
      const url = URL.createObjectURL(new Blob([content as Uint8Array<ArrayBuffer>], { type: contentType }));
      use(url, fileName);
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } finally {
      setRendering(undefined);
    }
  };
  const view = () => {
    const tab = window.open("", "_blank"); // at once, or the browser takes it for an advertisement
    render(InvoiceFormat.HTML, (url) => tab?.location.replace(url)).catch((error: unknown) => {
      tab?.close();
      tellFailure(error);
    });
  };
  const download = (url: string, fileName: string) => {
    const link = document.createElement("a");
    link.href = url;
    link.download = fileName;
    link.click();
  };
  return (
    <>
      <Button size="compact-xs" variant="subtle" loading={rendering === InvoiceFormat.HTML} aria-label={fill(texts.invoices.view, { number })} onClick={view}>
        {texts.invoices.viewShort}
      </Button>
      <Button
        size="compact-xs"
        variant="default"
        leftSection={<IconDownload size={14} aria-hidden />}
        loading={rendering === InvoiceFormat.PDF}
        aria-label={fill(texts.invoices.pdf, { number })}
        onClick={() => void render(InvoiceFormat.PDF, download).catch(tellFailure)}
      >
        {texts.invoices.pdfShort}
      </Button>
    </>
  );
}
