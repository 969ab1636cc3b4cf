/** Picking and joining rows of columns, column by column. */
import { type Bitset, hasBit, newBitset, setBit } from "./bitset.ts";
import {
  type ArrayColumn,
  type BytesColumn,
  type Column,
  type ColumnBatch,
  type DenseVectorColumn,
  rowWidth,
  type ScalarColumn,
} from "./column.ts";
import { type KeyColumn, keysOf } from "./keys.ts";

/** Where each row of a result comes from: row `rows[i]` of batch `batches[sources[i]]`. */
export interface RowPick {
  sources: Uint32Array;
  rows: Uint32Array;
}

type Numeric = Int8Array | Int16Array | Int32Array | Float32Array | Float64Array | Uint8Array | BigInt64Array;

/** The rows of one batch, in the given order. */
export function takeRows(batch: ColumnBatch, rows: Uint32Array): ColumnBatch {
  return gatherRows([batch], { sources: new Uint32Array(rows.length), rows }, Object.keys(batch.columns).map(Number));
}

/** The rows of one column, in the given order. */
export function takeColumn<C extends Column>(column: C, rows: Uint32Array): C {
  return gatherColumn([column], column, { sources: new Uint32Array(rows.length), rows }) as C;
}

/** Rows of several batches in the picked order. A column that a batch lacks is null for its rows. */
export function gatherRows(batches: readonly ColumnBatch[], pick: RowPick, fieldIds: readonly number[]): ColumnBatch {
  const columns: Record<number, Column> = {};
  for (const fieldId of fieldIds) {
    const sources = batches.map((batch) => batch.columns[fieldId]);
    const sample = sources.find((column) => column !== undefined);
    if (sample !== undefined) columns[fieldId] = gatherColumn(sources, sample, pick);
  }
  return { rowCount: pick.rows.length, columns };
}

/** One column of several, rows as picked. All present sources are of the sample's kind. */
export function gatherColumn(sources: readonly (Column | undefined)[], sample: Column, pick: RowPick): Column {
  const gathered =
    "dimension" in sample
      ? gatherVectors(sources, sample, pick)
      : "offsets" in sample
        ? gatherOffsets(sources, sample, pick)
        : gatherValues(sources, sample, pick);
  const valid = gatherValidity(sources, pick);
  return valid === undefined ? gathered : ({ ...gathered, valid } as Column);
}

function gatherVectors(
  sources: readonly (Column | undefined)[],
  sample: DenseVectorColumn,
  pick: RowPick,
): DenseVectorColumn {
  const width = rowWidth(sample);
  const length = pick.rows.length * width;
  const values = sample.kind === "floatVector" ? new Float32Array(length) : new Uint8Array(length);
  for (let i = 0; i < pick.rows.length; i++) {
    const column = sources[pick.sources[i]!];
    if (column?.kind !== sample.kind) continue;
    const start = pick.rows[i]! * width;
    values.set(column.values.subarray(start, start + width), i * width);
  }
  return { kind: sample.kind, dimension: sample.dimension, values } as DenseVectorColumn;
}

function gatherValues(
  sources: readonly (Column | undefined)[],
  sample: Exclude<ScalarColumn, BytesColumn>,
  pick: RowPick,
): Column {
  const values = new (sample.values.constructor as new (length: number) => Numeric)(pick.rows.length);
  for (let i = 0; i < pick.rows.length; i++) {
    const column = sources[pick.sources[i]!] as { values: Numeric } | undefined;
    if (column !== undefined) values[i] = column.values[pick.rows[i]!]!;
  }
  return { kind: sample.kind, values } as Column;
}

function gatherOffsets(
  sources: readonly (Column | undefined)[],
  sample: BytesColumn | ArrayColumn,
  pick: RowPick,
): BytesColumn | ArrayColumn {
  const count = pick.rows.length;
  const offsets = new Uint32Array(count + 1);
  for (let i = 0; i < count; i++) {
    const column = sources[pick.sources[i]!] as BytesColumn | ArrayColumn | undefined;
    const row = pick.rows[i]!;
    offsets[i + 1] = offsets[i]! + (column === undefined ? 0 : column.offsets[row + 1]! - column.offsets[row]!);
  }
  if (sample.kind !== "array") {
    const bytes = new Uint8Array(offsets[count]!);
    for (let i = 0; i < count; i++) {
      const column = sources[pick.sources[i]!] as BytesColumn | undefined;
      const row = pick.rows[i]!;
      if (column !== undefined)
        bytes.set(column.bytes.subarray(column.offsets[row]!, column.offsets[row + 1]!), offsets[i]!);
    }
    return { kind: sample.kind, offsets, bytes };
  }
  const items: RowPick = { sources: new Uint32Array(offsets[count]!), rows: new Uint32Array(offsets[count]!) };
  for (let i = 0, n = 0; i < count; i++) {
    const column = sources[pick.sources[i]!] as ArrayColumn | undefined;
    if (column === undefined) continue;
    for (let item = column.offsets[pick.rows[i]!]!; item < column.offsets[pick.rows[i]! + 1]!; item++) {
      items.sources[n] = pick.sources[i]!;
      items.rows[n++] = item;
    }
  }
  const itemSources = sources.map((column) => (column as ArrayColumn | undefined)?.items);
  return { kind: "array", offsets, items: gatherColumn(itemSources, sample.items, items) as ScalarColumn };
}

/** Undefined when every picked row has a value. */
function gatherValidity(sources: readonly (Column | undefined)[], pick: RowPick): Bitset | undefined {
  const nullable = sources.some((column) => column === undefined || ("valid" in column && column.valid !== undefined));
  if (!nullable) return undefined;
  const valid = newBitset(pick.rows.length);
  let isWhole = true;
  for (let i = 0; i < pick.rows.length; i++) {
    const column = sources[pick.sources[i]!] as { valid?: Bitset } | undefined;
    if (column !== undefined && (column.valid === undefined || hasBit(column.valid, pick.rows[i]!))) setBit(valid, i);
    else isWhole = false;
  }
  return isWhole ? undefined : valid;
}

/** Rows that a column holds, by its data array. */
export function columnRows(column: Column): number {
  if ("dimension" in column) return column.values.length / rowWidth(column);
  if ("offsets" in column) return column.offsets.length - 1;
  return column.values.length;
}

/** Bytes of a batch's arrays: its cost in memory, and roughly in the log. */
export function batchBytes(batch: ColumnBatch): number {
  let bytes = 0;
  for (const column of Object.values(batch.columns)) bytes += columnBytes(column);
  return bytes;
}

function columnBytes(column: Column): number {
  if (column.kind === "array") return column.offsets.byteLength + columnBytes(column.items);
  if ("offsets" in column) return column.offsets.byteLength + column.bytes.byteLength;
  return column.values.byteLength;
}

/** The keys of several columns, one after the other. */
export function joinKeys(kind: KeyColumn["kind"], columns: readonly KeyColumn[]): KeyColumn {
  const total = columns.reduce((sum, column) => sum + columnRows(column), 0);
  const pick: RowPick = { sources: new Uint32Array(total), rows: new Uint32Array(total) };
  let at = 0;
  columns.forEach((column, source) => {
    const count = columnRows(column);
    pick.sources.fill(source, at, at + count);
    for (let row = 0; row < count; row++) pick.rows[at++] = row;
  });
  return gatherColumn(columns, keysOf(kind, []), pick) as KeyColumn;
}
