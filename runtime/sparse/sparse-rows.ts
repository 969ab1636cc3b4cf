/**
 * Sparse vectors in memory. A column holds pairs of a term (uint32) and a value (float32), 8 bytes each, by ascending term
 * within a row (segment/column.ts); here they are read in place, without an object per pair.
 */
import type { ColumnBatch, SparseVectorColumn } from "../segment/column.ts";

const PAIR_BYTES = 8;

/** A column's pairs through two views of the same bytes: pair p is terms[2 * p] and values[2 * p + 1]. */
export interface SparsePairs {
  readonly terms: Uint32Array;
  readonly values: Float32Array;
  /** In bytes: row r has the pairs from offsets[r] / 8 to before offsets[r + 1] / 8. */
  readonly offsets: Uint32Array;
}

/** Copies of bytes that are not aligned to words; they live as long as the column. */
const aligned = new WeakMap<Uint8Array, Uint8Array>();

export function pairsOf({ bytes, offsets }: SparseVectorColumn): SparsePairs {
  const { buffer, byteOffset, byteLength } = alignedBytes(bytes);
  const words = byteLength >>> 2;
  return {
    terms: new Uint32Array(buffer, byteOffset, words),
    values: new Float32Array(buffer, byteOffset, words),
    offsets,
  };
}

function alignedBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.byteOffset % 4 === 0) return bytes;
  let copy = aligned.get(bytes);
  if (copy === undefined) {
    copy = new Uint8Array(bytes);
    aligned.set(bytes, copy);
  }
  return copy;
}

export function firstPair({ offsets }: SparsePairs, row: number): number {
  return offsets[row]! / PAIR_BYTES;
}

/**
 * The first position from `from` on whose term is not below `term`, found in growing steps: a row has few of a long query's
 * terms, and looking at all the others for each row would hold the event loop.
 */
export function placeOf(terms: Uint32Array, term: number, from: number): number {
  let low = from;
  let step = 1;
  while (low + step < terms.length && terms[low + step]! < term) {
    low += step;
    step *= 2;
  }
  let high = Math.min(terms.length, low + step);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (terms[middle]! < term) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The sum of a row's values: of term counts, the length of the text in terms. */
export function rowLength(pairs: SparsePairs, row: number): number {
  const { values } = pairs;
  let length = 0;
  for (let at = 2 * firstPair(pairs, row) + 1; at < 2 * firstPair(pairs, row + 1); at += 2) length += values[at]!;
  return length;
}

/** The batch's column of a sparse field; undefined if its rows have none. */
export function sparseColumn({ columns }: ColumnBatch, fieldId: number): SparseVectorColumn | undefined {
  const column = columns[fieldId];
  return column?.kind === "sparseVector" ? (column as SparseVectorColumn) : undefined;
}

/** A column of rows that are given as ascending terms with their values. */
export function sparseColumnOf(
  rows: readonly { terms: ArrayLike<number>; values: ArrayLike<number> }[],
): SparseVectorColumn {
  const offsets = new Uint32Array(rows.length + 1);
  for (let row = 0; row < rows.length; row++) offsets[row + 1] = offsets[row]! + rows[row]!.terms.length * PAIR_BYTES;
  const bytes = new Uint8Array(offsets[rows.length]!);
  const terms = new Uint32Array(bytes.buffer);
  const values = new Float32Array(bytes.buffer);
  let at = 0;
  for (const row of rows) {
    for (let i = 0; i < row.terms.length; i++) {
      terms[at] = row.terms[i]!;
      values[at + 1] = row.values[i]!;
      at += 2;
    }
  }
  return { kind: "sparseVector", offsets, bytes };
}
