import { useQuery } from "@connectrpc/connect-query";
import { NativeSelect, type NativeSelectProps } from "@mantine/core";
import { useMemo } from "react";
import { RoleService } from "@gen/team/v1/role_pb";
import { teamTexts } from "./texts/team";
import { workspaceTexts } from "./texts/workspace";
import { useWorkspace } from "./workspace";

/** The roles of a workspace, as far as the person may see them. */
export interface Roles {
  /** The ids of all that are known, the highest first. */
  ids: string[];
  /** What people call a role. */
  nameOf(id: string): string;
  /** Reports whether the person may give a role, and change members who have it. */
  mayGive(id: string): boolean;
  /** What is given if nothing else is chosen. */
  usual: string;
}

const builtIn = ["owner", "admin", "member", "viewer"] as const;

/** What the catalogue calls a built-in role; undefined for a custom one. */
export function builtInName(id: string): string | undefined {
  return builtIn.some((name) => name === id) ? workspaceTexts.roles[id as (typeof builtIn)[number]] : undefined;
}

/** Asks for the workspace's roles. Until they are there, only the built-in ones are known. */
export function useRoles(): Roles {
  const { workspace, role: own, may } = useWorkspace();
  const { data } = useQuery(RoleService.method.listRoles, { workspaceId: workspace.id }, { enabled: may("role.list"), staleTime: 60_000 });
  return useMemo(() => {
    const held = new Map(data?.roles.map(({ id, permissions }) => [id, permissions]));
    const names = new Map(data?.roles.map(({ id, name }) => [id, name]));
    const mine = new Set(held.get(own));
    // The server has the last word; of roles that the person may not see, it alone knows.
    const mayGive = (id: string) => own === "owner" || (id !== "owner" && (data === undefined || held.get(id)?.every((name) => mine.has(name)) === true));
    return {
      ids: data ? [...held.keys()] : [...builtIn],
      nameOf: (id) => builtInName(id) ?? names.get(id) ?? id,
      mayGive,
      usual: mayGive("member") ? "member" : ([...held.keys()].filter(mayGive).at(-1) ?? "member"),
    };
  }, [data, own]);
}

/** A choice among the roles that the person may give. */
export function RoleSelect({
  roles,
  value,
  change,
  but = [],
  ...props
}: { roles: Roles; value: string; change: (role: string) => void; but?: string[] } & Omit<NativeSelectProps, "value" | "onChange" | "data">) {
  const offered = roles.ids.filter((id) => roles.mayGive(id) && !but.includes(id));
  return (
    <NativeSelect
      {...(props["aria-label"] === undefined && { label: teamTexts.role.label })}
      {...props}
      value={value}
      onChange={({ currentTarget }) => change(currentTarget.value)}
      data={offered.map((id) => ({ value: id, label: roles.nameOf(id) }))}
    />
  );
}
