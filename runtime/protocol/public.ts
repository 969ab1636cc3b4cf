/**
 * The public API: Milvus RESTful v2. One table for both transports: `POST /v2/vectordb/entities/search` and a request to
 * `<prefix>.v2.entities.search` are the same operation with the same bodies, in JSON or MessagePack.
 *
 * Here a request is anything and a reply any object: each route (actors/proxy/routes) checks its body itself, so that
 * what is wrong gets Milvus's code instead of the bus's.
 */
import { z } from "zod";
import { ERRORS, type ErrorDetails, type ErrorKind, VdbError } from "../errors.ts";
import { type Operation, operation } from "./operation.ts";

/** `{ code: 0, data, cost?, topks? }`, or `{ code, message, details? }`. */
export type PublicReply = Record<string, unknown>;

const request = z.unknown();
const reply: z.ZodType<PublicReply> = z.record(z.string(), z.unknown());

const READ_TIMEOUT_MS = 30_000;
const WRITE_TIMEOUT_MS = 30_000;
/** A flush writes every shard's growing segment to objects before it answers. */
const FLUSH_TIMEOUT_MS = 120_000;

const read = { request, reply, timeoutMs: READ_TIMEOUT_MS, idempotent: true, isPublic: true } as const;
/** Whoever sends a write again with the same `requestId` has it applied once. */
const write = { request, reply, timeoutMs: WRITE_TIMEOUT_MS, idempotent: true, isPublic: true } as const;

export const listCollections = operation("v2.collections.list", read);
export const hasCollection = operation("v2.collections.has", read);
export const describeCollection = operation("v2.collections.describe", read);
export const getCollectionStats = operation("v2.collections.get_stats", read);
export const getLoadState = operation("v2.collections.get_load_state", read);
export const createCollection = operation("v2.collections.create", write);
export const dropCollection = operation("v2.collections.drop", write);
export const loadCollection = operation("v2.collections.load", write);
export const releaseCollection = operation("v2.collections.release", write);
export const flushCollection = operation("v2.collections.flush", { ...write, timeoutMs: FLUSH_TIMEOUT_MS });

/** Loads what is loaded again, with what was brought in from files meanwhile. */
export const refreshLoad = operation("v2.collections.refresh_load", write);
export const renameCollection = operation("v2.collections.rename", write);
export const truncateCollection = operation("v2.collections.truncate", write);
export const alterCollectionProperties = operation("v2.collections.alter_properties", write);
export const dropCollectionProperties = operation("v2.collections.drop_properties", write);
export const addFunction = operation("v2.collections.add_function", write);
export const alterFunction = operation("v2.collections.alter_function", write);
export const dropFunction = operation("v2.collections.drop_function", write);

export const createDatabase = operation("v2.databases.create", write);
export const dropDatabase = operation("v2.databases.drop", write);
export const listDatabases = operation("v2.databases.list", read);
export const describeDatabase = operation("v2.databases.describe", read);
/** The older name of `alter_properties`. */
export const alterDatabase = operation("v2.databases.alter", write);
export const alterDatabaseProperties = operation("v2.databases.alter_properties", write);
export const dropDatabaseProperties = operation("v2.databases.drop_properties", write);

export const listAliases = operation("v2.aliases.list", read);
export const describeAlias = operation("v2.aliases.describe", read);
export const createAlias = operation("v2.aliases.create", write);
export const alterAlias = operation("v2.aliases.alter", write);
export const dropAlias = operation("v2.aliases.drop", write);

export const addField = operation("v2.collections.fields.add", write);
/** Beside Milvus 2.6's: fields go, and get other names. */
export const dropField = operation("v2.collections.fields.drop", write);
export const renameField = operation("v2.collections.fields.rename", write);
export const alterField = operation("v2.collections.fields.alter_properties", write);

export const compactCollection = operation("v2.collections.compact", write);
export const getCompactionState = operation("v2.collections.get_compaction_state", read);

export const listIndexes = operation("v2.indexes.list", read);
export const describeIndex = operation("v2.indexes.describe", read);
export const createIndex = operation("v2.indexes.create", write);
export const dropIndex = operation("v2.indexes.drop", write);
export const alterIndexProperties = operation("v2.indexes.alter_properties", write);
export const dropIndexProperties = operation("v2.indexes.drop_properties", write);

export const createImportJob = operation("v2.jobs.import.create", write);
export const listImportJobs = operation("v2.jobs.import.list", read);
export const describeImportJob = operation("v2.jobs.import.describe", read);
/** The older name. */
export const getImportProgress = operation("v2.jobs.import.get_progress", read);

export const listPartitions = operation("v2.partitions.list", read);
export const hasPartition = operation("v2.partitions.has", read);
export const getPartitionStats = operation("v2.partitions.get_stats", read);
export const createPartition = operation("v2.partitions.create", write);
export const dropPartition = operation("v2.partitions.drop", write);
export const loadPartitions = operation("v2.partitions.load", write);
export const releasePartitions = operation("v2.partitions.release", write);

export const listResourceGroups = operation("v2.resource_groups.list", read);
export const describeResourceGroup = operation("v2.resource_groups.describe", read);
export const createResourceGroup = operation("v2.resource_groups.create", write);
export const alterResourceGroups = operation("v2.resource_groups.alter", write);
export const dropResourceGroup = operation("v2.resource_groups.drop", write);
export const transferNode = operation("v2.resource_groups.transfer_node", write);
export const transferReplica = operation("v2.resource_groups.transfer_replica", write);

export const describeSegments = operation("v2.segments.describe", read);
export const describeQuotas = operation("v2.quotacenter.describe", read);

/** Access control: nobody is asked who they are, so there is nothing to change (routes/access-control.ts). */
export const listUsers = operation("v2.users.list", read);
export const describeUser = operation("v2.users.describe", read);
export const createUser = operation("v2.users.create", write);
export const updatePassword = operation("v2.users.update_password", write);
export const dropUser = operation("v2.users.drop", write);
export const grantRole = operation("v2.users.grant_role", write);
export const revokeRole = operation("v2.users.revoke_role", write);
export const listRoles = operation("v2.roles.list", read);
export const describeRole = operation("v2.roles.describe", read);
export const createRole = operation("v2.roles.create", write);
export const dropRole = operation("v2.roles.drop", write);
export const grantPrivilege = operation("v2.roles.grant_privilege", write);
export const revokePrivilege = operation("v2.roles.revoke_privilege", write);
export const grantPrivilegeV2 = operation("v2.roles.grant_privilege_v2", write);
export const revokePrivilegeV2 = operation("v2.roles.revoke_privilege_v2", write);
export const listPrivilegeGroups = operation("v2.privilege_groups.list", read);
export const createPrivilegeGroup = operation("v2.privilege_groups.create", write);
export const dropPrivilegeGroup = operation("v2.privilege_groups.drop", write);
export const addPrivileges = operation("v2.privilege_groups.add_privileges_to_group", write);
export const removePrivileges = operation("v2.privilege_groups.remove_privileges_from_group", write);

export const insertEntities = operation("v2.entities.insert", write);
export const upsertEntities = operation("v2.entities.upsert", write);
/** Beside Milvus's: ids for rows that are to be inserted repeatably, although the database makes their ids. */
export const reserveIds = operation("v2.entities.reserve_ids", write);
export const deleteEntities = operation("v2.entities.delete", write);
export const queryEntities = operation("v2.entities.query", read);
export const getEntities = operation("v2.entities.get", read);
export const searchEntities = operation("v2.entities.search", read);
export const hybridSearchEntities = operation("v2.entities.hybrid_search", read);
/** The same under another name. */
export const advancedSearchEntities = operation("v2.entities.advanced_search", read);

/** The tokens of texts. */
export const runAnalyzer = operation("v2.common.run_analyzer", read);

export type PublicOperation = Operation<`v2.${string}`, unknown, PublicReply>;

/** `v2.entities.search` is served at `/v2/vectordb/entities/search`. */
export function httpPath(operation: PublicOperation): string {
  return `/v2/vectordb/${operation.subject.slice("v2.".length).replaceAll(".", "/")}`;
}

/** Whether it takes longer than others by nature, so that the usual time limit of a request is not its own. */
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
