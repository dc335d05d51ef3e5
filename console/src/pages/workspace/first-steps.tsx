import { useQuery } from "@connectrpc/connect-query";
import { Anchor, CloseButton, Group, Stack, Text, VisuallyHidden } from "@mantine/core";
import { IconCircle, IconCircleCheck } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";
import { SecurityService } from "@gen/auth/v1/security_pb";
import { PlanService } from "@gen/billing/v1/plan_pb";
import { SubscriptionService } from "@gen/billing/v1/subscription_pb";
import { InvitationService } from "@gen/team/v1/invitation_pb";
import { MembershipService } from "@gen/team/v1/membership_pb";
import { DomainService } from "@gen/tenant/v1/domain_pb";
import { Section } from "../../components/section";
import { firstStepsTexts as texts } from "../../texts/first-steps";
import { useWorkspace } from "../../workspace";

/** One of the first things to do. */
interface Step {
  name: "invite" | "domain" | "secondFactor" | "plan";
  to: string;
  done: boolean;
}

/** The first steps in a workspace, and what hides them there. */
export interface FirstSteps {
  /** Those that the person may do; none once all are done, or hidden; undefined until that is known. */
  steps: Step[] | undefined;
  hide(): void;
}

/** Tells the first steps from what there is already in the workspace. */
export function useFirstSteps(): FirstSteps {
  const { workspace, may } = useWorkspace();
  const [isHidden, setHidden] = useState(() => hidden.read(workspace.id));
  const workspaceId = workspace.id;
  const when = (asked: boolean) => ({ enabled: asked && !isHidden });
  const members = useQuery(MembershipService.method.listMemberships, { workspaceId, pageSize: 2 }, when(may("invitation.create") && may("membership.get")));
  const invitations = useQuery(InvitationService.method.listInvitations, { workspaceId, pageSize: 1 }, when(may("invitation.create") && may("invitation.list")));
  const domains = useQuery(DomainService.method.listDomains, { workspaceId }, when(may("domain.manage")));
  const security = useQuery(SecurityService.method.getSecurityOverview, {}, when(true));
  const plans = useQuery(PlanService.method.listPlans, {}, when(may("billing.update")));
  const subscription = useQuery(SubscriptionService.method.getSubscription, { workspaceId }, when(may("billing.update")));
  const hide = () => {
    hidden.write(workspace.id);
    setHidden(true);
    document.getElementById("content")?.focus(); // the button that had the focus has gone
  };
  if (isHidden) {
    return { steps: [], hide };
  }
  if ([members, invitations, domains, security, plans, subscription].some(({ isLoading }) => isLoading)) {
    return { steps: undefined, hide };
  }
  // What could not be read is left out.
  const steps: Step[] = [];
  if (members.data || invitations.data) {
    const done = (members.data?.memberships.length ?? 0) > 1 || (invitations.data?.invitations.length ?? 0) > 0;
    steps.push({ name: "invite", to: `/w/${workspace.slug}/invitations?invite`, done });
  }
  if (domains.data) {
    steps.push({ name: "domain", to: `/w/${workspace.slug}/domains`, done: domains.data.domains.some(({ verified }) => verified) });
  }
  if (security.data) {
    const { totpFactorCount, passkeyCount } = security.data;
    steps.push({ name: "secondFactor", to: "/account/security", done: totpFactorCount + passkeyCount > 0 });
  }
  if (subscription.data && plans.data?.plans.some(({ prices }) => prices.length > 0)) {
    steps.push({ name: "plan", to: `/w/${workspace.slug}/billing`, done: subscription.data.subscription?.currency !== "" });
  }
  return { steps: steps.every(({ done }) => done) ? [] : steps, hide };
}

/** Shows the steps, as links until they are done. */
export function FirstSteps({ steps, hide }: { steps: Step[]; hide: () => void }) {
  return (
    <Section title={texts.title} actions={<CloseButton aria-label={texts.hide} onClick={hide} />}>
      <Stack component="ul" gap="md" p={0} m={0} style={{ listStyle: "none" }}>
        {steps.map(({ name, to, done }) => (
          <Group key={name} component="li" wrap="nowrap" gap="sm" align="flex-start">
            {done ? <IconCircleCheck size={22} stroke={1.5} color="var(--mantine-color-anchor)" aria-hidden style={shape} /> : <IconCircle size={22} stroke={1.5} aria-hidden style={shape} />}
            {done ? (
              <Text c="dimmed">
                <VisuallyHidden>{texts.done} </VisuallyHidden>
                {texts.steps[name].title}
              </Text>
            ) : (
              <div>
                <Anchor component={Link} to={to} fw={500}>
                  {texts.steps[name].title}
                </Anchor>
                <Text size="sm" c="dimmed">
                  {texts.steps[name].text}
                </Text>
              </div>
            )}
          </Group>
        ))}
      </Stack>
    </Section>
  );
}

const shape = { flexShrink: 0, marginTop: 1 };

/** In which workspaces the steps are hidden in this browser, and nowhere if that keeps nothing. */
const hidden = {
  key: (workspaceId: string) => `manager.first-steps.${workspaceId}`,
  read(workspaceId: string): boolean {
    try {
      return localStorage.getItem(hidden.key(workspaceId)) !== null;
    } catch {
      return false;
    }
  },
  write(workspaceId: string): void {
    try {
      localStorage.setItem(hidden.key(workspaceId), "hidden");
    } catch {
      // They come back with the next visit.
    }
  },
};
