/**
 * Exact scores of rows without an index: recent ones, and the few that a narrow filter leaves. A row and a query are both
 * ordered by term, so a score is one pass over both.
 */
import { type Bitset, hasBit } from "../segment/bitset.ts";
import type { TopK } from "../topk.ts";
import type { Pace } from "./pace.ts";
import { isWithin, type ScoreBand, type SparseQuery, saturationOf } from "./search-index.ts";
import { firstPair, placeOf, rowLength, type SparsePairs } from "./sparse-rows.ts";

/** Offers rows to `top`, as rows of the segment. @param allow rows of the chunk that may be found; null: all */
export async function scanRows(
  { pairs, firstRow, rowCount }: { pairs: SparsePairs; firstRow: number; rowCount: number },
  query: SparseQuery,
  { top, band, allow, pace }: { top: TopK; band: ScoreBand; allow: Bitset | null; pace: Pace },
): Promise<void> {
  for (let row = 0; row < rowCount; row++) {
    if (allow !== null) {
      if ((row & 31) === 0 && allow[row >>> 5] === 0) {
        row += 31;
        continue;
      }
      if (!hasBit(allow, row)) continue;
    }
    if (pace.isDue(8 + firstPair(pairs, row + 1) - firstPair(pairs, row))) await pace.turn();
    const score = scoreOf(pairs, row, query);
    if (score > 0 && isWithin(band, score)) top.push(score, firstRow + row);
  }
}

function scoreOf(pairs: SparsePairs, row: number, { terms, weights, bm25 }: SparseQuery): number {
  const end = 2 * firstPair(pairs, row + 1);
  let at = 2 * firstPair(pairs, row);
  let score = 0;
  let base = -1;
  const { flat, sloped } = bm25 === undefined ? { flat: 0, sloped: 0 } : saturationOf(bm25);
  for (let i = 0; i < terms.length && at < end; ) {
    const wanted = terms[i]!;
    const term = pairs.terms[at]!;
    if (term < wanted) at += 2;
    else if (term > wanted) i = placeOf(terms, term, i + 1);
    else {
      const value = pairs.values[at + 1]!;
      if (bm25 === undefined) score += weights[i]! * value;
      else if (value > 0) {
        if (base < 0) base = flat + sloped * Math.fround(rowLength(pairs, row));
        score += (weights[i]! * (bm25.k1 + 1) * value) / (value + base);
      }
      at += 2;
      i++;
    }
  }
  return score;
}
