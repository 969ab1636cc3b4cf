/**
 * An index of one chunk's column: its different values in order, each with the rows that hold it. A comparison then looks at
 * values instead of rows, and only at few of them, since order finds ranges, keys and prefixes. Values are kept as a column, so
 * everything that order does not find is tested by the same code that tests rows: an index cannot disagree.
 */
import type { NumberView, RowView, TextView } from "../expr/row-view.ts";
import { nullRows, viewColumn } from "../expr/row-view.ts";
import type { BoxTree } from "../geo/box-tree.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { ArrayColumn, BytesColumn, Column, ScalarColumn } from "../segment/column.ts";
import { CHUNK_ROWS } from "../segment/segment.ts";
import type { GramIndex } from "./gram-index.ts";
import type { PathIndex } from "./path-index.ts";

/** Rows by value: those of value v are rows[starts[v]] to rows[starts[v + 1] - 1], ascending. */
export interface Postings {
  readonly starts: Uint32Array;
  readonly rows: Uint16Array;
}

export interface ValueIndex extends Postings {
  readonly kind: "values";
  /** The different values, ascending. */
  readonly values: RowView;
  readonly count: number;
  /** Rows without a value. */
  readonly unknown: Bitset | undefined;
  readonly bytes: number;
}

/** The boxes of a column's geometries. */
export interface BoxIndex {
  readonly kind: "boxes";
  readonly tree: BoxTree;
  readonly bytes: number;
}

export type ChunkIndex = ValueIndex | GramIndex | PathIndex | BoxIndex;

/** More elements of a chunk's arrays would hold up the event loop, and so would more different ones than the chunk has rows. */
const ITEMS_MAX = 8 * CHUNK_ROWS;

/** Texts with more bytes in all are not sorted: it would take long, and most of the bytes would be kept twice. */
const TEXT_BYTES_MAX = 1 << 22;

/** Null when the column has too many elements or too long texts. Takes some milliseconds. */
export function newValueIndex(column: Column, rowCount: number): ValueIndex | null {
  const values = column.kind === "array" ? column.items : column;
  if (values.kind === "varchar" && values.bytes.length > TEXT_BYTES_MAX) return null;
  const unknown = nullRows(column, rowCount);
  if (column.kind !== "array") {
    const rowOf = Uint16Array.from({ length: rowCount }, (_, row) => row);
    return indexOf(column as ScalarColumn, rowCount, rowOf, unknown);
  }
  const itemCount = column.offsets[rowCount]!;
  return itemCount > ITEMS_MAX ? null : indexOf(column.items, itemCount, rowsOfItems(column, rowCount), unknown);
}

function rowsOfItems({ offsets }: ArrayColumn, rowCount: number): Uint16Array {
  const rows = new Uint16Array(offsets[rowCount]!);
  for (let row = 0; row < rowCount; row++) rows.fill(row, offsets[row]!, offsets[row + 1]!);
  return rows;
}

/** @param rowOf the row of each item @param unknown rows without a value; items without one are left out */
function indexOf(
  column: ScalarColumn,
  count: number,
  rowOf: Uint16Array,
  unknown: Bitset | undefined,
): ValueIndex | null {
  const nulls = nullRows(column, count);
  const view = viewColumn(column, count);
  const keys = view.kind === "text" ? textKeys(column as BytesColumn, count) : numberKeys(view, count);
  if (keys === null) return null;
  const { sorted, codes, codeOf } = keys;
  const rankOf = new Uint16Array(sorted.length);
  sorted.forEach((key, rank) => {
    rankOf[codeOf.get(key)!] = rank;
  });
  const ranks = codes.map((code) => rankOf[code]!);
  const postings = newPostings(ranks, sorted.length, rowOf, nulls);
  const values = view.kind === "text" ? textView(sorted as string[]) : numberView(sorted as (number | bigint)[], view);
  const bytes = postings.rows.byteLength + postings.starts.byteLength + viewBytes(values);
  return { kind: "values", values, count: sorted.length, unknown, bytes, ...postings };
}

interface Keys<Key extends number | bigint | string> {
  /** The different keys, ascending. */
  sorted: Key[];
  /** The number of each key and of each item, in the order of first appearance. */
  codeOf: Map<number | bigint | string, number>;
  codes: Uint16Array;
}

/** Integers beyond 2^53 as bigints, so that different ones stay different. */
function numberKeys({ values, pairs }: NumberView, count: number): Keys<number | bigint> | null {
  const exact = pairs === undefined ? undefined : new BigInt64Array(pairs.buffer, pairs.byteOffset, count);
  const coded = codesOf(count, (i) =>
    exact === undefined || Number.isSafeInteger(values[i]!) ? values[i]! : exact[i]!,
  );
  if (coded === null) return null;
  const { keys } = coded;
  const isPlain = keys.every((key) => typeof key === "number");
  const sorted = isPlain ? Array.from(Float64Array.from(keys).sort()) : keys.sort((a, b) => (a < b ? -1 : 1));
  return { sorted, ...coded };
}

/** One character per byte: such texts sort in the order of their UTF-8. */
function textKeys({ offsets, bytes }: BytesColumn, count: number): Keys<string> | null {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const coded = codesOf(count, (i) => buffer.toString("latin1", offsets[i]!, offsets[i + 1]!));
  if (coded === null) return null;
  return { sorted: coded.keys.sort((a, b) => (a < b ? -1 : 1)), ...coded };
}

function codesOf<Key extends number | bigint | string>(count: number, keyOf: (i: number) => Key) {
  const codeOf = new Map<number | bigint | string, number>();
  const keys: Key[] = [];
  const codes = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    const key = keyOf(i);
    let code = codeOf.get(key);
    if (code === undefined) {
      if (keys.length === CHUNK_ROWS) return null;
      code = keys.push(key) - 1;
      codeOf.set(key, code);
    }
    codes[i] = code;
  }
  return { keys, codeOf, codes };
}

/** Counting sort. @param nulls items without a value: they are left out */
export function newPostings(
  codes: Uint16Array,
  codeCount: number,
  rowOf: Uint16Array,
  nulls: Bitset | undefined,
): Postings {
  const starts = new Uint32Array(codeCount + 1);
  const isNull = (i: number) => nulls !== undefined && ((nulls[i >>> 5]! >>> (i & 31)) & 1) === 1;
  for (let i = 0; i < codes.length; i++) if (!isNull(i)) starts[codes[i]! + 1] = starts[codes[i]! + 1]! + 1;
  for (let code = 0; code < codeCount; code++) starts[code + 1] = starts[code + 1]! + starts[code]!;
  const rows = new Uint16Array(starts[codeCount]!);
  const next = starts.slice(0, codeCount);
  for (let i = 0; i < codes.length; i++)
    if (!isNull(i)) {
      const code = codes[i]!;
      rows[next[code]!] = rowOf[i]!;
      next[code] = next[code]! + 1;
    }
  return { starts, rows };
}

function numberView(sorted: (number | bigint)[], like: NumberView): NumberView {
  const values = Float64Array.from(sorted, Number);
  const pairs =
    like.pairs === undefined ? undefined : new Int32Array(BigInt64Array.from(sorted, (value) => BigInt(value)).buffer);
  return { kind: "numbers", values, pairs, unknown: undefined };
}

function textView(sorted: string[]): TextView {
  const offsets = new Uint32Array(sorted.length + 1);
  sorted.forEach((text, i) => {
    offsets[i + 1] = offsets[i]! + text.length;
  });
  return { kind: "text", offsets, bytes: new Uint8Array(Buffer.from(sorted.join(""), "latin1")), unknown: undefined };
}

function viewBytes(view: RowView): number {
  if (view.kind === "text") return view.offsets.byteLength + view.bytes.byteLength;
  return view.values.byteLength + (view.pairs?.byteLength ?? 0);
}
