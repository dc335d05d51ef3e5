import "@mantine/core/styles/InlineInput.css";
import "@mantine/core/styles/Switch.css";
import { Stack, Switch, Text } from "@mantine/core";
import { useState } from "react";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { call, queryClient } from "../../../api";
import { SecondFactor } from "../../../components/second-factor";
import { Section } from "../../../components/section";
import { Failure } from "../../../components/states";
import { tell } from "../../../components/toasts";
import { isReason } from "../../../errors";
import { Cancelled, guarded } from "../../../reauthentication";
import { secondFactorTexts } from "../../../texts/second-factor";
import { useWorkspace } from "../../../workspace";

const texts = secondFactorTexts.policy;

/** What the workspace requires of its members. Who requires a second factor proves one first. */
export function Security() {
  const { workspace } = useWorkspace();
  const [pending, setPending] = useState(false);
  const [proving, setProving] = useState(false);
  const [error, setError] = useState<unknown>();
  const require = async (secondFactorRequired: boolean) => {
    setPending(true);
    setError(undefined);
    setProving(false);
    try {
      await guarded(() => call(WorkspaceService.method.updateSecurityPolicy, { workspaceId: workspace.id, secondFactorRequired }));
      tell(secondFactorRequired ? texts.on : texts.off);
      await queryClient.invalidateQueries();
    } catch (failure) {
      if (isReason(failure, "SECOND_FACTOR_REQUIRED_BY_WORKSPACE")) {
        setProving(true);
      } else if (!(failure instanceof Cancelled)) {
        setError(failure);
      }
    } finally {
      setPending(false);
    }
  };
  return (
    <Section title={texts.title}>
      <Stack maw={480}>
        <Switch
          label={texts.label}
          description={texts.hint}
          checked={workspace.secondFactorRequired}
          disabled={pending}
          onChange={({ currentTarget: { checked } }) => void require(checked)}
        />
        {error !== undefined && <Failure error={error} />}
        {proving && (
          <>
            <Text size="sm" fw={600} role="status">
              {texts.proveFirst}
            </Text>
            <SecondFactor done={() => void require(true)} />
          </>
        )}
      </Stack>
    </Section>
  );
}
