/**
 * Users and roles as they are, with those that are there from the start and have no document: the user root, who may do
 * everything and cannot go; the roles admin, who may do everything, and public, which everybody has.
 */
import type { Catalog } from "./meta/catalog.ts";
import type { GrantDoc, RoleDoc, UserDoc } from "./protocol/catalog.ts";
import { ANY, BUILT_IN_GROUPS, objectTypeOf, type PrivilegeName } from "./protocol/privileges.ts";

export const ROOT = "root";
export const ADMIN = "admin";
export const PUBLIC = "public";

const ROOT_USER: UserDoc = { name: ROOT, password: "", roles: [ADMIN] };
const ADMIN_ROLE: RoleDoc = { name: ADMIN, description: "", grants: [] };

const PUBLIC_ROLE: RoleDoc = {
  name: PUBLIC,
  description: "",
  grants: (["DescribeCollection", "ListAliases", "IndexDetail"] satisfies PrivilegeName[]).map(
    (privilege): GrantDoc => ({
      privilege,
      objectType: objectTypeOf(privilege),
      objectName: ANY,
      database: ANY,
      grantor: ROOT,
    }),
  ),
};

export function isBuiltInRole(name: string): boolean {
  return name === ADMIN || name === PUBLIC;
}

export function findUser(catalog: Catalog, name: string): UserDoc | undefined {
  return catalog.user(name) ?? (name === ROOT ? ROOT_USER : undefined);
}

export function findRole(catalog: Catalog, name: string): RoleDoc | undefined {
  return catalog.role(name) ?? (name === ADMIN ? ADMIN_ROLE : name === PUBLIC ? PUBLIC_ROLE : undefined);
}

/** By name, root first. */
export function allUsers(catalog: Catalog): UserDoc[] {
  const others = catalog.users().filter(({ name }) => name !== ROOT);
  return [findUser(catalog, ROOT)!, ...others.sort(byName)];
}

/** By name, those that are built in first. */
export function allRoles(catalog: Catalog): RoleDoc[] {
  const others = catalog.roles().filter(({ name }) => !isBuiltInRole(name));
  return [findRole(catalog, ADMIN)!, findRole(catalog, PUBLIC)!, ...others.sort(byName)];
}

/** What a group's name stands for; undefined when there is no such group. */
export function privilegesOfGroup(catalog: Catalog, name: string): readonly string[] | undefined {
  return BUILT_IN_GROUPS.get(name) ?? catalog.privilegeGroup(name)?.privileges;
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}
