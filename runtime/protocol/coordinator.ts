/** Operations of the active coordinator: the only one that changes the catalogue. Stand-bys serve none of them. */
import { z } from "zod";
import { FieldSchemaSpec, IndexSpecRequest } from "./catalog.ts";
import { operation } from "./operation.ts";
import { CollectionId, NodeId, Pchannel, Revision, Timestamp } from "./values.ts";

/** A change of the catalogue answers with the revision that a node's meta cache must reach to see it. */
const Changed = z.strictObject({ revision: Revision });

export const allocateTimestamps = operation("coordinator.timestamps", {
  request: z.strictObject({ count: z.int().min(1).max(1_000_000) }),
  reply: z.strictObject({ first: Timestamp }),
  timeoutMs: 3_000,
  idempotent: true,
});

export const allocateIds = operation("coordinator.ids", {
  request: z.strictObject({ count: z.int().min(1).max(10_000_000) }),
  reply: z.strictObject({ first: z.int() }),
  timeoutMs: 3_000,
  idempotent: true,
});

/** Asked by a channel's owner whose life under the term has ended: a term is used once. Answers when the owner has a new one, or lost the channel. */
export const renewChannelTerm = operation("coordinator.channel-renew", {
  request: z.strictObject({ pchannel: Pchannel, nodeId: NodeId, term: z.int() }),
  reply: Changed,
  timeoutMs: 5_000,
  idempotent: true,
});

export const createCollection = operation("coordinator.collection-create", {
  request: z.strictObject({
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
  reply: z.strictObject({ collectionId: CollectionId, revision: Revision }),
  timeoutMs: 10_000,
  idempotent: true,
});

export const dropCollection = operation("coordinator.collection-drop", {
  request: z.strictObject({ collectionId: CollectionId }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const createIndex = operation("coordinator.index-create", {
  request: z.strictObject({ collectionId: CollectionId, index: IndexSpecRequest }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const dropIndex = operation("coordinator.index-drop", {
  request: z.strictObject({ collectionId: CollectionId, indexName: z.string() }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const loadCollection = operation("coordinator.collection-load", {
  request: z.strictObject({ collectionId: CollectionId, replicaNumber: z.int().min(1) }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});

export const releaseCollection = operation("coordinator.collection-release", {
  request: z.strictObject({ collectionId: CollectionId }),
  reply: Changed,
  timeoutMs: 10_000,
  idempotent: true,
});
