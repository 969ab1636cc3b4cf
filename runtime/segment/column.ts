/**
 * Columns: the one form that rows have between the proxy's door and a file. Typed arrays throughout; they travel
 * by reference inside a process, as raw bytes on the wire and in the log, and as Arrow buffers in objects.
 *
 * A column is immutable once it is part of a message. `valid` is absent when no row is null; otherwise bit r says
 * whether row r has a value (a null row holds zero or an empty slice in the data arrays).
 */
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

/** varchar: UTF-8 text; json: the UTF-8 text of one JSON value a row. */
export interface BytesColumn {
  kind: "varchar" | "json";
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
}

export type ScalarColumn = BoolColumn | NumberColumn | Int64Column | BytesColumn;
export type Column = ScalarColumn | ArrayColumn | FloatVectorColumn;

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
