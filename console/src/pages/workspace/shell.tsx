import { Button, Menu, NavLink, Text, VisuallyHidden } from "@mantine/core";
import {
  IconCreditCard,
  IconHistory,
  IconHome,
  IconKey,
  IconMailForward,
  IconPlus,
  IconSelector,
  IconSettings,
  IconShieldCheck,
  IconUserQuestion,
  IconUsers,
  IconWorld,
} from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { Link, NavLink as RouterLink, useLocation, useNavigate, useParams } from "react-router";
import { WorkspaceState } from "@gen/tenant/v1/workspace_pb";
import { Frame } from "../../components/frame";
import { Failure, Waiting } from "../../components/states";
import { lastWorkspace } from "../../last-workspace";
import { workspaceTexts } from "../../texts/workspace";
import { InWorkspace, useWorkspace } from "../../workspace";
import { useWorkspaces } from "../../workspaces";
import { NotFound } from "../not-found";
import { Closed } from "./closed";

/** The pages of a workspace: which one these are pages of is in the path alone, so that two tabs can be in two. */
export function Shell() {
  const { slug } = useParams();
  const { data, error, refetch, isFetching } = useWorkspaces({ showDeleted: true });
  const { pathname } = useLocation();
  const navigate = useNavigate();
  const last = useRef<{ id: string; slug: string }>(undefined);
  const here =
    data?.find(({ workspace }) => workspace?.slug === slug) ??
    // It has got another address while it was looked at: the page's follows.
    data?.find(({ workspace }) => last.current?.slug === slug && workspace?.id === last.current?.id);
  useEffect(() => {
    if (here) {
      const workspace = here.workspace!;
      lastWorkspace.write(workspace.slug);
      last.current = { id: workspace.id, slug: slug! };
      if (workspace.slug !== slug) {
        void navigate(pathname.replace(`/w/${slug}`, `/w/${workspace.slug}`), { replace: true });
      }
    }
  }, [here, slug, pathname, navigate]);
  if (!data) {
    return error ? <Failure error={error} retry={() => void refetch()} /> : <Waiting />;
  }
  if (!here) {
    return isFetching ? <Waiting /> : <NotFound />; // it may have just been made
  }
  if (here.secondFactorMissing) {
    const others = data.filter((other) => other !== here).map(({ workspace }) => workspace!);
    return <Closed workspace={here.workspace!} others={others} />;
  }
  return (
    <InWorkspace workspace={here.workspace!} role={here.role} key={here.workspace!.id}>
      <Frame
        left={<Switcher others={data.map(({ workspace }) => workspace!)} />}
        label={here.workspace!.name}
        entries={<Entries />}
      />
    </InWorkspace>
  );
}

function Switcher({ others }: { others: { id: string; name: string; slug: string }[] }) {
  const { workspace } = useWorkspace();
  return (
    <Menu shadow="md" width={240}>
      <Menu.Target>
        <Button variant="subtle" color="gray" pos="relative" px="xs" rightSection={<IconSelector size={16} aria-hidden />}>
          <Text fw={600} truncate maw={{ base: 150, sm: 180 }}>
            {workspace.name}
          </Text>
          <VisuallyHidden>{workspaceTexts.shell.switchWorkspace}</VisuallyHidden>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{workspaceTexts.shell.switchWorkspace}</Menu.Label>
        {others.map(({ id, name, slug }) => (
          <Menu.Item key={id} component={Link} to={`/w/${slug}`}>
            {name}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item component={Link} to="/new-workspace" leftSection={<IconPlus size={16} aria-hidden />}>
          {workspaceTexts.shell.newWorkspace}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Entries() {
  const { workspace, role, may } = useWorkspace();
  // No permission is anybody's in a deleted workspace.
  const restorable = workspace.state === WorkspaceState.DELETED && role === "owner";
  const entries = [
    { to: "", label: workspaceTexts.overview.title, icon: IconHome, shown: true },
    { to: "/members", label: workspaceTexts.team.members, icon: IconUsers, shown: may("membership.get") },
    { to: "/invitations", label: workspaceTexts.team.invitations, icon: IconMailForward, shown: may("invitation.list") },
    { to: "/join-requests", label: workspaceTexts.team.joinRequests, icon: IconUserQuestion, shown: may("join_request.list") },
    { to: "/roles", label: workspaceTexts.team.roles, icon: IconShieldCheck, shown: may("role.list") },
    { to: "/domains", label: workspaceTexts.team.domains, icon: IconWorld, shown: may("domain.list") },
    { to: "/billing", label: workspaceTexts.shell.billing, icon: IconCreditCard, shown: may("billing.get") || restorable },
    { to: "/api-keys", label: workspaceTexts.shell.apiKeys, icon: IconKey, shown: may("api_key.list") },
    { to: "/events", label: workspaceTexts.shell.events, icon: IconHistory, shown: may("event.list") },
    { to: "/settings", label: workspaceTexts.shell.settings, icon: IconSettings, shown: may("workspace.update") || may("workspace.delete") || restorable },
  ];
  return entries
    .filter(({ shown }) => shown)
    .map(({ to, label, icon: Icon }) => (
      <NavLink
        key={to}
        component={RouterLink}
        to={`/w/${workspace.slug}${to}`}
        end={to === ""}
        label={label}
        leftSection={<Icon size={18} aria-hidden />}
      />
    ));
}
