/**
 * Rows written before a field was added have no value in it; if the field has a default, they get that here. A later row
 * without a value gets the default when it is written, so a null in such a field always belongs to an old row, whatever
 * happened to the row since.
 */
import type { CollectionSchema, FieldSchema, Scalar } from "../schema.ts";
import { hasBit } from "./bitset.ts";
import type { Column, ColumnBatch } from "./column.ts";
import { gatherColumn } from "./gather.ts";
import { varcharColumn } from "./keys.ts";

/** For each field with a default, a column of one row. */
export type Defaults = ReadonlyMap<number, Column>;

const ofFields = new WeakMap<readonly FieldSchema[], Defaults>();

/** Made once per schema. */
export function defaultsOf({ fields }: Pick<CollectionSchema, "fields">): Defaults {
  let defaults = ofFields.get(fields);
  if (defaults === undefined) {
    const made = new Map<number, Column>();
    for (const field of fields) {
      if (field.defaultValue !== undefined) made.set(field.fieldId, columnOf(field, field.defaultValue));
    }
    defaults = made;
    ofFields.set(fields, defaults);
  }
  return defaults;
}

/** The batch itself when nothing is missing. */
export function withDefaults(batch: ColumnBatch, defaults: Defaults): ColumnBatch {
  let columns: Record<number, Column> | undefined;
  for (const [fieldId, value] of defaults) {
    const column = batch.columns[fieldId];
    if (column !== undefined && (!("valid" in column) || column.valid === undefined)) continue;
    columns ??= { ...batch.columns };
    columns[fieldId] = filled(column, value, batch.rowCount);
  }
  return columns === undefined ? batch : { ...batch, columns };
}

function filled(column: Column | undefined, value: Column, rowCount: number): Column {
  const pick = { sources: new Uint32Array(rowCount), rows: new Uint32Array(rowCount) };
  const valid = column !== undefined && "valid" in column ? column.valid : undefined;
  for (let row = 0; row < rowCount; row++) {
    const isThere = column !== undefined && (valid === undefined || hasBit(valid, row));
    pick.sources[row] = isThere ? 0 : 1;
    pick.rows[row] = isThere ? row : 0;
  }
  // Every picked row has a value; the column's own nulls are not among them.
  const whole = column === undefined ? value : withoutValidity(column);
  return gatherColumn([whole, value], value, pick);
}

function withoutValidity(column: Column): Column {
  if (!("valid" in column)) return column;
  const { valid: _, ...rest } = column;
  return rest as Column;
}

function columnOf({ type }: FieldSchema, value: Scalar): Column {
  switch (type) {
    case "Bool":
      return { kind: "bool", values: Uint8Array.of(value === true ? 1 : 0) };
    case "Int8":
      return { kind: "int8", values: Int8Array.of(Number(value)) };
    case "Int16":
      return { kind: "int16", values: Int16Array.of(Number(value)) };
    case "Int32":
      return { kind: "int32", values: Int32Array.of(Number(value)) };
    case "Int64":
    case "Timestamptz":
      return { kind: "int64", values: BigInt64Array.of(BigInt(value)) };
    case "Float":
      return { kind: "float", values: Float32Array.of(Number(value)) };
    case "Double":
      return { kind: "double", values: Float64Array.of(Number(value)) };
    case "VarChar":
      return varcharColumn([String(value)]);
    default:
      throw new Error(`a field of type ${type} has no default`);
  }
}
