/** Operations of a query node: sealed segments, loaded for the coordinator, read for delegators. */
import { z } from "zod";
import { operation } from "./operation.ts";
import {
  Aggregation,
  Batch,
  CollectionId,
  FieldId,
  Filter,
  FoundRows,
  Groups,
  LogSequence,
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
import { takenByFilter, takenBySearch } from "./versions.ts";

/** More than a shard's manifest can hold: one node may have all of them. */
const SEGMENTS_MAX = 16_384;

const Sealed = {
  collectionId: CollectionId,
  vchannel: Vchannel,
  segmentIds: z.array(SegmentId).min(1).max(SEGMENTS_MAX),
};

/** The version of the schema that the caller knows: rows from before a field was added get its default. */
const Schema = { schemaVersion: z.int().optional() };

/**
 * What the read must see: rows and deletes up to readTs; the deletes in the log up to mutSeq are applied first. Rows
 * from before expiredTs have expired; absent: rows live for ever.
 */
const Snapshot = { readTs: Timestamp, mutSeq: LogSequence, expiredTs: Timestamp.optional(), ...Schema };

export const searchSegments = operation("query.{nodeId}.search", {
  request: z.object({ ...Sealed, ...Snapshot, search: VectorSearch, filter: Filter.nullable() }),
  reply: z.object({ hits: SearchHits }),
  takes: ({ search, filter }) => takenBySearch(search, filter),
  timeoutMs: 10_000,
  idempotent: true,
});
export type SearchSegments = z.infer<typeof searchSegments.request>;

/** What BM25 has to know of the rows that the read sees. */
export const segmentTermStatistics = operation("query.{nodeId}.term-statistics", {
  request: z.object({ ...Sealed, ...Snapshot, fieldId: FieldId, terms: Uint32 }),
  reply: TermStatistics,
  timeoutMs: 10_000,
  idempotent: true,
});
export type SegmentTermStatistics = z.infer<typeof segmentTermStatistics.request>;

export const querySegments = operation("query.{nodeId}.query", {
  request: z.object({
    ...Sealed,
    ...Snapshot,
    filter: Filter.nullable(),
    fieldIds: z.array(FieldId),
    limit: z.int().min(1).nullable(),
    countOnly: z.boolean(),
    order: RowOrder.optional(),
    aggregation: Aggregation.optional(),
  }),
  takes: ({ filter }) => takenByFilter(filter),
  reply: z.object({
    count: z.int(),
    rows: FoundRows.nullable(),
    isOrdered: z.boolean().optional(),
    groups: Groups.optional(),
  }),
  timeoutMs: 10_000,
  idempotent: true,
});
export type QuerySegments = z.infer<typeof querySegments.request>;

export const fetchSegmentRows = operation("query.{nodeId}.fetch", {
  request: z.object({ collectionId: CollectionId, refs: RowRefs, fieldIds: z.array(FieldId), ...Schema }),
  reply: z.object({ batch: Batch }),
  timeoutMs: 10_000,
  idempotent: true,
});

/** Loads what the manifest (as of `revision`) says of the segments, newer indexes included; answers when they can be searched. */
export const loadSegments = operation("query.{nodeId}.load", {
  request: z.object({ ...Sealed, revision: z.int() }),
  reply: z.object({}),
  timeoutMs: 120_000,
  idempotent: true,
});

export const releaseSegments = operation("query.{nodeId}.release", {
  request: z.object({ segmentIds: z.array(SegmentId) }),
  reply: z.object({}),
  timeoutMs: 10_000,
  idempotent: true,
});
