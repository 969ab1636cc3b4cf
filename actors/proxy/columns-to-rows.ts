/**
 * Columns to the row objects of a reply. As Milvus's REST has them, with two differences, both because theirs
 * cannot be used as they are: an Array is a plain list (not `{"Data":{"LongData":{"data":[...]}}}`), and int64 beyond
 * 2^53 is a bigint here, plain digits in JSON. A JSON field is a string that contains JSON; dynamic keys are keys of
 * the row; a vector is a Float32Array, which JSON shows as a list of numbers; one of packed numbers or bits a Uint8Array,
 * base64 in JSON; a sparse one {"index": value}; a time is ISO 8601 text; null is null.
 */
import type { Clock } from "../../runtime/clock.ts";
import { parseJson, shortestFloat32 } from "../../runtime/protocol/public-codec.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import { hasBit } from "../../runtime/segment/bitset.ts";
import {
  type BytesColumn,
  type Column,
  type ColumnBatch,
  type Int64Column,
  type PrimaryKey,
  rowWidth,
  type ScalarColumn,
} from "../../runtime/segment/column.ts";
import { type KeyColumn, keyAt, normalInt64 } from "../../runtime/segment/keys.ts";
import { textReader } from "../../runtime/segment/text-reader.ts";
import { formatTimestamptz } from "../../runtime/timestamptz.ts";
import { takeTurn } from "../../runtime/turns.ts";
import type { OutputFields, RowShape } from "./output-fields.ts";

export type ResultRow = Record<string, unknown>;

const PLAIN: RowShape = { int64AsText: false, zone: "UTC" };

/** One object a row: the primary key from `keys`, the other fields from the batch. */
export function columnsToRows(keys: KeyColumn, batch: ColumnBatch, output: OutputFields): ResultRow[] {
  const rows = new Array<ResultRow>(batch.rowCount);
  for (const write of rowWriters(rows, keys, batch, output)) write(0, rows.length);
  return rows;
}

/** Rows between two looks at the clock: each may be hundreds of KiB. */
const SLICE_ROWS = 16;

/** As columnsToRows; of many rows, or long ones, in turns. */
export async function columnsToRowsInTurns(
  keys: KeyColumn,
  batch: ColumnBatch,
  output: OutputFields,
  clock: Clock,
): Promise<ResultRow[]> {
  const rows = new Array<ResultRow>(batch.rowCount);
  const writers = rowWriters(rows, keys, batch, output);
  for (let from = 0; from < rows.length; from += SLICE_ROWS) {
    await takeTurn(clock);
    const to = Math.min(rows.length, from + SLICE_ROWS);
    for (const write of writers) write(from, to);
  }
  return rows;
}

/** Writes something of the rows `from` to before `to`. */
type Writer = (from: number, to: number) => void;

/** In the order in which they are to write: each adds to what those before it made of a row. */
function rowWriters(rows: ResultRow[], keys: KeyColumn, batch: ColumnBatch, output: OutputFields): Writer[] {
  const { shape = PLAIN } = output;
  const primaryName = output.fields.find(({ isPrimary }) => isPrimary)?.name;
  const writers: Writer[] = [
    (from, to) => {
      for (let row = from; row < to; row++) {
        // A computed key is the row's own, whatever its name.
        rows[row] = primaryName === undefined ? {} : { [primaryName]: shownKey(keys, row, shape.int64AsText) };
      }
    },
  ];
  for (const field of output.fields) {
    if (!field.isPrimary) writers.push(fieldWriter(rows, field, batch.columns[field.fieldId], shape));
  }
  if (output.dynamicField !== undefined) {
    writers.push(dynamicKeysWriter(rows, batch.columns[output.dynamicField.fieldId], output.dynamicKeys));
  }
  return writers;
}

/** A key as a reply has it. */
export function shownKey(keys: KeyColumn, row: number, asText: boolean): PrimaryKey {
  const key = keyAt(keys, row);
  return asText ? String(key) : key;
}

/** Assignment, but that `__proto__` is a key like any other: assigned, it would be the object's prototype. */
function setKey(row: ResultRow, key: string, value: unknown): void {
  if (key !== "__proto__") row[key] = value;
  else Object.defineProperty(row, key, { value, writable: true, enumerable: true, configurable: true });
}

/** A segment written before the field was added has no column of it: its rows have the default, or null. */
function fieldWriter(rows: ResultRow[], field: FieldSchema, column: Column | undefined, shape: RowShape): Writer {
  const { name } = field;
  if (column === undefined) {
    const value = shownDefault(field, shape);
    return (from, to) => {
      for (let row = from; row < to; row++) setKey(rows[row]!, name, value);
    };
  }
  const read = field.type === "Timestamptz" ? timeReader(column as Int64Column, shape.zone) : cellReader(column, shape);
  const valid = "valid" in column ? column.valid : undefined;
  return (from, to) => {
    for (let row = from; row < to; row++) {
      setKey(rows[row]!, name, valid !== undefined && !hasBit(valid, row) ? null : read(row));
    }
  };
}

function shownDefault({ type, defaultValue }: FieldSchema, { int64AsText, zone }: RowShape): unknown {
  if (defaultValue === undefined) return null;
  if (type === "Timestamptz") return formatTimestamptz(BigInt(defaultValue), zone);
  return type === "Int64" && int64AsText ? String(defaultValue) : defaultValue;
}

function timeReader({ values }: Int64Column, zone: string): (row: number) => string {
  return (row) => formatTimestamptz(values[row]!, zone);
}

/** Reads one cell of a column; made once a column, so that a cell costs no look at its type. */
export function cellReader(column: Column, shape: RowShape = PLAIN): (row: number) => unknown {
  switch (column.kind) {
    case "floatVector": {
      const { values, dimension } = column;
      return (row) => values.subarray(row * dimension, (row + 1) * dimension);
    }
    case "array": {
      const { offsets, items } = column;
      const readItem = scalarReader(items, shape);
      return (row) => {
        const list: unknown[] = [];
        for (let item = offsets[row]!; item < offsets[row + 1]!; item++) list.push(readItem(item));
        return list;
      };
    }
    case "float16Vector":
    case "bfloat16Vector":
    case "int8Vector":
    case "binaryVector": {
      const width = rowWidth(column);
      const { buffer, byteOffset } = column.values;
      // Not a subarray: of a Buffer it would be one, which writes itself in JSON in its own way.
      return (row) => new Uint8Array(buffer, byteOffset + row * width, width);
    }
    case "sparseVector":
      return sparseReader(column);
    default:
      return scalarReader(column, shape);
  }
}

function sparseReader({ offsets, bytes }: BytesColumn): (row: number) => Record<string, number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return (row) => {
    const vector: Record<string, number> = {};
    for (let at = offsets[row]!; at < offsets[row + 1]!; at += 8) {
      vector[view.getUint32(at, true)] = shortestFloat32(view.getFloat32(at + 4, true));
    }
    return vector;
  };
}

function scalarReader(column: ScalarColumn, { int64AsText }: RowShape): (index: number) => unknown {
  switch (column.kind) {
    case "bool":
      return (index) => column.values[index] === 1;
    case "int64":
      if (int64AsText) return (index) => String(column.values[index]!);
      return (index) => normalInt64(column.values[index]!);
    case "float":
      return (index) => shortestFloat32(column.values[index]!);
    case "varchar":
    case "json":
    case "sparseVector":
      return textReader(column);
    default:
      return (index) => column.values[index]!;
  }
}

/** A field of the schema hides a dynamic key of the same name (the key was there before the field was added). */
function dynamicKeysWriter(rows: ResultRow[], column: Column | undefined, keys: readonly string[] | null): Writer {
  if (column === undefined || !("bytes" in column)) return () => undefined;
  const read = textReader(column);
  return (from, to) => {
    for (let row = from; row < to; row++) {
      const text = read(row);
      if (text === "{}" || text === "") continue;
      const extra = parseJson(text) as ResultRow;
      const target = rows[row]!;
      for (const key of keys ?? Object.keys(extra)) {
        if (Object.hasOwn(extra, key) && !Object.hasOwn(target, key)) setKey(target, key, extra[key]);
      }
    }
  };
}
