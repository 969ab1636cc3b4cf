/**
 * Users, roles and groups of privileges have a document each. Grants are in their role's document, a user's roles in
 * the user's: dropping a role takes it from its users in the same batch.
 */
import { isDeepStrictEqual } from "node:util";
import {
  ADMIN,
  allRoles,
  allUsers,
  findRole,
  findUser,
  isBuiltInRole,
  privilegesOfGroup,
  ROOT,
} from "../../../runtime/access-control.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { putDoc } from "../../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../../runtime/meta/port.ts";
import { isStoredPassword } from "../../../runtime/passwords.ts";
import {
  type GrantDoc,
  metaKeys,
  type PrivilegeGroupDoc,
  type RoleDoc,
  type UserDoc,
} from "../../../runtime/protocol/catalog.ts";
import type { AccessChange, AccessState } from "../../../runtime/protocol/coordinator.ts";
import { ANY, BUILT_IN_GROUPS, privilegeLevel } from "../../../runtime/protocol/privileges.ts";
import type { ChangeContext, Changed } from "./changes.ts";

export interface AccessChanges {
  changeAccess(change: AccessChange): Promise<Changed>;
}

export function accessChanges({ ctx, catalog, cache, commit, remove }: ChangeContext): AccessChanges {
  const putUser = (user: UserDoc) => putDoc(cache, metaKeys.user(user.name), user);
  const putRole = (role: RoleDoc) => putDoc(cache, metaKeys.role(role.name), role);
  const putGroup = (group: PrivilegeGroupDoc) => putDoc(cache, metaKeys.privilegeGroup(group.name), group);

  function requireRoomForUsers(count: number): void {
    if (allUsers(catalog).length + count <= ctx.config.coordinator.usersMax) return;
    throw failed("unable to add user because the number of users has reached the limit");
  }

  function requireRoomForRoles(count: number): void {
    if (allRoles(catalog).length + count <= ctx.config.coordinator.rolesMax) return;
    throw failed("unable to create role because the number of roles has reached the limit");
  }

  function requireUser(name: string): UserDoc {
    const user = findUser(catalog, name);
    if (user === undefined) throw failed("not found the user, maybe the user isn't existed or internal system error");
    return user;
  }

  function requireRole(name: string): RoleDoc {
    const role = findRole(catalog, name);
    if (role === undefined) throw failed("not found the role, maybe the role isn't existed or internal system error");
    return role;
  }

  function requireGroup(name: string): PrivilegeGroupDoc {
    if (BUILT_IN_GROUPS.has(name)) {
      throw invalid(`the privilege group name [${name}] is defined by built in privilege groups in system`);
    }
    const group = catalog.privilegeGroup(name);
    if (group === undefined) throw invalid(`there is no privilege group name [${name}] defined in system to operate`);
    return group;
  }

  function dropRole(name: string, force: boolean): MetaOp[] | null {
    if (isBuiltInRole(name)) {
      throw new VdbError("not_permitted", `the role[${name}] is a builtin role, which can't be dropped`);
    }
    const role = catalog.role(name);
    if (role === undefined) return null;
    if (role.grants.length > 0 && !force) {
      throw failed("fail to drop the role that it has privileges. Use REVOKE API to revoke privileges");
    }
    const holders = catalog.users().filter(({ roles }) => roles.includes(name));
    const left = holders.map((user) => putUser({ ...user, roles: user.roles.filter((each) => each !== name) }));
    return [...remove([metaKeys.role(name)]), ...left];
  }

  function withPrivileges(name: string, privileges: readonly string[], isAdded: boolean): MetaOp[] | null {
    const group = requireGroup(name);
    if (privileges.length === 0) throw invalid("privileges is empty when alter the privilege group");
    const changed = new Set(group.privileges);
    for (const privilege of privileges.flatMap((each) => privilegesOfGroup(catalog, each) ?? [each])) {
      if (privilegeLevel(privilege) === undefined) {
        throw invalid(`there is no privilege name or privilege group name [${privilege}] defined in system to operate`);
      }
      if (isAdded) changed.add(privilege);
      else changed.delete(privilege);
    }
    if (isAdded && new Set([...changed].map(privilegeLevel)).size > 1) {
      throw invalid("privileges are not the same privilege level");
    }
    if (changed.size === group.privileges.length && group.privileges.every((each) => changed.has(each))) return null;
    return [putGroup({ ...group, privileges: [...changed] })];
  }

  function requireGrantable({ privilege, objectName, database }: GrantDoc): void {
    if (privilege === ANY || privilegeLevel(privilege) !== undefined) return;
    const members = privilegesOfGroup(catalog, privilege);
    if (members === undefined) throw failed(`not found the privilege name[${privilege}]`);
    const level = privilegeLevel(members[0] ?? "");
    if (level === "cluster" && (database !== ANY || objectName !== ANY)) {
      throw invalid(`dbName and collectionName should be * for the cluster level privilege: ${privilege}`);
    }
    if (level === "database" && objectName !== ANY) {
      throw invalid(`collectionName should be * for the database level privilege: ${privilege}`);
    }
    if (level === "collection" && database === ANY && objectName !== ANY) {
      throw invalid(`please specify database name for the collection level privilege: ${privilege}`);
    }
  }

  function restore({ users, roles, groups }: AccessState): MetaOp[] {
    const newRoles = roles.filter(({ name }) => !isBuiltInRole(name));
    const taken =
      users.find(({ name }) => findUser(catalog, name) !== undefined) ??
      newRoles.find(({ name }) => findRole(catalog, name) !== undefined) ??
      groups.find(({ name }) => privilegesOfGroup(catalog, name) !== undefined || privilegeLevel(name) !== undefined);
    if (taken !== undefined) throw failed(`fail to restore: [${taken.name}] already exists`);
    for (const list of [users, newRoles, groups]) {
      const names = new Set<string>();
      for (const { name } of list) {
        if (names.has(name)) throw invalid(`fail to restore: [${name}] is there twice`);
        names.add(name);
      }
    }
    requireRoomForUsers(users.length);
    requireRoomForRoles(newRoles.length);
    const named = new Set([...allRoles(catalog), ...newRoles].map(({ name }) => name));
    for (const { name, password, roles: held } of users) {
      if (!isStoredPassword(password)) throw invalid(`the password of user ${name} is in no form that is known`);
      const missing = held.find((role) => !named.has(role));
      if (missing !== undefined)
        throw failed(`fail to restore: user ${name} has the role [${missing}] that there is not`);
    }
    const grantable = new Set(groups.map(({ name }) => name));
    for (const grant of roles.flatMap(({ grants }) => grants)) {
      if (!grantable.has(grant.privilege)) requireGrantable(grant);
    }
    for (const { name, privileges } of groups) {
      const levels = new Set(privileges.map(privilegeLevel));
      if (levels.has(undefined) || levels.size > 1)
        throw invalid(`privilege group [${name}] is not of one privilege level`);
    }
    const builtIn = roles
      .filter(({ name }) => isBuiltInRole(name))
      .map(({ name, grants }) => grants.reduce(withGrant, requireRole(name)))
      .filter((role) => role !== findRole(catalog, role.name));
    return [...users.map(putUser), ...newRoles.map(putRole), ...builtIn.map(putRole), ...groups.map(putGroup)];
  }

  function apply(change: AccessChange): MetaOp[] | null {
    switch (change.kind) {
      case "create-user": {
        const { name, password, requestId } = change;
        const other = findUser(catalog, name);
        if (other?.requestId === requestId) return null;
        if (other !== undefined) throw failed(`user already exists: ${name}`);
        requireRoomForUsers(1);
        return [putUser({ name, password, roles: [], requestId })];
      }
      case "set-password":
        return [putUser({ ...requireUser(change.name), password: change.password })];
      case "drop-user":
        if (change.name === ROOT) throw new VdbError("not_permitted", "root user cannot be deleted");
        return remove([metaKeys.user(change.name)]);
      case "grant-role": {
        const { name } = requireRole(change.role);
        const user = requireUser(change.name);
        return user.roles.includes(name) ? null : [putUser({ ...user, roles: [...user.roles, name] })];
      }
      case "revoke-role": {
        const { name } = requireRole(change.role);
        const user = requireUser(change.name);
        if (user.name === ROOT && name === ADMIN) {
          throw new VdbError("not_permitted", "the role admin cannot be taken from the user root");
        }
        if (!user.roles.includes(name)) return null;
        return [putUser({ ...user, roles: user.roles.filter((each) => each !== name) })];
      }
      case "create-role": {
        const { name, description, requestId } = change;
        const other = findRole(catalog, name);
        if (other?.requestId === requestId) return null;
        if (other !== undefined) throw failed(`role [name:"${name}"] already exists`);
        requireRoomForRoles(1);
        return [putRole({ name, description, grants: [], requestId })];
      }
      case "alter-role": {
        const role = requireRole(change.name);
        return role.description === change.description ? null : [putRole({ ...role, description: change.description })];
      }
      case "drop-role":
        return dropRole(change.name, change.force);
      case "grant-privilege": {
        const role = requireRole(change.role);
        requireGrantable(change.grant);
        const changed = withGrant(role, change.grant);
        return changed === role ? null : [putRole(changed)];
      }
      case "revoke-privilege": {
        const role = requireRole(change.role);
        requireGrantable(change.grant);
        const grants = role.grants.filter((grant) => !isSame(grant, change.grant));
        return grants.length === role.grants.length ? null : [putRole({ ...role, grants })];
      }
      case "create-group": {
        const { name, requestId } = change;
        if (catalog.privilegeGroup(name)?.requestId === requestId) return null;
        if (privilegeLevel(name) !== undefined || privilegesOfGroup(catalog, name) !== undefined) {
          throw invalid(
            `privilege group name [${name}] is defined by built in privileges or privilege groups in system`,
          );
        }
        return [putGroup({ name, privileges: [], requestId })];
      }
      case "drop-group": {
        const { name } = change;
        if (BUILT_IN_GROUPS.has(name)) requireGroup(name);
        const user = catalog.roles().find(({ grants }) => grants.some(({ privilege }) => privilege === name));
        if (user !== undefined && catalog.privilegeGroup(name) !== undefined) {
          throw invalid(`privilege group [${name}] is used by role [${user.name}], Use REVOKE API to revoke it first`);
        }
        return remove([metaKeys.privilegeGroup(name)]);
      }
      case "add-privileges":
        return withPrivileges(change.name, change.privileges, true);
      case "remove-privileges":
        return withPrivileges(change.name, change.privileges, false);
      case "restore":
        return restore(change.state);
    }
  }

  return { changeAccess: (change) => commit(() => apply(change)) };
}

/** The role itself when it has the grant. */
function withGrant(role: RoleDoc, grant: GrantDoc): RoleDoc {
  return role.grants.some((other) => isSame(other, grant)) ? role : { ...role, grants: [...role.grants, grant] };
}

/** Whoever gave it. */
function isSame(a: GrantDoc, b: GrantDoc): boolean {
  return isDeepStrictEqual({ ...a, grantor: "" }, { ...b, grantor: "" });
}

/** Milvus's catch-all, which its clients know by the text. */
function failed(message: string): VdbError {
  return new VdbError("unexpected", message);
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
