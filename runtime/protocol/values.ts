/**
 * The shapes that several operations share. Data-plane values are typed arrays by reference inside a process and raw
 * bytes between processes; validation looks at their types and lengths, never at their elements.
 */
import { z } from "zod";
import type { FilterPlan } from "../expr/plan.ts";
import { METRICS } from "../schema.ts";
import type { BytesColumn, Column, ColumnBatch, Int64Column } from "../segment/column.ts";
import { columnRows } from "../segment/gather.ts";

/** Hybrid timestamp: physical milliseconds << 18 | logical. Small ones come off the wire as numbers. */
export const Timestamp = z.union([z.bigint(), z.int().transform(BigInt)]);
export const CollectionId = z.int().min(1);
export const PartitionId = z.int().min(1);
export const FieldId = z.int().min(1);
export const Vchannel = z.string().regex(/^[\w-]+$/);
export const SegmentId = z.string().length(26);
export const NodeId = z.string().regex(/^[\w-]+$/);
export const Pchannel = z.int().min(0).max(1023);
export const LogSequence = z.int().min(0);
export const Revision = z.int().min(0);
export const MetricName = z.enum(METRICS);
export const RequestId = z.string().min(1).max(64);

const COLUMN_ARRAYS: Record<string, (column: Column) => boolean> = {
  bool: (c) => (c as { values: unknown }).values instanceof Uint8Array,
  int8: (c) => (c as { values: unknown }).values instanceof Int8Array,
  int16: (c) => (c as { values: unknown }).values instanceof Int16Array,
  int32: (c) => (c as { values: unknown }).values instanceof Int32Array,
  int64: (c) => (c as { values: unknown }).values instanceof BigInt64Array,
  float: (c) => (c as { values: unknown }).values instanceof Float32Array,
  double: (c) => (c as { values: unknown }).values instanceof Float64Array,
  varchar: (c) => isBytes(c),
  json: (c) => isBytes(c),
  array: (c) => (c as { offsets: unknown }).offsets instanceof Uint32Array && isColumn((c as { items: unknown }).items),
  floatVector: (c) => (c as { values: unknown }).values instanceof Float32Array,
};

function isBytes(column: Column): boolean {
  const { offsets, bytes } = column as BytesColumn;
  return offsets instanceof Uint32Array && bytes instanceof Uint8Array;
}

function isColumn(value: unknown): value is Column {
  if (typeof value !== "object" || value === null) return false;
  const check = COLUMN_ARRAYS[(value as Column).kind];
  return check?.(value as Column) === true;
}

export const Batch = z.custom<ColumnBatch>((value) => {
  const batch = value as Partial<ColumnBatch> | null;
  if (typeof batch?.rowCount !== "number" || typeof batch.columns !== "object") return false;
  return Object.values(batch.columns).every((column) => isColumn(column) && columnRows(column) === batch.rowCount);
}, "not a batch of columns of one length");

export const KeyColumn = z.custom<Int64Column | BytesColumn>(
  (value) => isColumn(value) && (value.kind === "int64" || value.kind === "varchar"),
  "not a primary key column",
);
export type KeyColumn = z.infer<typeof KeyColumn>;

export const Float32 = z.custom<Float32Array>((value) => value instanceof Float32Array, "not a Float32Array");
export const Uint32 = z.custom<Uint32Array>((value) => value instanceof Uint32Array, "not a Uint32Array");
export const Timestamps = z.custom<BigInt64Array>((value) => value instanceof BigInt64Array, "not a BigInt64Array");

/** The plan of a filter, made and checked by the proxy (runtime/expr); opaque to everything but its evaluator. */
export const Filter = z.custom<FilterPlan>((value) => typeof value === "object" && value !== null);

/**
 * How fresh a read must be.
 * strong: sees every write acknowledged before it began. bounded: may miss the last few seconds. session: sees writes
 * up to `ts`. eventually: whatever the shard has.
 */
export const Freshness = z.discriminatedUnion("level", [
  z.object({ level: z.literal("strong") }),
  z.object({ level: z.literal("bounded") }),
  z.object({ level: z.literal("session"), ts: Timestamp }),
  z.object({ level: z.literal("eventually") }),
]);
export type Freshness = z.infer<typeof Freshness>;

/** Where a row is: `segments[segment]`, row number `row`. Stays valid while its segment exists, also when it moves to another node. */
export const RowRefs = z.object({ segments: z.array(SegmentId), segment: Uint32, row: Uint32 });
export type RowRefs = z.infer<typeof RowRefs>;

/** Hits of nq queries, best first within each query, flat; counts[q] hits belong to query q. */
export const SearchHits = z.object({
  counts: Uint32,
  keys: KeyColumn,
  /** As the metric reports it: L2 squared, IP, COSINE. */
  distances: Float32,
  refs: RowRefs,
});
export type SearchHits = z.infer<typeof SearchHits>;

export const VectorSearch = z.object({
  fieldId: FieldId,
  metric: MetricName,
  /** Row-major [nq, dimension]. */
  queries: Float32,
  queryCount: z.int().min(1).max(16_384),
  topK: z.int().min(1).max(16_384),
  ef: z.int().min(1).optional(),
  nprobe: z.int().min(1).optional(),
});
export type VectorSearch = z.infer<typeof VectorSearch>;

/** Rows found by a filter, ascending by primary key, one a key (the newest). */
export const FoundRows = z.object({
  keys: KeyColumn,
  timestamps: Timestamps,
  batch: Batch,
});
export type FoundRows = z.infer<typeof FoundRows>;
