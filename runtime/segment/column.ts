/**
 * Columns: the only form that rows have between the proxy's entrance and a file. Typed arrays throughout; they travel by
 * reference inside a process, as raw bytes on the wire and in the log, and as Arrow buffers in objects.
 *
 * A column is immutable once it is part of a message. `valid` is absent when no row is null; otherwise bit r says
 * whether row r has a value (a null row holds zero or an empty slice in the data arrays).
 */
import { bytesOfVector, type PackedVectorType } from "../schema.ts";
import type { Bitset } from "./bitset.ts";

export interface BoolColumn {
  kind: "bool";
  /** One byte a row, 0 or 1. */
  values: Uint8Array;
  valid?: Bitset;
}

export interface NumberColumn {
  kind: "int8" | "int16" | "int32" | "float" | "double";
  values: Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;
  valid?: Bitset;
}

export interface Int64Column {
  kind: "int64";
  values: BigInt64Array;
  valid?: Bitset;
}

/**
 * varchar: UTF-8 text; json: the UTF-8 text of one JSON value a row; sparseVector: pairs of an index (uint32) and a value
 * (float32), 8 bytes each, little-endian, by ascending index, as Milvus's clients send them.
 */
export interface BytesColumn {
  kind: "varchar" | "json" | "sparseVector";
  /** rowCount + 1 offsets into bytes, ascending, starting at 0. */
  offsets: Uint32Array;
  bytes: Uint8Array;
  valid?: Bitset;
}

export interface ArrayColumn {
  kind: "array";
  /** rowCount + 1 offsets into items, ascending, starting at 0. */
  offsets: Uint32Array;
  /** Never null inside. */
  items: ScalarColumn;
  valid?: Bitset;
}

export interface FloatVectorColumn {
  kind: "floatVector";
  dimension: number;
  /** Row-major, [rowCount, dimension]. */
  values: Float32Array;
  valid?: Bitset;
}

/** Rows of a packed vector type; see `bytesOfVector`. */
export interface PackedVectorColumn {
  kind: "float16Vector" | "bfloat16Vector" | "int8Vector" | "binaryVector";
  /** Numbers per row; bits per row of binary vectors. */
  dimension: number;
  /** Row-major, little-endian as they come from the wire. */
  values: Uint8Array;
  valid?: Bitset;
}

export type DenseVectorColumn = FloatVectorColumn | PackedVectorColumn;

export const PACKED_KINDS = {
  Float16Vector: "float16Vector",
  BFloat16Vector: "bfloat16Vector",
  Int8Vector: "int8Vector",
  BinaryVector: "binaryVector",
} as const satisfies Record<PackedVectorType, PackedVectorColumn["kind"]>;

const PACKED_TYPES = {
  float16Vector: "Float16Vector",
  bfloat16Vector: "BFloat16Vector",
  int8Vector: "Int8Vector",
  binaryVector: "BinaryVector",
} as const satisfies Record<PackedVectorColumn["kind"], PackedVectorType>;

/** How many elements of `values` one row takes. */
export function rowWidth({ kind, dimension }: DenseVectorColumn): number {
  return kind === "floatVector" ? dimension : bytesOfVector(PACKED_TYPES[kind], dimension);
}

export type SparseVectorColumn = BytesColumn & { kind: "sparseVector" };
export type VectorColumn = FloatVectorColumn | PackedVectorColumn | SparseVectorColumn;
export type ScalarColumn = BoolColumn | NumberColumn | Int64Column | BytesColumn;
export type Column = ScalarColumn | ArrayColumn | DenseVectorColumn;

/** Rows of one collection in columns, keyed by field id. Every column has rowCount rows. */
export interface ColumnBatch {
  rowCount: number;
  columns: Record<number, Column>;
}

/**
 * Primary keys as a program handles them one by one: Int64 as a number where exact (|x| <= 2^53 - 1), else as a
 * bigint, so that one key has one form and can key a Map. Columns keep BigInt64Array.
 */
export type PrimaryKey = number | bigint | string;
