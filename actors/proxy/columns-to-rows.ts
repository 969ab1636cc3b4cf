/**
 * Columns to the row objects of a reply. As Milvus's REST has them, with two differences, both because theirs
 * cannot be used as they are: an Array is a plain list (not `{"Data":{"LongData":{"data":[...]}}}`), and int64 beyond
 * 2^53 is a bigint here, plain digits in JSON. A JSON field is a string that contains JSON; dynamic keys are keys of
 * the row; a vector is a Float32Array, which JSON shows as a list of numbers; null is null.
 */
import { parseJson, shortestFloat32 } from "../../runtime/protocol/public-codec.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import { hasBit } from "../../runtime/segment/bitset.ts";
import type { BytesColumn, Column, ColumnBatch, ScalarColumn } from "../../runtime/segment/column.ts";
import { type KeyColumn, keyAt, normalInt64 } from "../../runtime/segment/keys.ts";
import type { OutputFields } from "./output-fields.ts";

export type ResultRow = Record<string, unknown>;

/** One object a row: the primary key from `keys`, the other fields from the batch. */
export function columnsToRows(keys: KeyColumn, batch: ColumnBatch, output: OutputFields): ResultRow[] {
  const rows = new Array<ResultRow>(batch.rowCount);
  const primaryName = output.fields.find(({ isPrimary }) => isPrimary)?.name;
  for (let row = 0; row < rows.length; row++) {
    // A computed key is the row's own, whatever its name.
    rows[row] = primaryName === undefined ? {} : { [primaryName]: keyAt(keys, row) };
  }
  for (const field of output.fields) if (!field.isPrimary) writeField(rows, field, batch.columns[field.fieldId]);
  if (output.dynamicField !== undefined) {
    writeDynamicKeys(rows, batch.columns[output.dynamicField.fieldId], output.dynamicKeys);
  }
  return rows;
}

/** Assignment, but that `__proto__` is a key like any other: assigned, it would be the object's prototype. */
function setKey(row: ResultRow, key: string, value: unknown): void {
  if (key !== "__proto__") row[key] = value;
  else Object.defineProperty(row, key, { value, writable: true, enumerable: true, configurable: true });
}

/** A segment written before the field was added has no column of it: its rows have the default, or null. */
function writeField(rows: ResultRow[], field: FieldSchema, column: Column | undefined): void {
  const { name } = field;
  if (column === undefined) {
    for (const row of rows) setKey(row, name, field.defaultValue ?? null);
    return;
  }
  const read = cellReader(column);
  const valid = "valid" in column ? column.valid : undefined;
  for (let row = 0; row < rows.length; row++) {
    setKey(rows[row]!, name, valid !== undefined && !hasBit(valid, row) ? null : read(row));
  }
}

/** Reads one cell of a column; made once a column, so that a cell costs no look at its type. */
function cellReader(column: Column): (row: number) => unknown {
  switch (column.kind) {
    case "floatVector": {
      const { values, dimension } = column;
      return (row) => values.subarray(row * dimension, (row + 1) * dimension);
    }
    case "array": {
      const { offsets, items } = column;
      const readItem = scalarReader(items);
      return (row) => {
        const list: unknown[] = [];
        for (let item = offsets[row]!; item < offsets[row + 1]!; item++) list.push(readItem(item));
        return list;
      };
    }
    default:
      return scalarReader(column);
  }
}

function scalarReader(column: ScalarColumn): (index: number) => unknown {
  switch (column.kind) {
    case "bool":
      return (index) => column.values[index] === 1;
    case "int64":
      return (index) => normalInt64(column.values[index]!);
    case "float":
      return (index) => shortestFloat32(column.values[index]!);
    case "varchar":
    case "json":
      return textReader(column);
    default:
      return (index) => column.values[index]!;
  }
}

function textReader(column: BytesColumn): (index: number) => string {
  const { offsets, bytes } = column;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (index) => buffer.toString("utf8", offsets[index]!, offsets[index + 1]!);
}

/** A field of the schema hides a dynamic key of the same name (the key was there before the field was added). */
function writeDynamicKeys(rows: ResultRow[], column: Column | undefined, keys: readonly string[] | null): void {
  if (column === undefined || !("bytes" in column)) return;
  const read = textReader(column);
  for (let row = 0; row < rows.length; row++) {
    const text = read(row);
    if (text === "{}" || text === "") continue;
    const extra = parseJson(text) as ResultRow;
    const target = rows[row]!;
    for (const key of keys ?? Object.keys(extra)) {
      if (Object.hasOwn(extra, key) && !Object.hasOwn(target, key)) setKey(target, key, extra[key]);
    }
  }
}
