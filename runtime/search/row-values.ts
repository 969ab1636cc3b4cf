/** Reads one value for each row, from a field or a path in a JSON field: what aggregations and orders work with. */
import { parseDocument, valueAtPath } from "../expr/json-rows.ts";
import type { RowValue, ValueRef } from "../protocol/values.ts";
import { hasBit } from "../segment/bitset.ts";
import type { BytesColumn, Column, ColumnBatch } from "../segment/column.ts";
import { compareText, normalInt64 } from "../segment/keys.ts";
import { textReader } from "../segment/text-reader.ts";

/**
 * Made once per batch, so that rows need no look at the type. Int64 is a number where exact, else a bigint; objects and lists
 * of a JSON field are null, as are missing values.
 */
export function valueReader(
  batch: ColumnBatch,
  { fieldId, path, defaultValue = null }: ValueRef,
): (row: number) => RowValue {
  const column = batch.columns[fieldId];
  // The batch is older than the field.
  if (column === undefined) return () => (path === undefined ? defaultValue : null);
  const read = path === undefined ? plainReader(column) : pathReader(column as BytesColumn, path);
  const valid = "valid" in column ? column.valid : undefined;
  return valid === undefined ? read : (row) => (hasBit(valid, row) ? read(row) : null);
}

/** Rows read in order, each several times: a text or a document is decoded once. */
export function rememberLast(read: (row: number) => RowValue): (row: number) => RowValue {
  let last = -1;
  let value: RowValue = null;
  return (row) => {
    if (row !== last) {
      value = read(row);
      last = row;
    }
    return value;
  };
}

const REMEMBERED_BYTES = 4 * 2 ** 20;
const ENTRY_BYTES = 64;

/** Rows read in any order, many times. The cache is bounded: it forgets everything now and then. */
export function remember(read: (row: number) => RowValue): (row: number) => RowValue {
  const known = new Map<number, RowValue>();
  let bytes = 0;
  return (row) => {
    let value = known.get(row);
    if (value !== undefined) return value;
    if (bytes > REMEMBERED_BYTES) {
      known.clear();
      bytes = 0;
    }
    value = read(row);
    known.set(row, value);
    bytes += ENTRY_BYTES + (typeof value === "string" ? 2 * value.length : 0);
    return value;
  };
}

function plainReader(column: Column): (row: number) => RowValue {
  switch (column.kind) {
    case "bool":
      return (row) => column.values[row] === 1;
    case "int64":
      return (row) => normalInt64(column.values[row]!);
    case "varchar":
      return textReader(column);
    case "int8":
    case "int16":
    case "int32":
    case "float":
    case "double":
      return (row) => column.values[row]!;
    default:
      throw new Error(`a column of kind ${column.kind} has no plain values`);
  }
}

function pathReader(column: BytesColumn, path: readonly (string | number)[]): (row: number) => RowValue {
  const read = textReader(column);
  return (row) => {
    const text = read(row);
    if (text === "" || text === "{}") return null;
    const value = valueAtPath(parseDocument(text), path);
    return typeof value === "object" || value === undefined ? null : (value as RowValue);
  };
}

const RANKS = { boolean: 0, number: 1, bigint: 1, string: 2 } as const;

/**
 * Order of values: false before true, numbers, texts by code point; of different types (in JSON) by type. Null is after
 * all others, also when these descend.
 */
export function compareValues(a: RowValue, b: RowValue, isDescending = false): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  const rank = RANKS[typeof a as keyof typeof RANKS] - RANKS[typeof b as keyof typeof RANKS];
  const order = rank !== 0 ? rank : typeof a === "string" ? compareText(a, b as string) : a < b ? -1 : a > b ? 1 : 0;
  return isDescending ? -order : order;
}
