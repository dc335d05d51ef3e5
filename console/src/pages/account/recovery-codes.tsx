import "@mantine/core/styles/Code.css";
import { useMutation, useQuery } from "@connectrpc/connect-query";
import { Button, Code, CopyButton, Group, Stack, Text } from "@mantine/core";
import { IconCheck, IconCopy, IconDownload } from "@tabler/icons-react";
import { useState } from "react";
import { MfaService } from "@gen/auth/v1/mfa_pb";
import { Confirm } from "../../components/confirm";
import { Dialog } from "../../components/dialog";
import { Section } from "../../components/section";
import { Failure, Waiting } from "../../components/states";
import { day } from "../../components/time";
import { plural } from "../../format";
import { texts as common } from "../../texts";
import { accountTexts } from "../../texts/account";

const texts = accountTexts.recovery;

/** Below this many it is time for new ones. */
const few = 4;

/** How many recovery codes are left, and new ones. */
export function RecoveryCodes({ show }: { show: (codes: string[]) => void }) {
  const { data, error, refetch } = useQuery(MfaService.method.getRecoveryCodes, {});
  const regenerate = useMutation(MfaService.method.regenerateRecoveryCodes);
  const [asking, setAsking] = useState(false);
  return (
    <Section
      title={texts.title}
      actions={
        <Button variant="default" onClick={() => setAsking(true)}>
          {texts.regenerate}
        </Button>
      }
    >
      <Text size="sm" c="dimmed" mb="xs">
        {texts.text}
      </Text>
      {!data && error ? (
        <Failure error={error} retry={() => void refetch()} />
      ) : !data ? (
        <Waiting />
      ) : (
        <Text size="sm">
          {plural(texts.left, data.remainingCount, { time: data.createTime ? day(data.createTime) : "" })}{" "}
          {data.remainingCount < few && (
            <Text span c="red" fw={500}>
              {texts.few}
            </Text>
          )}
        </Text>
      )}
      {asking && (
        <Confirm
          title={texts.regenerateTitle}
          action={texts.regenerate}
          act={async () => show((await regenerate.mutateAsync({})).recoveryCodes)}
          close={() => setAsking(false)}
        >
          <Text size="sm">{texts.regenerateText}</Text>
        </Confirm>
      )}
    </Section>
  );
}

/** Shows recovery codes, this once. */
export function ShowRecoveryCodes({ codes, close }: { codes: string[]; close: () => void }) {
  const text = codes.join("\n") + "\n";
  return (
    <Dialog title={texts.showTitle} close={close} closeOnClickOutside={false} closeOnEscape={false}>
      <Stack>
        <Text size="sm">{texts.showText}</Text>
        <Stack component="ul" gap={4} p={0} m={0} aria-label={texts.list} style={{ listStyle: "none" }}>
          {codes.map((code) => (
            <Code key={code} component="li" fz="sm" ta="center" py={4}>
              {code}
            </Code>
          ))}
        </Stack>
        <Group gap="xs" grow>
          <CopyButton value={text}>
            {({ copied, copy }) => (
              <Button variant="default" onClick={copy} leftSection={copied ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}>
                {copied ? common.common.copied : texts.copy}
              </Button>
            )}
          </CopyButton>
          <Button
            component="a"
            variant="default"
            href={`data:text/plain;charset=utf-8,${encodeURIComponent(text)}`}
            download={texts.file}
            leftSection={<IconDownload size={16} aria-hidden />}
          >
            {texts.download}
          </Button>
        </Group>
        <Button onClick={close} data-autofocus>
          {texts.kept}
        </Button>
      </Stack>
    </Dialog>
  );
}
