import "@mantine/core/styles/Table.css";
import { useMutation } from "@connectrpc/connect-query";
import { Alert, Button, Group, SimpleGrid, Stack, Table, Text, Textarea } from "@mantine/core";
import { IconAlertCircle, IconCheck } from "@tabler/icons-react";
import { useState, type FormEvent } from "react";
import { InvitationService, type InvitationResult } from "@gen/team/v1/invitation_pb";
import { queryClient } from "../../api";
import { Dialog } from "../../components/dialog";
import { tell } from "../../components/toasts";
import { textOf } from "../../errors";
import { plural } from "../../format";
import { Cancelled, guarded } from "../../reauthentication";
import { RoleSelect, type Roles } from "../../roles";
import { fill } from "../../texts";
import { teamTexts } from "../../texts/team";
import { useWorkspace } from "../../workspace";
import { aWeek, Lifetime } from "./lifetime";

// How many addresses one call takes.
const batch = 200;

/**
 * The addresses in what somebody pasted: with names and brackets around them, as mail
 * programs write them, or without. What is none is kept, for the server to say so.
 */
export function addressesIn(text: string): string[] {
  return text
    .split(/[,;\n]+/)
    .flatMap((part) => {
      const inBrackets = [...part.matchAll(/<([^<>]*)>/g)].map(([, address]) => address!);
      return inBrackets.length > 0 ? inBrackets : part.split(/\s+/);
    })
    .map((address) => address.trim())
    .filter((address) => address !== "");
}

/** Invites one address, or many, and says what became of each. */
export function Invite({ roles, close }: { roles: Roles; close: () => void }) {
  const { workspace } = useWorkspace();
  const [pasted, setPasted] = useState("");
  const [chosen, setRole] = useState<string>();
  const role = chosen ?? roles.usual;
  const [seconds, setSeconds] = useState(aWeek);
  const [results, setResults] = useState<InvitationResult[]>([]);
  const [rest, setRest] = useState<string[]>([]); // what could not be sent
  const [pending, setPending] = useState(false);
  const [missing, setMissing] = useState(false);
  const [error, setError] = useState<unknown>();
  const { mutateAsync } = useMutation(InvitationService.method.batchCreateInvitations, { onSuccess: () => undefined });
  const addresses = addressesIn(pasted);

  const send = async (addresses: string[], before: InvitationResult[]) => {
    setPending(true);
    setError(undefined);
    const all = [...before];
    const lifetime = { seconds: BigInt(seconds) };
    try {
      for (let next = addresses; next.length > 0; next = next.slice(batch)) {
        setRest(next);
        const emails = next.slice(0, batch);
        all.push(...(await guarded(() => mutateAsync({ workspaceId: workspace.id, emails, role, lifetime }))).results);
      }
      setRest([]);
      if (all.every(({ result }) => result.case === "invitation")) {
        tell(all.length === 1 ? fill(teamTexts.invitations.sent, { email: all[0]!.email }) : fill(teamTexts.invitations.sentMany, { count: all.length }));
        close();
      }
    } catch (error) {
      setError(error instanceof Cancelled ? undefined : error);
    } finally {
      setResults(all);
      setPending(false);
      void queryClient.invalidateQueries();
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setMissing(addresses.length === 0);
    if (addresses.length > 0) {
      void send(addresses, []);
    }
  };
  const failed = results.filter(({ result }) => result.case !== "invitation").map(({ email }) => email);
  const failure = error !== undefined && (
    <Alert color="red" variant="light" role="alert">
      {textOf(error)}
    </Alert>
  );

  return (
    <Dialog close={close} size="lg" title={results.length > 0 ? teamTexts.invitations.results : teamTexts.invitations.invite}>
      {results.length > 0 ? (
        <Stack>
          <Text size="sm" role="status">
            {fill(teamTexts.invitations.summary, { invited: results.length - failed.length, all: results.length + rest.length })}
          </Text>
          <Table aria-label={teamTexts.invitations.results}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{teamTexts.invitations.address}</Table.Th>
                <Table.Th>{teamTexts.invitations.result}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {results.map(({ email, result }, i) => (
                <Table.Tr key={i}>
                  <Table.Td style={{ overflowWrap: "anywhere" }}>{email}</Table.Td>
                  <Table.Td>
                    <Group gap={6} wrap="nowrap" c={result.case === "failure" ? "red" : "dimmed"} style={result.case === "failure" ? { color: "var(--mantine-color-error)" } : {}}>
                      {result.case === "failure" ? <IconAlertCircle size={16} style={{ flexShrink: 0 }} aria-hidden /> : <IconCheck size={16} style={{ flexShrink: 0 }} aria-hidden />}
                      {result.case === "failure"
                        ? ((teamTexts.invitations.failures as Partial<Record<string, string>>)[result.value.reason] ?? result.value.message)
                        : teamTexts.invitations.invited}
                    </Group>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
          {failure}
          <Group justify="flex-end" gap="sm">
            {rest.length > 0 && (
              <Button loading={pending} onClick={() => void send(rest, results)}>
                {plural(teamTexts.invitations.goOn, rest.length)}
              </Button>
            )}
            {failed.length > 0 && rest.length === 0 && (
              <Button
                variant="default"
                onClick={() => {
                  setPasted(failed.join("\n"));
                  setResults([]);
                }}
              >
                {plural(teamTexts.invitations.correct, failed.length)}
              </Button>
            )}
            <Button variant={rest.length > 0 ? "default" : "filled"} onClick={close}>
              {teamTexts.invitations.done}
            </Button>
          </Group>
        </Stack>
      ) : (
        <form onSubmit={submit} noValidate>
          <Stack>
            <Textarea
              label={teamTexts.invitations.addresses}
              description={teamTexts.invitations.addressesHint}
              data-autofocus
              rows={5}
              inputMode="email"
              autoCapitalize="none"
              spellCheck={false}
              value={pasted}
              onChange={({ currentTarget }) => {
                setPasted(currentTarget.value);
                setMissing(false);
              }}
              {...(missing && { error: teamTexts.invitations.noAddress })}
            />
            <SimpleGrid cols={{ base: 1, xs: 2 }}>
              <RoleSelect roles={roles} value={role} change={setRole} />
              <Lifetime value={seconds} change={setSeconds} />
            </SimpleGrid>
            {failure}
            <Group justify="space-between">
              <Text size="sm" c="dimmed">
                {addresses.length > 1 && plural(teamTexts.invitations.counted, addresses.length)}
              </Text>
              <Button type="submit" loading={pending}>
                {teamTexts.invitations.send}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Dialog>
  );
}
