/**
 * The value that a row is grouped by, as JSON text. Each value has exactly one text, so groups of different segments, nodes and
 * types are compared as texts. `null` is the group of rows without a value: null, no such path, or a value of another type.
 */
import type { GroupBy } from "../protocol/values.ts";
import { hasBit } from "../segment/bitset.ts";
import type { BytesColumn, Column, ColumnBatch } from "../segment/column.ts";
import { textReader } from "../segment/text-reader.ts";
import { parseDocument, valueAtPath } from "./json-rows.ts";

export type GroupKey = Pick<GroupBy, "fieldId" | "path" | "jsonType" | "isStrictCast" | "defaultValue">;

const NULL_GROUP = "null";

/** The group of each row of a batch. */
export function groupsOfRows(batch: ColumnBatch, key: GroupKey): string[] {
  const read = groupReader(batch, key);
  return Array.from({ length: batch.rowCount }, (_, row) => read(row));
}

/** Reads the group of one row of a batch. @throws VdbError corrupt when a JSON column holds what is not JSON */
export function groupReader(batch: ColumnBatch, key: GroupKey): (row: number) => string {
  const column = batch.columns[key.fieldId];
  if (column === undefined) {
    // The batch is older than the field.
    const group = key.path === undefined ? (key.defaultValue ?? NULL_GROUP) : NULL_GROUP;
    return () => group;
  }
  const read = column.kind === "json" ? jsonReader(column, key) : plainReader(column);
  const valid = "valid" in column ? column.valid : undefined;
  return valid === undefined ? read : (row) => (hasBit(valid, row) ? read(row) : NULL_GROUP);
}

function plainReader(column: Column): (row: number) => string {
  switch (column.kind) {
    case "bool":
      return (row) => (column.values[row] === 1 ? "true" : "false");
    case "varchar": {
      const read = textReader(column);
      return (row) => JSON.stringify(read(row));
    }
    case "int8":
    case "int16":
    case "int32":
    case "int64":
      return (row) => String(column.values[row]);
    default:
      throw new Error(`rows cannot be grouped by a column of kind ${column.kind}`);
  }
}

function jsonReader(
  column: BytesColumn,
  { path = [], jsonType, isStrictCast = false }: GroupKey,
): (row: number) => string {
  const read = textReader(column);
  return (row) => {
    const text = read(row);
    if (text === "" || text === "{}") return NULL_GROUP;
    return groupOfValue(valueAtPath(parseDocument(text), path), jsonType, isStrictCast);
  };
}

function groupOfValue(value: unknown, jsonType: GroupKey["jsonType"], isStrictCast: boolean): string {
  const text = scalarText(value);
  if (jsonType === undefined || text === NULL_GROUP) return text;
  const isText = typeof value === "string";
  switch (jsonType) {
    case "VarChar":
      if (isText) return text;
      return isStrictCast ? NULL_GROUP : JSON.stringify(text);
    case "Bool":
      return typeof value === "boolean" ? text : NULL_GROUP;
    case "Double":
      return isText || typeof value === "boolean" ? NULL_GROUP : text;
    case "Int64":
      if (isText || typeof value === "boolean") return NULL_GROUP;
      if (typeof value !== "number" || Number.isInteger(value)) return text;
      return isStrictCast ? NULL_GROUP : String(Math.trunc(value));
  }
}

/** Objects and arrays cannot be grouped by. Integers of 64 bits keep their digits, larger ones are doubles, as in filters. */
function scalarText(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  return value === undefined || typeof value === "object" ? NULL_GROUP : JSON.stringify(value);
}
