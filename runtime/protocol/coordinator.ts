/** Operations of the active coordinator: the only one that changes the catalogue. Stand-bys serve none of them. */
import { z } from "zod";
import { FieldSchemaSpec, IndexSpecRequest } from "./catalog.ts";
import { operation } from "./operation.ts";
import { CollectionId, NodeId, Pchannel, Revision, Timestamp } from "./values.ts";

/** A change of the catalogue answers with the revision that a node's meta cache must reach to see it. */
const Changed = z.object({ revision: Revision });

export const allocateTimestamps = operation("coordinator.timestamps", {
  request: z.object({ count: z.int().min(1).max(1_000_000) }),
  reply: z.object({ first: Timestamp }),
  timeoutMs: 3_000,
  idempotent: true,
});

export const allocateIds = operation("coordinator.ids", {
  request: z.object({ count: z.int().min(1).max(10_000_000) }),
  reply: z.object({ first: z.int() }),
  timeoutMs: 3_000,
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
  request: z.object({ collectionId: CollectionId, replicaNumber: z.int().min(1) }),
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
