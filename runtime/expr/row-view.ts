/**
 * The input of the evaluation loops: a column, an array element or an array length, in one of two forms: numbers (Float64Array,
 * plus exact halves for Int64) or UTF-8 slices, with the rows that have no value.
 */
import { type Bitset, bitsetWords, newBitset, setBit } from "../segment/bitset.ts";
import type { ArrayColumn, Column, ScalarColumn } from "../segment/column.ts";
import { hasSmallValues } from "./int64-rows.ts";
import { complement, isEmpty } from "./truth.ts";

export interface NumberView {
  kind: "numbers";
  /** Bools are 0 and 1; an Int64 beyond 2^53 is rounded. */
  values: Float64Array;
  /** Int64 only: low and high half of each value. */
  pairs: Int32Array | undefined;
  unknown: Bitset | undefined;
  /** Int64 only: whether all are small in the sense of int64-rows.ts. Absent: not known. */
  isSmall?: boolean;
}

export interface TextView {
  kind: "text";
  offsets: Uint32Array;
  bytes: Uint8Array;
  unknown: Bitset | undefined;
}

export type RowView = NumberView | TextView;

/** Rows whose value is null, undefined when there are none. */
export function nullRows(column: Column, rowCount: number): Bitset | undefined {
  const valid = "valid" in column ? column.valid : undefined;
  if (valid === undefined) return undefined;
  const nulls = complement(valid.subarray(0, bitsetWords(rowCount)), rowCount);
  return isEmpty(nulls) ? undefined : nulls;
}

/** Borrows the column's buffers where their form is already right. */
export function viewColumn(column: ScalarColumn, rowCount: number): RowView {
  const unknown = nullRows(column, rowCount);
  switch (column.kind) {
    case "varchar":
    case "json":
    case "sparseVector":
      return { kind: "text", offsets: column.offsets, bytes: column.bytes, unknown };
    case "int64": {
      const { buffer, byteOffset } = column.values;
      return new Int64View(column, new Int32Array(buffer, byteOffset, 2 * rowCount), unknown);
    }
    default: {
      const { values } = column;
      const numbers = values instanceof Float64Array ? values : new Float64Array(values.subarray(0, rowCount));
      return { kind: "numbers", values: numbers, pairs: undefined, unknown };
    }
  }
}

/** Comparisons need only the halves: doubles are made on demand. */
class Int64View implements NumberView {
  readonly kind = "numbers";
  readonly pairs: Int32Array;
  readonly unknown: Bitset | undefined;
  readonly #column: ScalarColumn;
  #values: Float64Array | undefined;

  constructor(column: ScalarColumn, pairs: Int32Array, unknown: Bitset | undefined) {
    this.#column = column;
    this.pairs = pairs;
    this.unknown = unknown;
  }

  get values(): Float64Array {
    this.#values ??= roundPairs(this.pairs, this.pairs.length / 2);
    return this.#values;
  }

  get isSmall(): boolean {
    return hasSmallValues(this.#column, this.pairs);
  }
}

function roundPairs(pairs: Int32Array, count: number): Float64Array {
  const values = new Float64Array(count);
  for (let r = 0; r < count; r++) values[r] = pairs[2 * r + 1]! * 4294967296 + (pairs[2 * r]! >>> 0);
  return values;
}

/** The length of each row's array. */
export function viewLengths(column: ArrayColumn, rowCount: number): NumberView {
  const { offsets } = column;
  const values = new Float64Array(rowCount);
  for (let r = 0; r < rowCount; r++) values[r] = offsets[r + 1]! - offsets[r]!;
  return { kind: "numbers", values, pairs: undefined, unknown: nullRows(column, rowCount) };
}

/** Element `index` of each row's array; a null row has an empty slice, so it is as unknown as a short one. */
export function viewElement(column: ArrayColumn, items: RowView, rowCount: number, index: number): RowView {
  const positions = new Int32Array(rowCount);
  const unknown = newBitset(rowCount);
  for (let r = 0; r < rowCount; r++) {
    const at = column.offsets[r]! + index;
    const isThere = at < column.offsets[r + 1]!;
    positions[r] = isThere ? at : -1;
    if (!isThere) setBit(unknown, r);
  }
  const view = items.kind === "text" ? gatherTexts(items, positions) : gatherNumbers(items, positions);
  return { ...view, unknown: isEmpty(unknown) ? undefined : unknown };
}

function gatherNumbers(items: NumberView, positions: Int32Array): NumberView {
  const count = positions.length;
  const values = new Float64Array(count);
  const pairs = items.pairs === undefined ? undefined : newPairs(count);
  for (let r = 0; r < count; r++) {
    const at = positions[r]!;
    if (at < 0) continue;
    values[r] = items.values[at]!;
    if (pairs === undefined) continue;
    pairs[2 * r] = items.pairs![2 * at]!;
    pairs[2 * r + 1] = items.pairs![2 * at + 1]!;
  }
  return { kind: "numbers", values, pairs, unknown: undefined };
}

/** Aligned for a BigInt64Array over the same bytes. */
function newPairs(count: number): Int32Array {
  return new Int32Array(new ArrayBuffer(8 * count));
}

function gatherTexts(items: TextView, positions: Int32Array): TextView {
  const count = positions.length;
  const offsets = new Uint32Array(count + 1);
  for (let r = 0; r < count; r++) {
    const at = positions[r]!;
    offsets[r + 1] = offsets[r]! + (at < 0 ? 0 : items.offsets[at + 1]! - items.offsets[at]!);
  }
  const bytes = new Uint8Array(offsets[count]!);
  for (let r = 0; r < count; r++) {
    const at = positions[r]!;
    if (at >= 0) bytes.set(items.bytes.subarray(items.offsets[at]!, items.offsets[at + 1]!), offsets[r]!);
  }
  return { kind: "text", offsets, bytes, unknown: undefined };
}

/** The 64 bits of each value, for hash sets: an Int64's own, or its double's. */
export function keyPairs(view: NumberView): Int32Array {
  return view.pairs ?? new Int32Array(view.values.buffer, view.values.byteOffset, 2 * view.values.length);
}

/** Rows among the candidates that have a value. */
export function knownRows(unknown: Bitset | undefined, candidates: Bitset): Bitset {
  if (unknown === undefined) return candidates;
  const known = new Uint32Array(candidates.length);
  for (let w = 0; w < known.length; w++) known[w] = candidates[w]! & ~unknown[w]!;
  return known;
}
