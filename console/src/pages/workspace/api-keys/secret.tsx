import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { Copy } from "../../../components/copy";
import { Dialog } from "../../../components/dialog";
import { texts as all } from "../../../texts";
import { apiKeysTexts as texts } from "../../../texts/api-keys";

/** Shows a key this once: it goes with a button alone. Of a key whose first answer was lost there is nothing to show. */
export function Secret({ token, close }: { token: string; close: () => void }) {
  return (
    <Dialog title={texts.secret.title} close={close} closeOnClickOutside={false} closeOnEscape={false} withCloseButton={false}>
      <Stack>
        <Text size="sm">{token === "" ? texts.secret.lost : texts.secret.text}</Text>
        {token !== "" && (
          <TextInput
            label={texts.secret.label}
            value={token}
            readOnly
            onFocus={({ currentTarget }) => currentTarget.select()}
            rightSection={<Copy value={token} label={all.common.copy} />}
            styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
          />
        )}
        <Group justify="flex-end">
          <Button onClick={close}>{token === "" ? all.common.close : texts.secret.done}</Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
