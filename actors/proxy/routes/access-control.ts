/**
 * /v2/vectordb/users/*, roles/*, privilege_groups/*: nobody is asked who they are, so there are the users and roles that
 * Milvus has with authorisation off, and nothing that would change them.
 */
import { z } from "zod";
import { VdbError } from "../../../runtime/errors.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { type Route, route, success } from "../context.ts";

const UserBody = z.object({ userName: z.string().min(1) });
const RoleBody = z.object({ roleName: z.string().min(1) });

const USERS: Readonly<Record<string, readonly string[]>> = { root: ["admin"] };
const ROLES: readonly string[] = ["admin", "public"];

const CHANGES = [
  ...[api.createUser, api.updatePassword, api.dropUser, api.grantRole, api.revokeRole],
  ...[api.createRole, api.dropRole, api.grantPrivilege, api.revokePrivilege],
  ...[api.grantPrivilegeV2, api.revokePrivilegeV2],
  ...[api.createPrivilegeGroup, api.dropPrivilegeGroup, api.addPrivileges, api.removePrivileges],
];

export const accessControlRoutes: Route[] = [
  { operation: api.listUsers, handle: async () => success(Object.keys(USERS)) },
  route(api.describeUser, UserBody, describeUser),
  { operation: api.listRoles, handle: async () => success(ROLES) },
  route(api.describeRole, RoleBody, describeRole),
  { operation: api.listPrivilegeGroups, handle: async () => success({ privilegeGroups: [] }) },
  ...CHANGES.map((operation): Route => ({ operation, handle: () => Promise.reject(unimplemented(operation)) })),
];

async function describeUser(_proxy: unknown, { userName }: z.infer<typeof UserBody>) {
  const roles = Object.hasOwn(USERS, userName) ? USERS[userName] : undefined;
  if (roles === undefined) throw new VdbError("invalid_parameter", `user not found[user=${userName}]`);
  return success(roles);
}

async function describeRole(_proxy: unknown, { roleName }: z.infer<typeof RoleBody>) {
  if (!ROLES.includes(roleName)) throw new VdbError("invalid_parameter", `role not found[role=${roleName}]`);
  return success([]);
}

function unimplemented({ subject }: api.PublicOperation): VdbError {
  const path = subject.slice("v2.".length).replaceAll(".", "/");
  return new VdbError(
    "unimplemented",
    `${path}: access control is not supported yet; protect the NATS server and the HTTP port instead`,
  );
}
