/**
 * The shapes that several operations share. Data-plane values are typed arrays by reference inside a process and raw
 * bytes between processes; validation looks at their types and lengths, never at their elements.
 */
import { z } from "zod";
import type { FilterPlan } from "../expr/plan.ts";
import { METRICS, VECTOR_TYPES } from "../schema.ts";
import type { BytesColumn, Column, ColumnBatch, Int64Column } from "../segment/column.ts";
import { columnRows } from "../segment/gather.ts";

/** Hybrid timestamp: physical milliseconds << 18 | logical. Small ones come off the wire as numbers. */
export const Timestamp = z.union([z.bigint(), z.int().transform(BigInt)]);
export const CollectionId = z.int().min(1);
/** What the asker calls a collection: who knows another name for it refuses. Absent: whatever it is called. */
export const Called = z.object({ database: z.string(), name: z.string() }).optional();
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
  float16Vector: isPacked,
  bfloat16Vector: isPacked,
  int8Vector: isPacked,
  binaryVector: isPacked,
  sparseVector: isBytes,
};

function isPacked(column: Column): boolean {
  return (column as { values: unknown }).values instanceof Uint8Array;
}

function isBytes(column: Column): boolean {
  const { offsets, bytes } = column as BytesColumn;
  return offsets instanceof Uint32Array && bytes instanceof Uint8Array;
}

/** Whether a value has the arrays of a column; what is in them is not looked at. */
export function isColumn(value: unknown): value is Column {
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
export const Float64 = z.custom<Float64Array>((value) => value instanceof Float64Array, "not a Float64Array");
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
  /** In a grouping search: what each hit's row is grouped by, as JSON text (runtime/expr/group-values.ts). */
  groups: KeyColumn.optional(),
});
export type SearchHits = z.infer<typeof SearchHits>;

/** A search for the best rows of each of the best groups: rows with one value of a field, or of a path in a JSON field. */
export const GroupBy = z.object({
  fieldId: FieldId,
  /** Inside a JSON field. */
  path: z.array(z.union([z.string(), z.int()])).optional(),
  /** The type to which a JSON value is converted, to null where that fails; absent: as it is. */
  jsonType: z.enum(["Bool", "Int64", "Double", "VarChar"]).optional(),
  /** Whether a JSON value must have the type already, instead of being converted. */
  isStrictCast: z.boolean().optional(),
  /** JSON text of the value for rows of a segment that does not have the field yet. */
  defaultValue: z.string().optional(),
  /** Rows of a group at most. */
  size: z.int().min(1),
  /** Whether the search goes on until the groups are full, or there are no more rows. */
  isStrict: z.boolean(),
});
export type GroupBy = z.infer<typeof GroupBy>;

/** Changes of the scores of a segment's best rows, before they are compared with those of other segments. */
export const Boost = z.object({
  functions: z.array(
    z.object({
      /** Null: all rows. */
      filter: Filter.nullable(),
      weight: z.number(),
      /** The weight times a number in [0, 1) that the seed and the field's value (absent: the primary key) decide. */
      random: z.object({ seed: z.int(), fieldId: FieldId.optional() }).optional(),
    }),
  ),
  /** How the results of the functions that apply to a row are combined. */
  functionMode: z.enum(["multiply", "sum"]),
  /** What that makes of the row's score. */
  boostMode: z.enum(["multiply", "sum"]),
});
export type Boost = z.infer<typeof Boost>;

const QueryVectors = z.custom<Float32Array | Uint8Array>(
  (value) => value instanceof Float32Array || value instanceof Uint8Array,
  "not query vectors",
);

/** Sparse vectors: those of row q are offsets[q] to before offsets[q + 1] of terms (ascending) and values (above 0). */
export const SparseRows = z.object({ offsets: Uint32, terms: Uint32, values: Float32 });
export type SparseRows = z.infer<typeof SparseRows>;

/** Scores are BM25, with the statistics of the whole collection: the values of the queries weigh their terms. */
export const Bm25 = z.object({ k1: z.number(), b: z.number(), averageLength: z.number() });

export const VectorSearch = z.object({
  fieldId: FieldId,
  metric: MetricName,
  /** Of the field. Absent: FloatVector. */
  vectorType: z.enum(VECTOR_TYPES).optional(),
  /** Row-major [nq, dimension]: numbers of a FloatVector, else bytes as the field's column has them. */
  queries: QueryVectors,
  queryCount: z.int().min(1).max(16_384),
  topK: z.int().min(1).max(16_384),
  ef: z.int().min(1).optional(),
  nprobe: z.int().min(1).optional(),
  /** For a sparse field: the queries. `queries` is then empty. */
  sparse: SparseRows.optional(),
  bm25: Bm25.optional(),
  /** The share of each sparse query's values, the smallest ones, that is left out: 0 to below 1. */
  dropRatio: z.number().optional(),
  /** The band of distances that rows are looked for in; see runtime/ann/distance-range.ts. */
  radius: z.number().optional(),
  rangeFilter: z.number().optional(),
  /**
   * Distances must be those of the vectors themselves, even where an index keeps rounded ones: for an iteration, whose
   * batches are separated by distance, wherever a row is found.
   */
  isExact: z.boolean().optional(),
  /** topK is then the number of groups. */
  group: GroupBy.optional(),
  boost: Boost.optional(),
});
export type VectorSearch = z.infer<typeof VectorSearch>;

/** What BM25 has to know of rows: how many there are, how many terms they have together, and how many have each term asked for. */
export const TermStatistics = z.object({ rowCount: z.number(), totalLength: z.number(), counts: Float64 });
export type TermStatistics = z.infer<typeof TermStatistics>;

export const RowValue = z.union([z.null(), z.boolean(), z.number(), z.bigint(), z.string()]);
export type RowValue = z.infer<typeof RowValue>;

/** A field's values, or those at a path in a JSON field. */
export const ValueRef = z.object({
  fieldId: FieldId,
  path: z.array(z.union([z.string(), z.int()])).optional(),
  /** The value for rows of a segment that does not have the field yet. */
  defaultValue: RowValue.optional(),
});
export type ValueRef = z.infer<typeof ValueRef>;

/** An order of rows; equal ones are in the order of their primary keys. Rows without a value come last. */
export const RowOrder = z.array(ValueRef.extend({ isDescending: z.boolean() }));
export type RowOrder = z.infer<typeof RowOrder>;

/** Aggregates over the rows that pass a filter, in groups of equal values; without groupBy: over all of them. */
export const Aggregation = z.object({
  groupBy: z.array(ValueRef),
  functions: z.array(
    z.object({
      op: z.enum(["count", "sum", "min", "max"]),
      /** Rows without a value do not count. Absent: count of all rows. */
      of: ValueRef.optional(),
    }),
  ),
});
export type Aggregation = z.infer<typeof Aggregation>;

const RowValues = z.custom<RowValue[][]>(
  (lists) => Array.isArray(lists) && lists.every((list) => Array.isArray(list)),
  "not lists of values",
);

/** Group g has the values keys[*][g]; of function f it has counts[f][g] values, which together make values[f][g]. */
export const Groups = z.object({
  keys: RowValues,
  counts: z.array(Float64),
  values: RowValues,
  groupCount: z.int(),
});
export type Groups = z.infer<typeof Groups>;

/**
 * Rows found by a filter, one for each key (the newest), ascending by primary key unless another order was asked for.
 */
export const FoundRows = z.object({
  keys: KeyColumn,
  timestamps: Timestamps,
  batch: Batch,
});
export type FoundRows = z.infer<typeof FoundRows>;
