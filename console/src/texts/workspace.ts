/** What the frame of a workspace's pages says, its overview, and what several areas of it share. */
export const workspaceTexts = {
  shell: {
    apiKeys: "API keys",
    billing: "Billing",
    events: "Events",
    settings: "Settings",
    newWorkspace: "New workspace",
    switchWorkspace: "Switch workspace",
  },
  overview: {
    title: "Overview",
    plan: "Plan",
    seats: "Members",
    of: "{active} of {all}",
    reserved: "and {count} invited",
    nothing: "There is nothing here for your role yet.",
    deleted: "This workspace is deleted",
    purge: "Nobody can use it, and on {time} it is removed for good.",
    undelete: "Restore the workspace",
    undeleted: "The workspace is back.",
  },
  roles: {
    owner: "Owner",
    admin: "Admin",
    member: "Member",
    viewer: "Viewer",
  },
  team: {
    members: "Members",
    invitations: "Invitations",
    joinRequests: "Join requests",
    roles: "Roles",
    domains: "Domains",
  },
} as const;
