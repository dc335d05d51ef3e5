import type { Permission } from "@gen/team/v1/role_pb";

/** Permissions by what they are about, in the order they came in. */
export function byResource(permissions: Permission[]): [resource: string, permissions: Permission[]][] {
  const found = new Map<string, Permission[]>();
  for (const permission of permissions) {
    const resource = permission.name.split(".")[0]!;
    found.set(resource, [...(found.get(resource) ?? []), permission]);
  }
  return [...found];
}
