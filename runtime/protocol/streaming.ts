/** Operations of a streaming node: writes of the shards it owns, and reads through their delegators. */
import { z } from "zod";
import { operation } from "./operation.ts";
import {
  Aggregation,
  Batch,
  Called,
  CollectionId,
  FieldId,
  Filter,
  FoundRows,
  Freshness,
  Groups,
  KeyColumn,
  LogSequence,
  PartitionId,
  Pchannel,
  RequestId,
  Revision,
  RowOrder,
  RowRefs,
  SearchHits,
  SegmentId,
  TermStatistics,
  Timestamp,
  Uint32,
  Vchannel,
  VectorSearch,
} from "./values.ts";
import { takenByFilter, takenBySearch, taking } from "./versions.ts";

const Shard = { collectionId: CollectionId, vchannel: Vchannel };
/** schemaVersion: by which a read was planned; an owner that knows a newer one refuses. Absent: by none. */
const Planned = { ...Shard, called: Called, schemaVersion: z.int().optional() };
/** Reads exactly at this timestamp, unless compaction has removed rows of that time. Absent: at the newest. */
const ReadTs = Timestamp.optional();
const Partitions = z.array(PartitionId).nullable();

/** One write request's part for one shard: stored whole or not at all, once for each request id. */
export const appendRows = operation("streaming.{nodeId}.append", {
  request: z.object({
    ...Shard,
    called: Called,
    requestId: RequestId,
    operation: z.enum(["insert", "upsert", "delete"]),
    partitionId: PartitionId,
    schemaVersion: z.int(),
    batch: Batch.optional(),
    keys: KeyColumn.optional(),
    /** Rows have null for a dense vector; where all of them have, the batch lacks the column. */
    hasNullVectors: z.literal(true).optional(),
  }),
  reply: z.object({ ts: Timestamp, seq: LogSequence }),
  takes: ({ hasNullVectors }) => taking(hasNullVectors, 2),
  timeoutMs: 10_000,
  idempotent: true,
});
export type AppendRows = z.infer<typeof appendRows.request>;

export const searchShard = operation("streaming.{nodeId}.search", {
  request: z.object({
    ...Planned,
    freshness: Freshness,
    partitionIds: Partitions,
    search: VectorSearch,
    filter: Filter.nullable(),
    readTs: ReadTs,
    /** Leaves out rows that are in no object yet. */
    ignoreGrowing: z.boolean().optional(),
  }),
  reply: z.object({ hits: SearchHits, readTs: Timestamp }),
  takes: ({ search, filter }) => takenBySearch(search, filter),
  timeoutMs: 10_000,
  idempotent: true,
});
export type SearchShard = z.infer<typeof searchShard.request>;

/** What BM25 has to know of a shard's rows before it is searched: `terms` are those of the queries, ascending. */
export const shardTermStatistics = operation("streaming.{nodeId}.term-statistics", {
  request: z.object({ ...Planned, freshness: Freshness, fieldId: FieldId, terms: Uint32, readTs: ReadTs }),
  reply: TermStatistics,
  timeoutMs: 10_000,
  idempotent: true,
});
export type ShardTermStatistics = z.infer<typeof shardTermStatistics.request>;

export const queryShard = operation("streaming.{nodeId}.query", {
  request: z.object({
    ...Planned,
    freshness: Freshness,
    partitionIds: Partitions,
    filter: Filter.nullable(),
    fieldIds: z.array(FieldId),
    /** Offset included; null: all. */
    limit: z.int().min(1).nullable(),
    countOnly: z.boolean(),
    /** Of the rows, whose fields are then among fieldIds; absent: by primary key. */
    order: RowOrder.optional(),
    /** Instead of rows. */
    aggregation: Aggregation.optional(),
    readTs: ReadTs,
  }),
  takes: ({ filter }) => takenByFilter(filter),
  reply: z.object({
    count: z.int(),
    rows: FoundRows.nullable(),
    isOrdered: z.boolean().optional(),
    groups: Groups.optional(),
    readTs: Timestamp,
  }),
  timeoutMs: 10_000,
  idempotent: true,
});
export type QueryShard = z.infer<typeof queryShard.request>;

/** Columns of rows that a search found. Order as asked. */
export const fetchRows = operation("streaming.{nodeId}.fetch", {
  request: z.object({ ...Shard, refs: RowRefs, fieldIds: z.array(FieldId) }),
  reply: z.object({ batch: Batch }),
  timeoutMs: 10_000,
  idempotent: true,
});

/**
 * Seals what grows and answers when it is in objects. With throughTs: when everything with a timestamp up to it is, for
 * good; no write gets such a timestamp any more.
 */
export const flushShard = operation("streaming.{nodeId}.flush", {
  request: z.object({ ...Shard, throughTs: Timestamp.optional() }),
  reply: z.object({ segmentIds: z.array(SegmentId), ts: Timestamp }),
  timeoutMs: 60_000,
  idempotent: true,
});

export const shardStats = operation("streaming.{nodeId}.stats", {
  request: z.object({
    ...Shard,
    called: Called,
    /** Absent: of all. */
    partitionId: PartitionId.optional(),
    /** Revision of the catalogue: the answer waits until the node has it. */
    revision: Revision.optional(),
  }),
  reply: z.object({ growingRows: z.int(), sealedRows: z.int() }),
  timeoutMs: 5_000,
  idempotent: true,
});

/**
 * Answers when the owner of a channel has this revision of the catalogue, and the log is its own: whoever owned the channel
 * before takes no more writes by what was before. Refused as retriable until then.
 */
export const ownerKnows = operation("streaming.{nodeId}.knows", {
  request: z.object({ pchannel: Pchannel, revision: Revision }),
  reply: z.object({}),
  timeoutMs: 5_000,
  idempotent: true,
});
