/**
 * An inverted index over rows of sparse vectors: for each term the rows that have it, ascending, with their values, in
 * blocks with the greatest value and the smallest row length of each. The same index serves inner products and BM25,
 * whose saturation depends on the mean length of all texts and so is bounded only when a search knows it.
 *
 * Built in turns, then immutable. Pairs with the value 0 are left out: they add nothing to any score.
 */
import type { SparseVectorColumn } from "../segment/column.ts";
import type { Pace } from "./pace.ts";
import { firstPair, pairsOf, type SparsePairs } from "./sparse-rows.ts";
import { TermTable } from "./term-table.ts";

/** Postings of a block. */
export const BLOCK = 64;

/** Number of a pair that is left out. */
const NONE = 0xffffffff;

export interface SparseIndex {
  /** Row 0 of the index is this row of the segment. */
  readonly firstRow: number;
  readonly rowCount: number;
  /** The numbers of terms, which index the arrays below. */
  readonly terms: TermTable;
  /** Postings of term t: starts[t] to before starts[t + 1]. */
  readonly starts: Uint32Array;
  readonly rows: Uint32Array;
  readonly values: Float32Array;
  /** Blocks of term t: blockStarts[t] to before blockStarts[t + 1]. */
  readonly blockStarts: Uint32Array;
  readonly blockMaxValue: Float32Array;
  readonly blockMinLength: Float32Array;
  /** For each row, the sum of its values. */
  readonly lengths: Float32Array;
  readonly totalLength: number;
  readonly memoryBytes: number;
}

/** Rows of one chunk; undefined: they have no such field. */
export interface SparseChunk {
  readonly rowCount: number;
  readonly column: SparseVectorColumn | undefined;
}

/** @param chunks of consecutive rows, the first of which is row `firstRow` of the segment */
export async function buildSparseIndex(
  firstRow: number,
  chunks: readonly SparseChunk[],
  pace: Pace,
): Promise<SparseIndex> {
  const rowCount = chunks.reduce((sum, chunk) => sum + chunk.rowCount, 0);
  const sources = chunks.map(({ column }) => (column === undefined ? undefined : pairsOf(column)));
  const pairCount = sources.reduce((sum, pairs) => sum + (pairs === undefined ? 0 : pairEnd(pairs)), 0);
  const terms = new TermTable();
  const lengths = new Float32Array(rowCount);
  // The term number of each pair, so that terms are looked up once.
  const numbers = new Uint32Array(pairCount);
  let counts = new Uint32Array(1024);
  let totalLength = 0;
  let kept = 0;
  await eachRow(
    chunks,
    sources,
    pace,
    (pairs, from, to, row, at) => {
      let length = 0;
      for (let pair = from; pair < to; pair++) {
        const value = pairs.values[2 * pair + 1]!;
        const number = value === 0 ? NONE : terms.add(pairs.terms[2 * pair]!);
        numbers[at + pair] = number;
        if (number === NONE) continue;
        if (number >= counts.length) counts = doubled(counts);
        counts[number] = counts[number]! + 1;
        length += value;
        kept++;
      }
      lengths[row] = length;
      totalLength += lengths[row]!;
    },
    terms,
  );
  const starts = startsOf(counts, terms.size, 1);
  const rows = new Uint32Array(kept);
  const values = new Float32Array(kept);
  const next = starts.slice(0, terms.size);
  await eachRow(chunks, sources, pace, (pairs, from, to, row, at) => {
    for (let pair = from; pair < to; pair++) {
      const number = numbers[at + pair]!;
      if (number === NONE) continue;
      const place = next[number]!;
      next[number] = place + 1;
      rows[place] = row;
      values[place] = pairs.values[2 * pair + 1]!;
    }
  });
  const postings = { starts, rows, values, lengths, blockStarts: startsOf(counts, terms.size, BLOCK) };
  const blocks = await blockBounds(postings, pace);
  const arrays = [starts, rows, values, lengths, postings.blockStarts, blocks.blockMaxValue, blocks.blockMinLength];
  const memoryBytes = arrays.reduce((sum, { byteLength }) => sum + byteLength, terms.memoryBytes);
  return { firstRow, rowCount, terms, ...postings, ...blocks, totalLength, memoryBytes };
}

/**
 * Calls `visit` with each row's pairs; `at`: number of the pairs of the chunks before.
 * @param terms has room for the row's terms when it is visited
 */
async function eachRow(
  chunks: readonly SparseChunk[],
  sources: readonly (SparsePairs | undefined)[],
  pace: Pace,
  visit: (pairs: SparsePairs, from: number, to: number, row: number, at: number) => void,
  terms?: TermTable,
): Promise<void> {
  let firstRow = 0;
  let at = 0;
  for (let chunk = 0; chunk < chunks.length; chunk++) {
    const pairs = sources[chunk];
    if (pairs !== undefined) {
      for (let row = 0; row < chunks[chunk]!.rowCount; row++) {
        const from = firstPair(pairs, row);
        const to = firstPair(pairs, row + 1);
        if (pace.isDue(8 + to - from)) await pace.turn();
        if (terms?.hasRoom(to - from) === false) await terms.reserve(to - from, pace);
        visit(pairs, from, to, firstRow + row, at);
      }
      at += pairEnd(pairs);
    }
    firstRow += chunks[chunk]!.rowCount;
  }
}

function pairEnd({ offsets }: SparsePairs): number {
  return offsets.at(-1)! / 8;
}

function startsOf(counts: Uint32Array, size: number, unit: number): Uint32Array<ArrayBuffer> {
  const starts = new Uint32Array(size + 1);
  for (let i = 0; i < size; i++) starts[i + 1] = starts[i]! + Math.ceil(counts[i]! / unit);
  return starts;
}

async function blockBounds(
  {
    starts,
    rows,
    values,
    lengths,
    blockStarts,
  }: Pick<SparseIndex, "starts" | "rows" | "values" | "lengths" | "blockStarts">,
  pace: Pace,
): Promise<Pick<SparseIndex, "blockMaxValue" | "blockMinLength">> {
  const blockMaxValue = new Float32Array(blockStarts.at(-1)!);
  const blockMinLength = new Float32Array(blockStarts.at(-1)!);
  for (let term = 0; term + 1 < starts.length; term++) {
    let at = starts[term]!;
    for (let block = blockStarts[term]!; block < blockStarts[term + 1]!; block++) {
      const end = Math.min(starts[term + 1]!, at + BLOCK);
      if (pace.isDue(8 + end - at)) await pace.turn();
      let maxValue = 0;
      let minLength = Number.POSITIVE_INFINITY;
      for (; at < end; at++) {
        maxValue = Math.max(maxValue, values[at]!);
        minLength = Math.min(minLength, lengths[rows[at]!]!);
      }
      blockMaxValue[block] = maxValue;
      blockMinLength[block] = minLength;
    }
  }
  return { blockMaxValue, blockMinLength };
}

function doubled(counts: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(counts.length * 2);
  larger.set(counts);
  return larger;
}
