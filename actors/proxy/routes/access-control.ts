/**
 * /v2/vectordb/users/*, roles/*, privilege_groups/*, rbac/*: who there is, and who may do what. They work whether or not
 * callers are asked who they are (`proxy.authorization`), so that users can be made before it is turned on.
 */
import { z } from "zod";
import { allRoles, allUsers, findRole, findUser, isBuiltInRole, ROOT } from "../../../runtime/access-control.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { DEFAULT_DATABASE } from "../../../runtime/meta/catalog.ts";
import { hashPassword } from "../../../runtime/passwords.ts";
import type { GrantDoc } from "../../../runtime/protocol/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import {
  ANY,
  BUILT_IN_GROUPS,
  OBJECT_TYPES,
  objectTypeOf,
  PRIVILEGE_NAMES,
  privilegeLevel,
} from "../../../runtime/protocol/privileges.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { checkPassword, checkPrivilegeGroupName, checkRoleName, checkUserName } from "../access/names.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import { type ProxyContext, type Route, route, success } from "../context.ts";
import { optional } from "../parse-body.ts";

const Name = z.string().min(1);
const UserBody = z.object({ userName: Name });
const CreateUserBody = UserBody.extend({ password: Name, requestId: optional(z.string()) });
const PasswordBody = UserBody.extend({ password: Name, newPassword: Name });
const UserRoleBody = UserBody.extend({ roleName: Name });
const SelectUsersBody = z.object({ userName: optional(z.string()), includeRoleInfo: optional(z.boolean()) });
const RoleBody = z.object({ roleName: Name });
const CreateRoleBody = RoleBody.extend({ description: optional(z.string()), requestId: optional(z.string()) });
const AlterRoleBody = RoleBody.extend({ description: z.string() });
const DropRoleBody = RoleBody.extend({ forceDrop: optional(z.boolean()) });
const SelectRolesBody = z.object({ roleName: optional(z.string()), includeUserInfo: optional(z.boolean()) });
const DescribeRoleBody = RoleBody.extend({
  /** `*`: of all; absent: of the default one, and of those that are for all. */
  dbName: optional(z.string()),
  objectType: optional(z.string()),
  objectName: optional(z.string()),
});
const GrantBody = RoleBody.extend({
  objectType: Name,
  objectName: Name,
  privilege: Name,
  dbName: optional(z.string()),
});
const GrantV2Body = RoleBody.extend({
  privilege: Name,
  dbName: optional(z.string()),
  collectionName: optional(z.string()),
});
const GroupBody = z.object({ privilegeGroupName: Name });
const CreateGroupBody = GroupBody.extend({ requestId: optional(z.string()) });
const PrivilegesBody = GroupBody.extend({ privileges: optional(z.array(z.string())) });
const RestoreBody = z.object({
  users: optional(z.array(z.object({ userName: Name, password: z.string(), roles: z.array(z.string()) }))),
  roles: optional(z.array(z.object({ roleName: Name, description: optional(z.string()) }))),
  grants: optional(
    z.array(
      z.object({
        roleName: Name,
        objectType: z.enum(OBJECT_TYPES),
        objectName: Name,
        privilege: Name,
        dbName: Name,
        grantor: optional(z.string()),
      }),
    ),
  ),
  privilegeGroups: optional(z.array(z.object({ privilegeGroupName: Name, privileges: z.array(z.string()) }))),
});

export const accessControlRoutes: Route[] = [
  { operation: api.currentUser, handle: currentUser },
  { operation: api.listUsers, handle: listUsers },
  route(api.describeUser, UserBody, describeUser),
  route(api.selectUsers, SelectUsersBody, selectUsers),
  route(api.createUser, CreateUserBody, createUser),
  route(api.updatePassword, PasswordBody, updatePassword),
  route(api.dropUser, UserBody, dropUser),
  route(api.grantRole, UserRoleBody, grantRole),
  route(api.revokeRole, UserRoleBody, revokeRole),
  { operation: api.listRoles, handle: listRoles },
  route(api.describeRole, DescribeRoleBody, describeRole),
  route(api.selectRoles, SelectRolesBody, selectRoles),
  route(api.createRole, CreateRoleBody, createRole),
  route(api.alterRole, AlterRoleBody, alterRole),
  route(api.dropRole, DropRoleBody, dropRole),
  route(api.grantPrivilege, GrantBody, (proxy, body, call) => changeGrant(proxy, body, true, call)),
  route(api.revokePrivilege, GrantBody, (proxy, body, call) => changeGrant(proxy, body, false, call)),
  route(api.grantPrivilegeV2, GrantV2Body, (proxy, body, call) => changeGrantV2(proxy, body, true, call)),
  route(api.revokePrivilegeV2, GrantV2Body, (proxy, body, call) => changeGrantV2(proxy, body, false, call)),
  { operation: api.listPrivilegeGroups, handle: listGroups },
  route(api.createPrivilegeGroup, CreateGroupBody, createGroup),
  route(api.dropPrivilegeGroup, GroupBody, dropGroup),
  route(api.addPrivileges, PrivilegesBody, (proxy, body, call) => changeGroup(proxy, body, "add-privileges", call)),
  route(api.removePrivileges, PrivilegesBody, (proxy, body, call) =>
    changeGroup(proxy, body, "remove-privileges", call),
  ),
  { operation: api.backupRbac, handle: backup },
  route(api.restoreRbac, RestoreBody, restore),
];

async function change({ actor }: ProxyContext, wanted: coordinator.AccessChange, call: Call) {
  await changeCatalog(actor, coordinator.changeAccess, wanted, call);
  return success({});
}

async function currentUser({ access }: ProxyContext, _body: unknown, call: Call) {
  const { userName = "", roles = [] } = access.callerOf(call) ?? {};
  return success({ userName, roles });
}

async function listUsers({ actor }: ProxyContext, _body: unknown, call: Call) {
  await actor.catalog.cache.sync(call.deadline);
  return success(allUsers(actor.catalog).map(({ name }) => name));
}

async function describeUser({ actor }: ProxyContext, { userName }: z.infer<typeof UserBody>, call: Call) {
  await actor.catalog.cache.sync(call.deadline);
  const user = findUser(actor.catalog, userName);
  if (user === undefined) throw new VdbError("invalid_parameter", `user not found[user=${userName}]`);
  return success(user.roles);
}

async function selectUsers({ actor }: ProxyContext, request: z.infer<typeof SelectUsersBody>, call: Call) {
  const { userName, includeRoleInfo } = request;
  await actor.catalog.cache.sync(call.deadline);
  const users = allUsers(actor.catalog).filter(({ name }) => isAny(userName) || name === userName);
  return success(
    users.map(({ name, roles }) => (includeRoleInfo === true ? { userName: name, roles } : { userName: name })),
  );
}

async function createUser(proxy: ProxyContext, request: z.infer<typeof CreateUserBody>, call: Call) {
  const { userName: name, password, requestId = proxy.actor.random.ulid() } = request;
  checkUserName(name);
  checkPassword(password);
  return change(proxy, { kind: "create-user", name, password: await hashPassword(password), requestId }, call);
}

async function updatePassword(proxy: ProxyContext, request: z.infer<typeof PasswordBody>, call: Call) {
  const { userName: name, password, newPassword } = request;
  checkPassword(newPassword);
  await proxy.actor.catalog.cache.sync(call.deadline);
  if (!(await proxy.access.authenticator.isPassword(name, password))) {
    throw new VdbError("not_authenticated", `old password not correct for ${name}: not authenticated`);
  }
  return change(proxy, { kind: "set-password", name, password: await hashPassword(newPassword) }, call);
}

async function dropUser(proxy: ProxyContext, { userName: name }: z.infer<typeof UserBody>, call: Call) {
  return change(proxy, { kind: "drop-user", name }, call);
}

async function grantRole(proxy: ProxyContext, request: z.infer<typeof UserRoleBody>, call: Call) {
  return change(proxy, { kind: "grant-role", name: request.userName, role: request.roleName }, call);
}

async function revokeRole(proxy: ProxyContext, request: z.infer<typeof UserRoleBody>, call: Call) {
  return change(proxy, { kind: "revoke-role", name: request.userName, role: request.roleName }, call);
}

async function listRoles({ actor }: ProxyContext, _body: unknown, call: Call) {
  await actor.catalog.cache.sync(call.deadline);
  return success(allRoles(actor.catalog).map(({ name }) => name));
}

async function describeRole({ actor }: ProxyContext, request: z.infer<typeof DescribeRoleBody>, call: Call) {
  const { roleName, dbName = DEFAULT_DATABASE, objectType, objectName } = request;
  await actor.catalog.cache.sync(call.deadline);
  const role = findRole(actor.catalog, roleName);
  if (role === undefined) throw new VdbError("invalid_parameter", `role not found[role=${roleName}]`);
  const grants = role.grants.filter(
    (grant) =>
      (dbName === ANY || grant.database === ANY || grant.database === dbName) &&
      (objectType === undefined || objectType === "" || grant.objectType === objectType) &&
      (objectName === undefined || objectName === "" || grant.objectName === objectName),
  );
  return success(grants.map(shownGrant));
}

async function selectRoles({ actor }: ProxyContext, request: z.infer<typeof SelectRolesBody>, call: Call) {
  const { roleName, includeUserInfo } = request;
  const { catalog } = actor;
  await catalog.cache.sync(call.deadline);
  const users = allUsers(catalog);
  const roles = allRoles(catalog).filter(({ name }) => isAny(roleName) || name === roleName);
  return success(
    roles.map(({ name, description }) => ({
      roleName: name,
      description,
      ...(includeUserInfo === true
        ? { users: users.filter((user) => user.roles.includes(name)).map((user) => user.name) }
        : {}),
    })),
  );
}

async function createRole(proxy: ProxyContext, request: z.infer<typeof CreateRoleBody>, call: Call) {
  const { roleName: name, description = "", requestId = proxy.actor.random.ulid() } = request;
  checkRoleName(name);
  return change(proxy, { kind: "create-role", name, description, requestId }, call);
}

async function alterRole(proxy: ProxyContext, request: z.infer<typeof AlterRoleBody>, call: Call) {
  return change(proxy, { kind: "alter-role", name: request.roleName, description: request.description }, call);
}

async function dropRole(proxy: ProxyContext, { roleName: name, forceDrop }: z.infer<typeof DropRoleBody>, call: Call) {
  const { catalog } = proxy.actor;
  await catalog.cache.sync(call.deadline);
  if (findRole(catalog, name) === undefined) {
    throw new VdbError("unexpected", "not found the role, maybe the role isn't existed or internal system error");
  }
  return change(proxy, { kind: "drop-role", name, force: forceDrop === true }, call);
}

/** A privilege on a kind of object, the older way: groups cannot be granted so. */
async function changeGrant(proxy: ProxyContext, request: z.infer<typeof GrantBody>, isGranted: boolean, call: Call) {
  const { roleName, objectType: kind, dbName, privilege: given } = request;
  const privilege = given === "All" ? ANY : given;
  const objectType = OBJECT_TYPES.find((known) => known === kind);
  if (objectType === undefined) {
    throw new VdbError("unexpected", "the object entity in the request is nil or invalid");
  }
  if (privilege !== ANY) {
    const { catalog } = proxy.actor;
    if (catalog.privilegeGroup(privilege) !== undefined) {
      throw new VdbError("unexpected", `can not operate the custom privilege group [${privilege}]`);
    }
    if (BUILT_IN_GROUPS.has(privilege)) {
      throw new VdbError("unexpected", `can not operate the built-in privilege group [${privilege}]`);
    }
    const known = PRIVILEGE_NAMES.find((name) => name === privilege);
    if (known === undefined || objectTypeOf(known) !== objectType) {
      throw new VdbError("unexpected", `not found the privilege name[${privilege}] in object[${kind}]`);
    }
  }
  const objectName = objectType === "Global" ? ANY : request.objectName;
  return putGrant(proxy, { roleName, privilege, objectType, objectName, dbName }, isGranted, call);
}

/** A privilege or a group of them, on a collection, a database, or everything. */
async function changeGrantV2(
  proxy: ProxyContext,
  request: z.infer<typeof GrantV2Body>,
  isGranted: boolean,
  call: Call,
) {
  const { roleName, privilege, dbName, collectionName } = request;
  const objectName = isAny(collectionName) ? ANY : collectionName;
  const known = PRIVILEGE_NAMES.find((name) => name === privilege);
  const members = BUILT_IN_GROUPS.get(privilege) ?? proxy.actor.catalog.privilegeGroup(privilege)?.privileges ?? [];
  const isOfCollections = privilegeLevel(members[0] ?? "") === "collection";
  const objectType = known === undefined ? (isOfCollections ? "Collection" : "Global") : objectTypeOf(known);
  return putGrant(proxy, { roleName, privilege, objectType, objectName, dbName }, isGranted, call);
}

interface WantedGrant {
  roleName: string;
  privilege: string;
  objectType: GrantDoc["objectType"];
  objectName: string;
  dbName: string | undefined;
}

function putGrant(proxy: ProxyContext, wanted: WantedGrant, isGranted: boolean, call: Call) {
  const { roleName: role, dbName, ...given } = wanted;
  const database = dbName === undefined || dbName === "" ? DEFAULT_DATABASE : dbName;
  const grant: GrantDoc = { ...given, database, grantor: proxy.access.callerOf(call)?.userName ?? ROOT };
  return change(proxy, { kind: isGranted ? "grant-privilege" : "revoke-privilege", role, grant }, call);
}

/** Those that users have made. */
async function listGroups({ actor }: ProxyContext, _body: unknown, call: Call) {
  await actor.catalog.cache.sync(call.deadline);
  const groups = actor.catalog.privilegeGroups().sort((a, b) => (a.name < b.name ? -1 : 1));
  return success({
    privilegeGroups: groups.map(({ name, privileges }) => ({
      privilegeGroupName: name,
      privileges: privileges.join(","),
    })),
  });
}

async function createGroup(proxy: ProxyContext, request: z.infer<typeof CreateGroupBody>, call: Call) {
  const { privilegeGroupName: name, requestId = proxy.actor.random.ulid() } = request;
  checkPrivilegeGroupName(name);
  return change(proxy, { kind: "create-group", name, requestId }, call);
}

async function dropGroup(proxy: ProxyContext, request: z.infer<typeof GroupBody>, call: Call) {
  return change(proxy, { kind: "drop-group", name: request.privilegeGroupName }, call);
}

async function changeGroup(
  proxy: ProxyContext,
  request: z.infer<typeof PrivilegesBody>,
  kind: "add-privileges" | "remove-privileges",
  call: Call,
) {
  return change(proxy, { kind, name: request.privilegeGroupName, privileges: request.privileges ?? [] }, call);
}

/** Everything but root, and what is built in. Passwords as they are stored: whoever has them can try at leisure. */
async function backup({ actor }: ProxyContext, _body: unknown, call: Call) {
  const { catalog } = actor;
  await catalog.cache.sync(call.deadline);
  const users = allUsers(catalog).filter(({ name }) => name !== ROOT);
  const roles = allRoles(catalog);
  return success({
    users: users.map(({ name, password, roles: held }) => ({ userName: name, password, roles: held })),
    roles: roles
      .filter(({ name }) => !isBuiltInRole(name))
      .map(({ name, description }) => ({ roleName: name, description })),
    grants: roles.flatMap(({ name, grants }) => grants.map((grant) => ({ roleName: name, ...shownGrant(grant) }))),
    privilegeGroups: catalog
      .privilegeGroups()
      .map(({ name, privileges }) => ({ privilegeGroupName: name, privileges })),
  });
}

async function restore(proxy: ProxyContext, request: z.infer<typeof RestoreBody>, call: Call) {
  const { users = [], roles = [], grants = [], privilegeGroups = [] } = request;
  for (const { userName } of users) checkUserName(userName);
  for (const { roleName } of roles) checkRoleName(roleName);
  for (const { privilegeGroupName } of privilegeGroups) checkPrivilegeGroupName(privilegeGroupName);
  const descriptions = new Map(roles.map(({ roleName, description = "" }) => [roleName, description]));
  for (const { roleName } of grants) {
    if (descriptions.has(roleName)) continue;
    if (!isBuiltInRole(roleName))
      throw new VdbError("invalid_parameter", `grants are of a role [${roleName}] that is not there`);
    descriptions.set(roleName, "");
  }
  const state: coordinator.AccessState = {
    users: users
      .filter(({ userName }) => userName !== ROOT)
      .map(({ userName, password, roles: held }) => ({ name: userName, password, roles: held })),
    roles: [...descriptions].map(([name, description]) => ({
      name,
      description,
      grants: grants
        .filter(({ roleName }) => roleName === name)
        .map(({ privilege, objectType, objectName, dbName, grantor = ROOT }) => ({
          privilege,
          objectType,
          objectName,
          database: dbName,
          grantor,
        })),
    })),
    groups: privilegeGroups.map(({ privilegeGroupName, privileges }) => ({ name: privilegeGroupName, privileges })),
  };
  return change(proxy, { kind: "restore", state }, call);
}

function shownGrant({ privilege, objectType, objectName, database, grantor }: GrantDoc) {
  return { objectType, objectName, privilege, dbName: database, grantor };
}

function isAny(name: string | undefined): name is undefined | "" | "*" {
  return name === undefined || name === "" || name === ANY;
}
