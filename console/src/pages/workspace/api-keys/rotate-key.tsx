import { useMutation } from "@connectrpc/connect-query";
import { NativeSelect, Text } from "@mantine/core";
import { useState } from "react";
import { ApiKeyService, type ApiKey } from "@gen/auth/v1/api_key_pb";
import { Confirm } from "../../../components/confirm";
import { fill } from "../../../texts";
import { apiKeysTexts as texts } from "../../../texts/api-keys";
import { useWorkspace } from "../../../workspace";

const overlaps = [0, 3600, 86400, 604800] as const;

/** Gives a key a new secret, and hands it over to be shown; the old one may work on for a while. */
export function RotateKey({ apiKey, show, close }: { apiKey: ApiKey; show: (token: string) => void; close: () => void }) {
  const { workspace } = useWorkspace();
  const [overlapSeconds, setOverlap] = useState<number>(86400);
  const [requestId] = useState(() => crypto.randomUUID()); // Sent again it gives another secret, and the old one works on.
  const rotate = useMutation(ApiKeyService.method.rotateApiKey);
  return (
    <Confirm
      title={fill(texts.rotation.title, { name: apiKey.displayName })}
      action={texts.rotation.submit}
      harmless
      act={async () => show((await rotate.mutateAsync({ workspaceId: workspace.id, apiKeyId: apiKey.id, overlapSeconds, requestId })).token)}
      close={close}
    >
      <Text size="sm" mb="md">
        {texts.rotation.text}
      </Text>
      <NativeSelect
        label={texts.rotation.overlap}
        value={overlapSeconds}
        onChange={({ currentTarget: { value } }) => setOverlap(Number(value))}
        data={overlaps.map((value) => ({ value: String(value), label: texts.rotation.in[value] }))}
      />
    </Confirm>
  );
}
