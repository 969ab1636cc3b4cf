/** Operations of the active coordinator: the only one that changes the catalogue. Stand-bys serve none of them. */
import { z } from "zod";
import { CollectionDoc, FieldSchemaSpec, ImportOptions, IndexSpecRequest, SegmentDoc } from "./catalog.ts";
import { operation } from "./operation.ts";
import {
  Called,
  CollectionId,
  FieldId,
  NodeId,
  PartitionId,
  Pchannel,
  Revision,
  Timestamp,
  Vchannel,
} from "./values.ts";
import { taking } from "./versions.ts";

/** Numbers come from memory, and writes wait for them: when the answer takes this long, the leader is frozen or gone. */
const NUMBERS_TIMEOUT_MS = 1_000;

/** A change of the catalogue answers with the revision that a node's meta cache must reach to see it. */
const Changed = z.object({ revision: Revision });

export const allocateTimestamps = operation("coordinator.timestamps", {
  request: z.object({ count: z.int().min(1).max(1_000_000) }),
  reply: z.object({ first: Timestamp }),
  timeoutMs: NUMBERS_TIMEOUT_MS,
  idempotent: true,
});

export const allocateIds = operation("coordinator.ids", {
  request: z.object({ count: z.int().min(1).max(10_000_000) }),
  reply: z.object({ first: z.int() }),
  timeoutMs: NUMBERS_TIMEOUT_MS,
  idempotent: true,
});

/** Sent by a channel's owner whose life under the term has ended, since a term is used once. Answers when the owner has a new term, or has lost the channel. */
export const renewChannelTerm = operation("coordinator.channel-renew", {
  request: z.object({ pchannel: Pchannel, nodeId: NodeId, term: z.int() }),
  reply: Changed,
  timeoutMs: 5_000,
  idempotent: true,
});

export const createCollection = operation("coordinator.collection-create", {
  request: z.object({
    database: z.string(),
    name: z.string(),
    description: z.string(),
    fields: z.array(FieldSchemaSpec),
    /** By the names of their fields. Absent: none. */
    functions: z
      .array(
        z.object({
          name: z.string(),
          type: z.literal("BM25"),
          description: z.string(),
          inputFieldNames: z.array(z.string()),
          outputFieldNames: z.array(z.string()),
          params: z.record(z.string(), z.string()),
        }),
      )
      .optional(),
    autoId: z.boolean(),
    enableDynamicField: z.boolean(),
    shardCount: z.int().min(1).max(16),
    /** With a partition key: the number of partitions over which rows are spread. Absent: only `_default`. */
    partitionCount: z.int().min(1).max(1024).optional(),
    consistencyLevel: z.enum(["Strong", "Session", "Bounded", "Eventually"]),
    properties: z.record(z.string(), z.string()),
  }),
  reply: z.object({ collectionId: CollectionId, revision: Revision }),
  timeoutMs: 10_000,
  idempotent: true,
});

export const dropCollection = operation("coordinator.collection-drop", {
  request: z.object({ collectionId: CollectionId, called: Called }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/**
 * Renames a collection, perhaps into another database. Its aliases stay behind, so one with aliases cannot leave its
 * database.
 */
export const renameCollection = operation("coordinator.collection-rename", {
  request: z.object({ collectionId: CollectionId, called: Called, database: z.string(), name: z.string() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/**
 * Removes all rows: new, empty shards take the place of those named. Nothing happens when these are gone already, or
 * when the same request, by its id, has truncated the collection before.
 */
export const truncateCollection = operation("coordinator.collection-truncate", {
  request: z.object({
    collectionId: CollectionId,
    called: Called,
    vchannels: z.array(Vchannel),
    requestId: z.string().optional(),
  }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** Properties to set, checked, and keys of those to forget. */
const PropertyChange = { set: z.record(z.string(), z.string()), remove: z.array(z.string()) };

/** `consistency_level` and `collection.description` may be among those to set, although they are fields of the collection, not properties. */
export const alterCollection = operation("coordinator.collection-alter", {
  request: z.object({ collectionId: CollectionId, ...PropertyChange }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** The id comes from `allocateIds`; it tells a repeated request from another one for the same name. */
export const createDatabase = operation("coordinator.database-create", {
  request: z.object({ databaseId: z.int(), name: z.string(), properties: z.record(z.string(), z.string()) }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** Refused while it has collections. databaseId: of the one that is meant; one that has got its name since stays. Absent: whichever has the name. */
export const dropDatabase = operation("coordinator.database-drop", {
  request: z.object({ name: z.string(), databaseId: z.int().optional() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const alterDatabase = operation("coordinator.database-alter", {
  request: z.object({ name: z.string(), ...PropertyChange }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

const Alias = { database: z.string(), alias: z.string() };

export const createAlias = operation("coordinator.alias-create", {
  request: z.object({ ...Alias, collectionId: CollectionId }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** Points an existing alias to another collection: at every instant it stands for one of the two. */
export const alterAlias = operation("coordinator.alias-alter", {
  request: z.object({ ...Alias, collectionId: CollectionId }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** collectionId: what it stands for; once it stands for another collection it is not found. Absent: for whichever. */
export const dropAlias = operation("coordinator.alias-drop", {
  request: z.object({ ...Alias, collectionId: CollectionId.optional() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const createIndex = operation("coordinator.index-create", {
  request: z.object({ collectionId: CollectionId, index: IndexSpecRequest }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** indexId: of the one that is meant; one that has got its name since stays. Absent: whichever has the name. */
export const dropIndex = operation("coordinator.index-drop", {
  request: z.object({ collectionId: CollectionId, indexName: z.string(), indexId: z.int().optional() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const alterIndex = operation("coordinator.index-alter", {
  request: z.object({ collectionId: CollectionId, indexName: z.string(), ...PropertyChange }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const loadCollection = operation("coordinator.collection-load", {
  request: z.object({
    collectionId: CollectionId,
    replicaNumber: z.int().min(1),
    /** One for all replicas, or one for each; none: the default one. */
    resourceGroups: z.array(z.string()),
    /** To be served in addition to those that are; absent: all, including later ones. */
    partitionIds: z.array(PartitionId).optional(),
    /** Absent: all, or those of before. */
    fieldIds: z.array(FieldId).optional(),
  }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const releaseCollection = operation("coordinator.collection-release", {
  request: z.object({ collectionId: CollectionId, called: Called }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** schemaVersion: of the schema that the caller saw. A repeated request finds the field there: nothing to do. */
export const addField = operation("coordinator.field-add", {
  request: z.object({ collectionId: CollectionId, schemaVersion: z.int(), field: FieldSchemaSpec }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const alterField = operation("coordinator.field-alter", {
  request: z.object({
    collectionId: CollectionId,
    fieldId: FieldId,
    change: z.object({
      maxLength: z.int().optional(),
      maxCapacity: z.int().optional(),
      mmapEnabled: z.boolean().optional(),
    }),
  }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** A scalar field without an index. Its column stays in objects until they are merged, and is read no more. */
export const dropField = operation("coordinator.field-drop", {
  request: z.object({ collectionId: CollectionId, called: Called, fieldId: FieldId }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const renameField = operation("coordinator.field-rename", {
  request: z.object({ collectionId: CollectionId, fieldId: FieldId, name: z.string() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** When none is left, the collection is released. */
export const releasePartitions = operation("coordinator.partitions-release", {
  request: z.object({ collectionId: CollectionId, called: Called, partitionIds: z.array(PartitionId) }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** Does nothing when there is a partition of that name already. */
export const createPartition = operation("coordinator.partition-create", {
  request: z.object({ collectionId: CollectionId, name: z.string() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** Removes a partition with its rows, at once. Does nothing when it is gone already. */
export const dropPartition = operation("coordinator.partition-drop", {
  request: z.object({ collectionId: CollectionId, called: Called, partitionId: PartitionId }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** Ids stay exact as numbers, and leave room to hand out more. */
export const AUTO_ID_MAX = 2 ** 52;

/**
 * Enters a collection whose segments are in objects already, below `restoredFolder`, written while the pin was held.
 * Indexes are built as for any other.
 */
export const restoreCollection = operation("coordinator.collection-restore", {
  request: z.object({
    /** From `allocateIds`; so are those of the partitions. */
    collectionId: CollectionId,
    database: z.string(),
    name: z.string(),
    /** Those that another collection has, or that are its name, stay with it. */
    aliases: CollectionDoc.shape.aliases,
    description: z.string(),
    schema: CollectionDoc.shape.schema,
    partitions: CollectionDoc.shape.partitions.min(1),
    indexes: z.array(IndexSpecRequest),
    loaded: CollectionDoc.shape.loaded,
    consistencyLevel: CollectionDoc.shape.consistencyLevel,
    properties: CollectionDoc.shape.properties,
    shards: z
      .array(z.object({ segments: z.array(SegmentDoc) }))
      .min(1)
      .max(16),
    /** No row has a greater timestamp. */
    ts: Timestamp,
    /** For a collection that makes its own keys, the greatest one: the next ones must be greater. */
    autoIdMax: z.int().max(AUTO_ID_MAX).optional(),
    pin: z.object({ slot: z.int(), id: z.string() }),
  }),
  reply: Changed,
  timeoutMs: 30_000,
  idempotent: true,
});
export type RestoreCollection = z.infer<typeof restoreCollection.request>;

/** Where the objects of a restored shard are. No owner of a channel has term 0, so objects here that no manifest names are garbage. */
export function restoredFolder(collectionId: number, shard: number): string {
  return `segment/${collectionId}v${shard}/0/`;
}

/** The progress of loading a collection: how many of its sealed segments some query node can serve. */
export const loadProgress = operation("coordinator.collection-load-progress", {
  request: z.object({
    collectionId: CollectionId,
    /** Absent: those that are to be served. */
    partitionIds: z.array(PartitionId).optional(),
  }),
  reply: z.object({
    loaded: z.int(),
    total: z.int(),
    /** Why it does not get on, in words; empty when it does. */
    problem: z.string(),
  }),
  timeoutMs: 2_000,
  idempotent: true,
});

export const ResourceGroupConfig = z.object({
  requests: z.int(),
  limits: z.int(),
  transferFrom: z.array(z.string()),
  transferTo: z.array(z.string()),
});
export type ResourceGroupConfig = z.infer<typeof ResourceGroupConfig>;

export const createResourceGroup = operation("coordinator.group-create", {
  request: z.object({ name: z.string(), config: ResourceGroupConfig }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const dropResourceGroup = operation("coordinator.group-drop", {
  request: z.object({ name: z.string() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/** All of them or none. */
export const alterResourceGroups = operation("coordinator.group-alter", {
  request: z.object({ groups: z.record(z.string(), ResourceGroupConfig) }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

const Grant = z.object({
  privilege: z.string(),
  objectType: z.enum(["Collection", "Global", "User"]),
  objectName: z.string(),
  database: z.string(),
  grantor: z.string(),
});

/** What access control is and is to be: users with their passwords as stored, roles with their grants, groups. */
export const AccessState = z.object({
  users: z.array(z.object({ name: z.string(), password: z.string(), roles: z.array(z.string()) })),
  roles: z.array(z.object({ name: z.string(), description: z.string(), grants: z.array(Grant) })),
  groups: z.array(z.object({ name: z.string(), privileges: z.array(z.string()) })),
});
export type AccessState = z.infer<typeof AccessState>;

/** A change of users, roles and privileges. The caller checks names; the coordinator checks what exists. */
export const AccessChange = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("create-user"), name: z.string(), password: z.string(), requestId: z.string() }),
  z.object({ kind: z.literal("set-password"), name: z.string(), password: z.string() }),
  z.object({ kind: z.literal("drop-user"), name: z.string() }),
  z.object({ kind: z.enum(["grant-role", "revoke-role"]), name: z.string(), role: z.string() }),
  z.object({ kind: z.literal("create-role"), name: z.string(), description: z.string(), requestId: z.string() }),
  z.object({ kind: z.literal("alter-role"), name: z.string(), description: z.string() }),
  /** With `force`, also when it has privileges. */
  z.object({ kind: z.literal("drop-role"), name: z.string(), force: z.boolean() }),
  z.object({ kind: z.enum(["grant-privilege", "revoke-privilege"]), role: z.string(), grant: Grant }),
  z.object({ kind: z.literal("create-group"), name: z.string(), requestId: z.string() }),
  z.object({ kind: z.literal("drop-group"), name: z.string() }),
  z.object({
    kind: z.enum(["add-privileges", "remove-privileges"]),
    name: z.string(),
    privileges: z.array(z.string()),
  }),
  /** Of names that are taken nothing: all or none. */
  z.object({ kind: z.literal("restore"), state: AccessState }),
]);
export type AccessChange = z.infer<typeof AccessChange>;

export const changeAccess = operation("coordinator.access", {
  request: AccessChange,
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

/**
 * Asks for everything of the collection that is in objects now to be merged, and for its deletes to be applied; or for it
 * to be laid out by the clustering key.
 */
export const compactCollection = operation("coordinator.compact", {
  request: z.object({ collectionId: CollectionId, isClustering: z.boolean().optional() }),
  takes: ({ isClustering }) => taking(isClustering, 2),
  reply: z.object({ compactionId: z.int(), revision: Revision }),
  timeoutMs: 10_000,
  idempotent: true,
});

export const getCompaction = operation("coordinator.compaction", {
  request: z.object({ compactionId: z.int() }),
  reply: z.object({
    isCompleted: z.boolean(),
    /** Steps still to do, and those that are done. */
    remaining: z.int(),
    completed: z.int(),
    /** Those whose result could not be served; and why the last of them. */
    givenUp: z.int().optional(),
    reason: z.string().optional(),
  }),
  timeoutMs: 5_000,
  idempotent: true,
});

/** Of one request, in Milvus. */
export const IMPORT_FILES_MAX = 1024;

/** Begins an import. Asking again for a job that is there is fine. */
export const createImport = operation("coordinator.import-create", {
  request: z.object({
    /** From `allocateIds`. */
    jobId: z.int().min(1),
    collectionId: CollectionId,
    /** The client's; older proxies send none. */
    requestId: z.string().optional(),
    /** Absent: rows go where their partition key says. */
    partitionId: PartitionId.optional(),
    /** `upload://…`, or paths below the data nodes' `data.importDir`. */
    files: z.array(z.string()).min(1).max(IMPORT_FILES_MAX),
    options: ImportOptions,
  }),
  /** Another job than asked for where the request had come before; older coordinators do not say. */
  reply: Changed.extend({ jobId: z.int().optional() }),
  timeoutMs: 10_000,
  idempotent: true,
});
export type CreateImport = z.infer<typeof createImport.request>;

const ImportStateName = z.enum(["Pending", "Importing", "Completed", "Failed"]);

export const ImportState = z.object({
  jobId: z.int(),
  collectionId: CollectionId,
  collectionName: z.string(),
  state: ImportStateName,
  /** 0 to 100. */
  progress: z.int(),
  /** Why it failed, or why query nodes do not load what has been read; empty otherwise. */
  reason: z.string(),
  /** Milliseconds since 1970. */
  createdAtMs: z.number(),
  endedAtMs: z.number().optional(),
  files: z.array(
    z.object({
      name: z.string(),
      bytes: z.number(),
      state: ImportStateName,
      progress: z.int(),
      rows: z.int(),
      reason: z.string(),
      endedAtMs: z.number().optional(),
    }),
  ),
});
export type ImportState = z.infer<typeof ImportState>;

/** The progress of imports: of one, of those of a collection, or of all; newest last. */
export const getImports = operation("coordinator.imports", {
  request: z.object({ jobId: z.int().optional(), collectionId: CollectionId.optional() }),
  reply: z.object({ jobs: z.array(ImportState), revision: Revision }),
  timeoutMs: 5_000,
  idempotent: true,
});
