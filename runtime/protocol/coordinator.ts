/** Operations of the active coordinator: the only one that changes the catalogue. Stand-bys serve none of them. */
import { z } from "zod";
import { CollectionDoc, FieldSchemaSpec, IndexSpecRequest, SegmentDoc } from "./catalog.ts";
import { operation } from "./operation.ts";
import { CollectionId, NodeId, Pchannel, Revision, Timestamp } from "./values.ts";

/** Numbers come from memory. An answer that is late by so much is that of a leader which is frozen or gone: writes wait for it. */
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

/** Asked by a channel's owner whose life under the term has ended: a term is used once. Answers when the owner has a new one, or lost the channel. */
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
    autoId: z.boolean(),
    enableDynamicField: z.boolean(),
    shardCount: z.int().min(1).max(16),
    consistencyLevel: z.enum(["Strong", "Session", "Bounded", "Eventually"]),
    properties: z.record(z.string(), z.string()),
  }),
  reply: z.object({ collectionId: CollectionId, revision: Revision }),
  timeoutMs: 10_000,
  idempotent: true,
});

export const dropCollection = operation("coordinator.collection-drop", {
  request: z.object({ collectionId: CollectionId }),
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

export const dropIndex = operation("coordinator.index-drop", {
  request: z.object({ collectionId: CollectionId, indexName: z.string() }),
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
  }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const releaseCollection = operation("coordinator.collection-release", {
  request: z.object({ collectionId: CollectionId }),
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
    /** The greatest key of a collection that makes its own: the next ones must be greater. */
    autoIdMax: z.int().max(AUTO_ID_MAX).optional(),
    pin: z.object({ slot: z.int(), id: z.string() }),
  }),
  reply: Changed,
  timeoutMs: 30_000,
  idempotent: true,
});
export type RestoreCollection = z.infer<typeof restoreCollection.request>;

/** Where the objects of a restored shard are. No owner of a channel has term 0: whose name has it and is in no manifest is garbage. */
export function restoredFolder(collectionId: number, shard: number): string {
  return `segment/${collectionId}v${shard}/0/`;
}

/** How far a loading collection is: of its sealed segments, those that some query node can serve. */
export const loadProgress = operation("coordinator.collection-load-progress", {
  request: z.object({ collectionId: CollectionId }),
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

/** Asks for everything of the collection that is in objects now to be merged, and for its deletes to be applied. */
export const compactCollection = operation("coordinator.compact", {
  request: z.object({ collectionId: CollectionId }),
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
  }),
  timeoutMs: 5_000,
  idempotent: true,
});
