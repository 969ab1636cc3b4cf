/**
 * The public API: Milvus RESTful v2. One table for both transports: `POST /v2/vectordb/entities/search` and a request to
 * `<prefix>.v2.entities.search` are the same operation with the same bodies, in JSON or MessagePack.
 *
 * Here a request may be anything and a reply any object: each route (actors/proxy/routes) checks its body itself, so
 * that a wrong one gets Milvus's code instead of the bus's.
 */
import { z } from "zod";
import { ERRORS, type ErrorDetails, type ErrorKind, VdbError } from "../errors.ts";
import { type Operation, operation } from "./operation.ts";
import type { NeededPrivilege, PrivilegeName } from "./privileges.ts";

/** `{ code: 0, data, cost?, topks? }`, or `{ code, message, details? }`. */
export type PublicReply = Record<string, unknown>;

const request = z.unknown();
const reply: z.ZodType<PublicReply> = z.record(z.string(), z.unknown());

const READ_TIMEOUT_MS = 30_000;
const WRITE_TIMEOUT_MS = 30_000;
/** A flush writes every shard's growing segment to objects before it answers. */
const FLUSH_TIMEOUT_MS = 120_000;

const common = { request, reply, idempotent: true, isPublic: true } as const;

type Needs = [name: PrivilegeName, scope: NeededPrivilege["scope"]] | ["authenticated"];

/** What a caller needs when authorization is on: a privilege on what the request names, or only to be a known user. */
const reads = (...needs: Needs) => ({ ...common, timeoutMs: READ_TIMEOUT_MS, privilege: needed(needs) });

/** Whoever sends a write again with the same `requestId` has it applied once. */
const writes = (...needs: Needs) => ({ ...common, timeoutMs: WRITE_TIMEOUT_MS, privilege: needed(needs) });

function needed([name, scope]: Needs): NeededPrivilege | "authenticated" {
  return name === "authenticated" || scope === undefined ? "authenticated" : { name, scope };
}

export const listCollections = operation("v2.collections.list", reads("authenticated"));
export const hasCollection = operation("v2.collections.has", reads("DescribeCollection", "collection"));
export const describeCollection = operation("v2.collections.describe", reads("DescribeCollection", "collection"));
export const getCollectionStats = operation("v2.collections.get_stats", reads("GetStatistics", "collection"));
export const getLoadState = operation("v2.collections.get_load_state", reads("GetLoadState", "collection"));
export const createCollection = operation("v2.collections.create", writes("CreateCollection", "collection"));
export const dropCollection = operation("v2.collections.drop", writes("DropCollection", "collection"));
export const loadCollection = operation("v2.collections.load", writes("Load", "collection"));
export const releaseCollection = operation("v2.collections.release", writes("Release", "collection"));
export const flushCollection = operation("v2.collections.flush", {
  ...writes("Flush", "collection"),
  timeoutMs: FLUSH_TIMEOUT_MS,
});

/** Reloads a loaded collection, with what was imported meanwhile. */
export const refreshLoad = operation("v2.collections.refresh_load", writes("Load", "collection"));
export const renameCollection = operation("v2.collections.rename", writes("RenameCollection", "database"));
export const truncateCollection = operation("v2.collections.truncate", writes("DropCollection", "collection"));
export const alterCollectionProperties = operation(
  "v2.collections.alter_properties",
  writes("CreateCollection", "collection"),
);
export const dropCollectionProperties = operation(
  "v2.collections.drop_properties",
  writes("CreateCollection", "collection"),
);
export const addFunction = operation("v2.collections.add_function", writes("CreateCollection", "collection"));
export const alterFunction = operation("v2.collections.alter_function", writes("CreateCollection", "collection"));
export const dropFunction = operation("v2.collections.drop_function", writes("CreateCollection", "collection"));

export const createDatabase = operation("v2.databases.create", writes("CreateDatabase", "cluster"));
export const dropDatabase = operation("v2.databases.drop", writes("DropDatabase", "cluster"));
export const listDatabases = operation("v2.databases.list", reads("authenticated"));
export const describeDatabase = operation("v2.databases.describe", reads("DescribeDatabase", "database"));
/** The older name of `alter_properties`. */
export const alterDatabase = operation("v2.databases.alter", writes("AlterDatabase", "database"));
export const alterDatabaseProperties = operation("v2.databases.alter_properties", writes("AlterDatabase", "database"));
export const dropDatabaseProperties = operation("v2.databases.drop_properties", writes("AlterDatabase", "database"));

export const listAliases = operation("v2.aliases.list", reads("ListAliases", "collection"));
export const describeAlias = operation("v2.aliases.describe", reads("DescribeAlias", "alias"));
export const createAlias = operation("v2.aliases.create", writes("CreateAlias", "alias"));
export const alterAlias = operation("v2.aliases.alter", writes("CreateAlias", "alias"));
export const dropAlias = operation("v2.aliases.drop", writes("DropAlias", "alias"));

export const addField = operation("v2.collections.fields.add", writes("AddCollectionField", "collection"));
/** Beyond Milvus 2.6: fields can be dropped and renamed. */
export const dropField = operation("v2.collections.fields.drop", writes("CreateCollection", "collection"));
export const renameField = operation("v2.collections.fields.rename", writes("CreateCollection", "collection"));
export const alterField = operation("v2.collections.fields.alter_properties", writes("CreateCollection", "collection"));

export const compactCollection = operation("v2.collections.compact", writes("Compaction", "collection"));
export const getCompactionState = operation("v2.collections.get_compaction_state", reads("authenticated"));

export const listIndexes = operation("v2.indexes.list", reads("IndexDetail", "collection"));
export const describeIndex = operation("v2.indexes.describe", reads("IndexDetail", "collection"));
export const createIndex = operation("v2.indexes.create", writes("CreateIndex", "collection"));
export const dropIndex = operation("v2.indexes.drop", writes("DropIndex", "collection"));
export const alterIndexProperties = operation("v2.indexes.alter_properties", writes("CreateIndex", "collection"));
export const dropIndexProperties = operation("v2.indexes.drop_properties", writes("CreateIndex", "collection"));

export const createImportJob = operation("v2.jobs.import.create", writes("Import", "collection"));
export const listImportJobs = operation("v2.jobs.import.list", reads("ListImport", "collection"));
export const describeImportJob = operation("v2.jobs.import.describe", reads("GetImportProgress", "import"));
/** The older name. */
export const getImportProgress = operation("v2.jobs.import.get_progress", reads("GetImportProgress", "import"));

export const listPartitions = operation("v2.partitions.list", reads("ShowPartitions", "collection"));
export const hasPartition = operation("v2.partitions.has", reads("HasPartition", "collection"));
export const getPartitionStats = operation("v2.partitions.get_stats", reads("GetStatistics", "collection"));
export const createPartition = operation("v2.partitions.create", writes("CreatePartition", "collection"));
export const dropPartition = operation("v2.partitions.drop", writes("DropPartition", "collection"));
export const loadPartitions = operation("v2.partitions.load", writes("Load", "collection"));
export const releasePartitions = operation("v2.partitions.release", writes("Release", "collection"));

export const listResourceGroups = operation("v2.resource_groups.list", reads("ListResourceGroups", "cluster"));
export const describeResourceGroup = operation(
  "v2.resource_groups.describe",
  reads("DescribeResourceGroup", "cluster"),
);
export const createResourceGroup = operation("v2.resource_groups.create", writes("CreateResourceGroup", "cluster"));
export const alterResourceGroups = operation("v2.resource_groups.alter", writes("UpdateResourceGroups", "cluster"));
export const dropResourceGroup = operation("v2.resource_groups.drop", writes("DropResourceGroup", "cluster"));
export const transferNode = operation("v2.resource_groups.transfer_node", writes("TransferNode", "cluster"));
export const transferReplica = operation("v2.resource_groups.transfer_replica", writes("TransferReplica", "cluster"));

export const describeSegments = operation("v2.segments.describe", reads("GetStatistics", "segments"));
export const describeQuotas = operation("v2.quotacenter.describe", reads("ListDatabases", "cluster"));

/** Access control. Tells the caller's name and roles, so it can also be used to check a password. */
export const currentUser = operation("v2.users.current", reads("authenticated"));
export const listUsers = operation("v2.users.list", reads("SelectOwnership", "cluster"));
export const describeUser = operation("v2.users.describe", reads("SelectUser", "user"));
export const createUser = operation("v2.users.create", writes("CreateOwnership", "cluster"));
export const updatePassword = operation("v2.users.update_password", writes("UpdateUser", "user"));
export const dropUser = operation("v2.users.drop", writes("DropOwnership", "cluster"));
export const grantRole = operation("v2.users.grant_role", writes("ManageOwnership", "cluster"));
export const revokeRole = operation("v2.users.revoke_role", writes("ManageOwnership", "cluster"));
export const listRoles = operation("v2.roles.list", reads("SelectOwnership", "cluster"));
export const describeRole = operation("v2.roles.describe", reads("SelectOwnership", "role"));
export const createRole = operation("v2.roles.create", writes("CreateOwnership", "cluster"));
export const dropRole = operation("v2.roles.drop", writes("DropOwnership", "cluster"));
export const grantPrivilege = operation("v2.roles.grant_privilege", writes("ManageOwnership", "cluster"));
export const revokePrivilege = operation("v2.roles.revoke_privilege", writes("ManageOwnership", "cluster"));
export const grantPrivilegeV2 = operation("v2.roles.grant_privilege_v2", writes("ManageOwnership", "cluster"));
export const revokePrivilegeV2 = operation("v2.roles.revoke_privilege_v2", writes("ManageOwnership", "cluster"));
/** Beyond Milvus's REST API, for its gRPC API: users with their roles, roles with their users, a backup of all of it. */
export const selectUsers = operation("v2.users.select", reads("SelectUser", "user"));
export const selectRoles = operation("v2.roles.select", reads("SelectOwnership", "role"));
export const alterRole = operation("v2.roles.alter", writes("CreateOwnership", "cluster"));
export const backupRbac = operation("v2.rbac.backup", reads("BackupRBAC", "cluster"));
export const restoreRbac = operation("v2.rbac.restore", writes("RestoreRBAC", "cluster"));
export const listPrivilegeGroups = operation("v2.privilege_groups.list", reads("ListPrivilegeGroups", "cluster"));
export const createPrivilegeGroup = operation("v2.privilege_groups.create", writes("CreatePrivilegeGroup", "cluster"));
export const dropPrivilegeGroup = operation("v2.privilege_groups.drop", writes("DropPrivilegeGroup", "cluster"));
export const addPrivileges = operation(
  "v2.privilege_groups.add_privileges_to_group",
  writes("OperatePrivilegeGroup", "cluster"),
);
export const removePrivileges = operation(
  "v2.privilege_groups.remove_privileges_from_group",
  writes("OperatePrivilegeGroup", "cluster"),
);

export const insertEntities = operation("v2.entities.insert", writes("Insert", "collection"));
export const upsertEntities = operation("v2.entities.upsert", writes("Upsert", "collection"));
/** Beyond Milvus: ids for rows whose insert must be repeatable, although the database makes their ids. */
export const reserveIds = operation("v2.entities.reserve_ids", writes("Insert", "cluster"));
export const deleteEntities = operation("v2.entities.delete", writes("Delete", "collection"));
export const queryEntities = operation("v2.entities.query", reads("Query", "collection"));
export const getEntities = operation("v2.entities.get", reads("Query", "collection"));
export const searchEntities = operation("v2.entities.search", reads("Search", "collection"));
export const hybridSearchEntities = operation("v2.entities.hybrid_search", reads("Search", "collection"));
/** The same under another name. */
export const advancedSearchEntities = operation("v2.entities.advanced_search", reads("Search", "collection"));

/** The tokens of texts. */
export const runAnalyzer = operation("v2.common.run_analyzer", reads("authenticated"));

export type PublicOperation = Operation<`v2.${string}`, unknown, PublicReply>;

/** `v2.entities.search` is served at `/v2/vectordb/entities/search`. */
export function httpPath(operation: PublicOperation): string {
  return `/v2/vectordb/${operation.subject.slice("v2.".length).replaceAll(".", "/")}`;
}

/** Whether the operation is slow by nature, so that the usual time limit of a request is too short for it. */
export function isSlow(operation: PublicOperation): boolean {
  return operation.timeoutMs > Math.max(READ_TIMEOUT_MS, WRITE_TIMEOUT_MS);
}

/** An error as the body of a reply. */
export function errorBody(error: VdbError): PublicReply {
  const body: PublicReply = { code: error.code, message: error.message };
  if (error.details !== undefined) body.details = error.details;
  return body;
}

const KIND_OF_CODE = new Map<number, ErrorKind>(
  Object.entries(ERRORS).map(([kind, { code }]) => [code, kind as ErrorKind]),
);

/** The error that a reply's body carries, null when it carries none. A code of a newer server becomes `internal`. */
export function errorOfBody(body: PublicReply): VdbError | null {
  const { code, message, details } = body;
  if (code === 0) return null;
  const kind = KIND_OF_CODE.get(Number(code)) ?? "internal";
  return new VdbError(
    kind,
    String(message),
    typeof details === "object" && details !== null ? { details: details as ErrorDetails } : {},
  );
}
