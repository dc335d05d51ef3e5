import { Badge } from "@mantine/core";
import { InvitationState } from "@gen/team/v1/invitation_pb";
import { teamTexts } from "../../texts/team";

/** The state of an invitation, or of a link. */
export function State({ state }: { state: InvitationState }) {
  return (
    <Badge variant={state === InvitationState.PENDING ? "light" : "default"} miw="max-content">
      {teamTexts.invitations.states[state]}
    </Badge>
  );
}
