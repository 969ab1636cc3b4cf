/** Users, roles, privileges. Passwords come in base64. */
import { VdbError } from "../../../../runtime/errors.ts";
import * as api from "../../../../runtime/protocol/public.ts";
import { type GrpcCall, type GrpcFront, type Rpc, rpc } from "../rpc.ts";
import { dataOf, given } from "./shapes.ts";

interface Named {
  name: string;
}

interface Grantor {
  user: Named | null;
  privilege: Named | null;
}

/** milvus.GrantEntity as decoded. */
interface GrantMessage {
  role: Named | null;
  object: Named | null;
  objectName: string;
  grantor: Grantor | null;
  dbName: string;
}

interface Grant {
  roleName: string;
  objectType: string;
  objectName: string;
  privilege: string;
  dbName: string;
  grantor: string;
}

interface CredentialRequest {
  username: string;
  password: string;
  oldPassword: string;
  newPassword: string;
}

interface PrivilegeV2Request {
  role: Named | null;
  grantor: Grantor | null;
  type: string;
  dbName: string;
  collectionName: string;
}

interface GroupRequest {
  groupName: string;
  privileges: Named[];
  type: string;
}

/** As rbac/backup gives it and rbac/restore takes it. */
interface Rbac {
  users: { userName: string; password: string; roles: string[] }[];
  roles: { roleName: string; description?: string }[];
  grants: Grant[];
  privilegeGroups: { privilegeGroupName: string; privileges: string[] }[];
}

/** milvus.RBACMeta as decoded. */
interface RbacMessage {
  users: { user: string; password: string; roles: Named[] }[];
  roles: Named[];
  grants: GrantMessage[];
  privilegeGroups: { groupName: string; privileges: Named[] }[];
}

export const accessControlRpcs: Rpc[] = [
  rpc("CreateCredential", async (front, { username, password }: CredentialRequest, call) => {
    await front.ask(api.createUser, { userName: username, password: plain(password) }, call);
  }),
  rpc("UpdateCredential", async (front, { username, oldPassword, newPassword }: CredentialRequest, call) => {
    const body = { userName: username, password: plain(oldPassword), newPassword: plain(newPassword) };
    await front.ask(api.updatePassword, body, call);
  }),
  rpc("DeleteCredential", async (front, { username }: CredentialRequest, call) => {
    await front.ask(api.dropUser, { userName: username }, call);
  }),
  rpc("ListCredUsers", async (front, _request, call) => {
    return { usernames: dataOf<string[]>(await front.ask(api.listUsers, {}, call)) };
  }),
  rpc("CreateRole", async (front, { entity }: { entity: Named | null }, call) => {
    await front.ask(api.createRole, { roleName: entity?.name ?? "" }, call);
  }),
  rpc("DropRole", async (front, { roleName, forceDrop }: { roleName: string; forceDrop: boolean }, call) => {
    await front.ask(api.dropRole, { roleName, forceDrop }, call);
  }),
  rpc(
    "OperateUserRole",
    async (front, { username, roleName, type }: { username: string; roleName: string; type: string }, call) => {
      const operation = type === "RemoveUserFromRole" ? api.revokeRole : api.grantRole;
      await front.ask(operation, { userName: username, roleName }, call);
    },
  ),
  rpc("SelectRole", async (front, request: { role: Named | null; includeUserInfo: boolean }, call) => {
    const body = { roleName: given(request.role?.name ?? ""), includeUserInfo: request.includeUserInfo };
    const found = dataOf<{ roleName: string; users?: string[] }[]>(await front.ask(api.selectRoles, body, call));
    return { results: found.map(({ roleName, users = [] }) => ({ role: named(roleName), users: users.map(named) })) };
  }),
  rpc("SelectUser", async (front, request: { user: Named | null; includeRoleInfo: boolean }, call) => {
    const body = { userName: given(request.user?.name ?? ""), includeRoleInfo: request.includeRoleInfo };
    const found = dataOf<{ userName: string; roles?: string[] }[]>(await front.ask(api.selectUsers, body, call));
    return { results: found.map(({ userName, roles = [] }) => ({ user: named(userName), roles: roles.map(named) })) };
  }),
  rpc("OperatePrivilege", async (front, { entity, type }: { entity: GrantMessage | null; type: string }, call) => {
    if (entity === null) throw new VdbError("invalid_parameter", "the entity in the request is nil");
    const { roleName, objectType, objectName, privilege, dbName } = grantOf(entity);
    const operation = type === "Revoke" ? api.revokePrivilege : api.grantPrivilege;
    await front.ask(operation, { roleName, objectType, objectName, privilege, dbName }, call);
  }),
  rpc("OperatePrivilegeV2", async (front, request: PrivilegeV2Request, call) => {
    const { role, grantor, type, dbName, collectionName } = request;
    const body = { roleName: role?.name ?? "", privilege: grantor?.privilege?.name ?? "", dbName, collectionName };
    await front.ask(type === "Revoke" ? api.revokePrivilegeV2 : api.grantPrivilegeV2, body, call);
  }),
  rpc("SelectGrant", selectGrant),
  rpc("CreatePrivilegeGroup", async (front, { groupName }: GroupRequest, call) => {
    await front.ask(api.createPrivilegeGroup, { privilegeGroupName: groupName }, call);
  }),
  rpc("DropPrivilegeGroup", async (front, { groupName }: GroupRequest, call) => {
    await front.ask(api.dropPrivilegeGroup, { privilegeGroupName: groupName }, call);
  }),
  rpc("ListPrivilegeGroups", async (front, _request, call) => {
    const reply = await front.ask(api.listPrivilegeGroups, {}, call);
    const { privilegeGroups } = dataOf<{ privilegeGroups: { privilegeGroupName: string; privileges: string }[] }>(
      reply,
    );
    return {
      privilegeGroups: privilegeGroups.map(({ privilegeGroupName, privileges }) =>
        groupMessage(privilegeGroupName, privileges === "" ? [] : privileges.split(",")),
      ),
    };
  }),
  rpc("OperatePrivilegeGroup", async (front, { groupName, privileges, type }: GroupRequest, call) => {
    const operation = type === "RemovePrivilegesFromGroup" ? api.removePrivileges : api.addPrivileges;
    const body = { privilegeGroupName: groupName, privileges: privileges.map(({ name }) => name) };
    await front.ask(operation, body, call);
  }),
  rpc("BackupRBAC", async (front, _request, call) => {
    const rbac = dataOf<Rbac>(await front.ask(api.backupRbac, {}, call));
    return {
      RBACMeta: {
        users: rbac.users.map(({ userName, password, roles }) => ({
          user: userName,
          password,
          roles: roles.map(named),
        })),
        roles: rbac.roles.map(({ roleName }) => named(roleName)),
        grants: rbac.grants.map(grantMessage),
        privilegeGroups: rbac.privilegeGroups.map((group) => groupMessage(group.privilegeGroupName, group.privileges)),
      },
    };
  }),
  rpc("RestoreRBAC", async (front, { RBACMeta }: { RBACMeta: RbacMessage | null }, call) => {
    if (RBACMeta === null) throw new VdbError("invalid_parameter", "the RBAC meta in the request is nil");
    const { users, roles, grants, privilegeGroups } = RBACMeta;
    const rbac: Rbac = {
      users: users.map((user) => ({ userName: user.user, password: user.password, roles: namesOf(user.roles) })),
      roles: roles.map(({ name }) => ({ roleName: name })),
      grants: grants.map(grantOf),
      privilegeGroups: privilegeGroups.map(({ groupName, privileges }) => ({
        privilegeGroupName: groupName,
        privileges: namesOf(privileges),
      })),
    };
    await front.ask(api.restoreRbac, { ...rbac }, call);
  }),
];

/** Of a role; with an object, those on it. */
async function selectGrant(front: GrpcFront, { entity }: { entity: GrantMessage | null }, call: GrpcCall) {
  const roleName = entity?.role?.name ?? "";
  if (entity === null || roleName === "") {
    throw new VdbError("invalid_parameter", "the role entity in the grant entity is nil");
  }
  const body = {
    roleName,
    dbName: given(entity.dbName),
    objectType: given(entity.object?.name ?? ""),
    objectName: given(entity.objectName),
  };
  const grants = dataOf<Omit<Grant, "roleName">[]>(await front.ask(api.describeRole, body, call));
  return { entities: grants.map((grant) => grantMessage({ roleName, ...grant })) };
}

function grantOf({ role, object, objectName, grantor, dbName }: GrantMessage): Grant {
  return {
    roleName: role?.name ?? "",
    objectType: object?.name ?? "",
    objectName,
    privilege: grantor?.privilege?.name ?? "",
    dbName,
    grantor: grantor?.user?.name ?? "",
  };
}

function grantMessage({ roleName, objectType, objectName, privilege, dbName, grantor }: Grant) {
  return {
    role: named(roleName),
    object: named(objectType),
    objectName,
    dbName,
    grantor: { user: named(grantor), privilege: named(privilege) },
  };
}

function groupMessage(groupName: string, privileges: readonly string[]) {
  return { groupName, privileges: privileges.map(named) };
}

function named(name: string): Named {
  return { name };
}

function namesOf(entities: readonly Named[]): string[] {
  return entities.map(({ name }) => name);
}

/** @throws VdbError invalid_parameter */
function plain(password: string): string {
  const text = Buffer.from(password, "base64").toString();
  if (password === "" || text !== "") return text;
  throw new VdbError("invalid_parameter", "decode password fail: it should be base64");
}
