/**
 * The best rows of an index for one query: MaxScore over windows of rows. Within a window the terms whose bounds add up to no
 * more than what a row must beat cannot bring a row in by themselves; only the postings of the others are walked, and a row
 * found there is looked up in the rest while it can still get in. Windows that cannot get any row in are skipped. The result is
 * exact: a row is left out only if even its bounds would not bring it in.
 */
import { type Bitset, hasBit } from "../segment/bitset.ts";
import type { TopK } from "../topk.ts";
import type { Pace } from "./pace.ts";
import { BLOCK, type SparseIndex } from "./sparse-index.ts";

/** Rows of a window; their scores stay in the processor's cache. */
const WINDOW = 4096;

/** Rows of a window that are searched together when one of them has a score. */
const SPAN_BITS = 6;
const SPAN = 1 << SPAN_BITS;

/** Bounds and scores add the same numbers in different orders: this exceeds the difference that can make in a sum of float64. */
const SLACK = 1 + 1e-9;

/** How a term's value in a row contributes to its score, besides the query's weight. */
export interface Bm25 {
  readonly k1: number;
  readonly b: number;
  /** Mean length of a text in terms. */
  readonly averageLength: number;
}

export interface SparseQuery {
  /** Ascending. */
  readonly terms: Uint32Array;
  /** Above 0. */
  readonly weights: Float32Array;
  /** Absent: the score is the inner product. */
  readonly bm25: Bm25 | undefined;
}

/** Scores that count, as float32: above `above`, which is 0 or more, and up to `upTo`. */
export interface ScoreBand {
  readonly above: number;
  readonly upTo: number;
}

export const ANY_SCORE: ScoreBand = { above: 0, upTo: Number.POSITIVE_INFINITY };

export function isWithin({ above, upTo }: ScoreBand, score: number): boolean {
  const reported = Math.fround(score);
  return reported > above && reported <= upTo;
}

/** BM25 in the form w * (k1 + 1) * tf / (tf + flat + sloped * length). */
export function saturationOf({ k1, b, averageLength }: Bm25): { flat: number; sloped: number } {
  return { flat: k1 * (1 - b), sloped: averageLength > 0 ? (k1 * b) / averageLength : 0 };
}

/** The terms of a query that the index has, with the positions of their postings. */
interface Cursor {
  readonly weight: number;
  readonly end: number;
  readonly firstBlock: number;
  /** Postings before it belong to rows before the window, or have been walked. */
  at: number;
  /** For each block, the most that one of its rows can get. */
  readonly bounds: Float64Array;
  /** The most that a row of this window can get. */
  bound: number;
}

/** Where a window's scores are summed: all zero between windows. */
interface Scratch {
  readonly scores: Float64Array;
  /** For each span, whether one of its rows has a score. */
  readonly touched: Uint8Array;
}

const SCRATCH_KEPT = 16;
const idleScratch: Scratch[] = [];

function newScratch(): Scratch {
  return { scores: new Float64Array(WINDOW), touched: new Uint8Array(WINDOW / SPAN) };
}

/**
 * Offers rows to `top`, as rows of the segment. Rows must be offered to a `top` in ascending order.
 * @param allow rows of the index that may be found; null: all
 */
export async function searchIndex(
  index: SparseIndex,
  query: SparseQuery,
  { top, band, allow, pace }: { top: TopK; band: ScoreBand; allow: Bitset | null; pace: Pace },
): Promise<void> {
  if (pace.isDue(16 * query.terms.length)) await pace.turn();
  const cursors = cursorsOf(index, query);
  if (cursors.length === 0) return;
  const scratch = idleScratch.pop() ?? newScratch();
  const { scores, touched } = scratch;
  const sums = new Float64Array(cursors.length + 1);
  const walk = walkerOf(index, query.bm25);
  const valueAt = scorerOf(index, query.bm25);

  for (let from = 0; from < index.rowCount; from += WINDOW) {
    const to = Math.min(index.rowCount, from + WINDOW);
    const live: Cursor[] = [];
    let work = 64 + 4 * cursors.length;
    for (const cursor of cursors) {
      cursor.bound = boundWithin(index, cursor, from, to);
      if (cursor.bound > 0) live.push(cursor);
    }
    live.sort((a, b) => a.bound - b.bound);
    for (let i = 0; i < live.length; i++) sums[i + 1] = sums[i]! + live[i]!.bound;
    let toBeat = Math.max(top.worst(), band.above);
    let optional = 0;
    while (optional < live.length && sums[optional + 1]! * SLACK <= toBeat) optional++;
    if (optional < live.length) {
      for (let i = optional; i < live.length; i++) work += walk(live[i]!, from, to, scores, touched);
      const others = sums[optional]!;
      for (let span = 0; span < touched.length; span++) {
        if (touched[span] === 0) continue;
        touched[span] = 0;
        for (let place = span * SPAN; place < (span + 1) * SPAN; place++) {
          let score = scores[place]!;
          if (score === 0) continue;
          scores[place] = 0;
          if ((score + others) * SLACK <= toBeat) continue;
          const row = from + place;
          if (allow !== null && !hasBit(allow, row)) continue;
          let i = optional - 1;
          for (; i >= 0; i--) {
            if ((score + sums[i + 1]!) * SLACK <= toBeat) break;
            score += valueAt(live[i]!, row);
            work += 8;
          }
          if (i >= 0 || !isWithin(band, score)) continue;
          top.push(score, index.firstRow + row);
          toBeat = Math.max(top.worst(), band.above);
        }
      }
    }
    if (pace.isDue(work)) await pace.turn();
  }
  // One that a failed search has left half used is not returned to the pool.
  if (idleScratch.length < SCRATCH_KEPT) idleScratch.push(scratch);
}

function cursorsOf(index: SparseIndex, { terms, weights, bm25 }: SparseQuery): Cursor[] {
  const { starts, blockStarts, blockMaxValue, blockMinLength } = index;
  const saturation = bm25 === undefined ? undefined : saturationOf(bm25);
  const cursors: Cursor[] = [];
  for (let i = 0; i < terms.length; i++) {
    const term = index.terms.find(terms[i]!);
    if (term < 0) continue;
    const weight = bm25 === undefined ? weights[i]! : weights[i]! * (bm25.k1 + 1);
    const firstBlock = blockStarts[term]!;
    const bounds = new Float64Array(blockStarts[term + 1]! - firstBlock);
    for (let block = 0; block < bounds.length; block++) {
      const value = blockMaxValue[firstBlock + block]!;
      // Greatest for the greatest count in the shortest text.
      bounds[block] =
        saturation === undefined
          ? weight * value
          : (weight * value) / (value + saturation.flat + saturation.sloped * blockMinLength[firstBlock + block]!);
    }
    cursors.push({ weight, end: starts[term + 1]!, firstBlock: starts[term]!, at: starts[term]!, bounds, bound: 0 });
  }
  return cursors;
}

/** The most that the term adds to a row of the window; moves the cursor past blocks that end before it. */
function boundWithin({ rows }: SparseIndex, cursor: Cursor, from: number, to: number): number {
  const { bounds, end, firstBlock } = cursor;
  if (cursor.at >= end) return 0;
  let block = Math.floor((cursor.at - firstBlock) / BLOCK);
  while (block < bounds.length && rows[Math.min(end, firstBlock + (block + 1) * BLOCK) - 1]! < from) block++;
  cursor.at = Math.max(cursor.at, firstBlock + block * BLOCK);
  let bound = 0;
  for (; block < bounds.length && rows[firstBlock + block * BLOCK]! < to; block++) {
    if (bounds[block]! > bound) bound = bounds[block]!;
  }
  return bound;
}

type Walk = (cursor: Cursor, from: number, to: number, scores: Float64Array, touched: Uint8Array) => number;

/** Adds a term's values to the window's rows; returns how many. */
function walkerOf({ rows, values, lengths }: SparseIndex, bm25: Bm25 | undefined): Walk {
  const { flat, sloped } = bm25 === undefined ? { flat: 0, sloped: 0 } : saturationOf(bm25);
  return (cursor, from, to, scores, touched) => {
    const { weight, end } = cursor;
    let at = cursor.at;
    while (at < end && rows[at]! < from) at++;
    const start = at;
    // Two loops: look-ups and decisions are most of the cost of a posting.
    if (bm25 === undefined) {
      for (; at < end && rows[at]! < to; at++) {
        const place = rows[at]! - from;
        scores[place] = scores[place]! + weight * values[at]!;
        touched[place >>> SPAN_BITS] = 1;
      }
    } else {
      for (; at < end && rows[at]! < to; at++) {
        const row = rows[at]!;
        const value = values[at]!;
        const place = row - from;
        scores[place] = scores[place]! + (weight * value) / (value + flat + sloped * lengths[row]!);
        touched[place >>> SPAN_BITS] = 1;
      }
    }
    cursor.at = at;
    return at - start;
  };
}

/** What a term adds to one row; rows must ascend from call to call. */
function scorerOf(
  { rows, values, lengths }: SparseIndex,
  bm25: Bm25 | undefined,
): (cursor: Cursor, row: number) => number {
  const { flat, sloped } = bm25 === undefined ? { flat: 0, sloped: 0 } : saturationOf(bm25);
  return (cursor, row) => {
    const { end, firstBlock } = cursor;
    let at = cursor.at;
    let blockEnd = Math.min(end, firstBlock + (Math.floor((at - firstBlock) / BLOCK) + 1) * BLOCK);
    while (at < end && rows[blockEnd - 1]! < row) {
      at = blockEnd;
      blockEnd = Math.min(end, blockEnd + BLOCK);
    }
    while (at < end && rows[at]! < row) at++;
    cursor.at = at;
    if (at >= end || rows[at] !== row) return 0;
    const value = values[at]!;
    return bm25 === undefined
      ? cursor.weight * value
      : (cursor.weight * value) / (value + flat + sloped * lengths[row]!);
  };
}
