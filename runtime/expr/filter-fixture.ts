/**
 * For the tests of filters: a schema with every type that filters read, and rows of plain values as a column batch.
 */
import type { CollectionSchema, FieldSchema, FieldType, Scalar } from "../schema.ts";
import { type Bitset, clearBit, fullBitset } from "../segment/bitset.ts";
import type { ArrayColumn, BytesColumn, Column, ColumnBatch, ScalarColumn } from "../segment/column.ts";

function field(fieldId: number, name: string, type: FieldType, rest: Partial<FieldSchema> = {}): FieldSchema {
  return { fieldId, name, type, description: "", isPrimary: false, nullable: true, isDynamic: false, ...rest };
}

export const schema: CollectionSchema = {
  version: 1,
  autoId: false,
  enableDynamicField: true,
  fields: [
    field(100, "id", "Int64", { isPrimary: true, nullable: false }),
    field(101, "vec", "FloatVector", { nullable: false, dimension: 4 }),
    field(102, "flag", "Bool"),
    field(103, "i8", "Int8"),
    field(104, "i16", "Int16"),
    field(105, "i32", "Int32"),
    field(106, "i64", "Int64"),
    field(107, "f", "Float"),
    field(108, "d", "Double"),
    field(109, "s", "VarChar", { maxLength: 100 }),
    field(110, "t", "VarChar", { maxLength: 100 }),
    field(111, "doc", "JSON"),
    field(112, "nums", "Array", { elementType: "Int64", maxCapacity: 8 }),
    field(113, "tags", "Array", { elementType: "VarChar", maxLength: 20, maxCapacity: 8 }),
    field(114, "reals", "Array", { elementType: "Float", maxCapacity: 8 }),
    field(115, "$meta", "JSON", { isDynamic: true }),
    field(116, "ts", "Timestamptz"),
    field(117, "body", "VarChar", { maxLength: 1_000, enableAnalyzer: true, enableMatch: true }),
    field(118, "flags", "Array", { elementType: "Bool", maxCapacity: 8 }),
    field(119, "place", "Geometry"),
  ],
};

export function withoutDynamic(): CollectionSchema {
  return { ...schema, enableDynamicField: false, fields: schema.fields.filter((f) => !f.isDynamic) };
}

/** A JSON value is given as its text. null is no value. */
export type Row = Record<string, Scalar | Scalar[] | null>;

/** Columns of every non-vector field, but those named in `missing`. */
export function batchOf(rows: Row[], missing: string[] = []): ColumnBatch {
  const columns: Record<number, Column> = {};
  for (const each of schema.fields) {
    if (each.type === "FloatVector" || missing.includes(each.name)) continue;
    const values = rows.map((row) => row[each.name] ?? null);
    columns[each.fieldId] =
      each.type === "Array"
        ? arrayColumn(each, values as (Scalar[] | null)[])
        : scalarColumn(each.type, values as (Scalar | null)[]);
  }
  return { rowCount: rows.length, columns };
}

function arrayColumn(field: FieldSchema, rows: (Scalar[] | null)[]): ArrayColumn {
  const offsets = new Uint32Array(rows.length + 1);
  rows.forEach((row, r) => {
    offsets[r + 1] = offsets[r]! + (row?.length ?? 0);
  });
  const items = scalarColumn(
    field.elementType!,
    rows.flatMap((row) => row ?? []),
  );
  return { kind: "array", offsets, items, ...validity(rows) };
}

function scalarColumn(type: FieldType, values: (Scalar | null)[]): ScalarColumn {
  const numbers = () => values.map((value) => Number(value ?? 0));
  switch (type) {
    case "Bool":
      return { kind: "bool", values: Uint8Array.from(numbers()), ...validity(values) };
    case "Int8":
      return { kind: "int8", values: Int8Array.from(numbers()), ...validity(values) };
    case "Int16":
      return { kind: "int16", values: Int16Array.from(numbers()), ...validity(values) };
    case "Int32":
      return { kind: "int32", values: Int32Array.from(numbers()), ...validity(values) };
    case "Float":
      return { kind: "float", values: Float32Array.from(numbers()), ...validity(values) };
    case "Double":
      return { kind: "double", values: Float64Array.from(numbers()), ...validity(values) };
    case "Int64":
    case "Timestamptz":
      return { kind: "int64", values: BigInt64Array.from(values, (value) => BigInt(value ?? 0)), ...validity(values) };
    default:
      return bytesColumn(type === "JSON" ? "json" : "varchar", values);
  }
}

function bytesColumn(kind: BytesColumn["kind"], values: (Scalar | null)[]): BytesColumn {
  const texts = values.map((value) => Buffer.from(String(value ?? "")));
  const offsets = new Uint32Array(texts.length + 1);
  texts.forEach((text, r) => {
    offsets[r + 1] = offsets[r]! + text.length;
  });
  return { kind, offsets, bytes: new Uint8Array(Buffer.concat(texts)), ...validity(values) };
}

function validity(values: unknown[]): { valid?: Bitset } {
  if (!values.includes(null)) return {};
  const valid = fullBitset(values.length);
  values.forEach((value, r) => {
    if (value === null) clearBit(valid, r);
  });
  return { valid };
}
