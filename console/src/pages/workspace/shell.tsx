import { useQuery } from "@connectrpc/connect-query";
import { Button, Menu, NavLink, Text, VisuallyHidden } from "@mantine/core";
import { IconHome, IconMailForward, IconPlus, IconSelector, IconShieldCheck, IconUserQuestion, IconUsers, IconWorld } from "@tabler/icons-react";
import { useEffect } from "react";
import { Link, NavLink as RouterLink, useParams } from "react-router";
import { WorkspaceService } from "@gen/tenant/v1/workspace_pb";
import { Frame } from "../../components/frame";
import { Failure, Waiting } from "../../components/states";
import { lastWorkspace } from "../../last-workspace";
import { workspaceTexts } from "../../texts/workspace";
import { InWorkspace, useWorkspace } from "../../workspace";
import { NotFound } from "../not-found";

/** The pages of a workspace: which one these are pages of is in the path alone, so that two tabs can be in two. */
export function Shell() {
  const { slug } = useParams();
  const { data, error, refetch } = useQuery(WorkspaceService.method.listWorkspaces, { pageSize: 200, showDeleted: true });
  const here = data?.workspaces.find(({ workspace }) => workspace?.slug === slug);
  useEffect(() => {
    if (here) {
      lastWorkspace.write(here.workspace!.slug);
    }
  }, [here]);
  if (error) {
    return <Failure error={error} retry={() => void refetch()} />;
  }
  if (!data) {
    return <Waiting />;
  }
  if (!here) {
    return <NotFound />;
  }
  return (
    <InWorkspace workspace={here.workspace!} role={here.role} key={here.workspace!.id}>
      <Frame
        left={<Switcher others={data.workspaces.map(({ workspace }) => workspace!)} />}
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
          <Text fw={600} truncate maw={180}>
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
  const { workspace, may } = useWorkspace();
  const entries = [
    { to: "", label: workspaceTexts.overview.title, icon: IconHome, shown: true },
    { to: "/members", label: workspaceTexts.team.members, icon: IconUsers, shown: may("membership.get") },
    { to: "/invitations", label: workspaceTexts.team.invitations, icon: IconMailForward, shown: may("invitation.list") },
    { to: "/join-requests", label: workspaceTexts.team.joinRequests, icon: IconUserQuestion, shown: may("join_request.list") },
    { to: "/roles", label: workspaceTexts.team.roles, icon: IconShieldCheck, shown: may("role.list") },
    { to: "/domains", label: workspaceTexts.team.domains, icon: IconWorld, shown: may("domain.list") },
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
