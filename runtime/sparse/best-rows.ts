/**
 * The best rows of a segment for one query; among equal scores, those with the smaller keys. Short texts often have equal
 * scores: which of them are among the best k must not depend on the order in which they were written.
 */
import { keysOfRows } from "../search/segment-hits.ts";
import { compareKeys, keyAt } from "../segment/keys.ts";
import type { Segment } from "../segment/segment.ts";
import { TopK, type TopRows } from "../topk.ts";
import type { Pace } from "./pace.ts";
import type { ScoreBand } from "./search-index.ts";

/** Most rows of one score that are compared by key; if there are more, the first ones are. */
const TIES_MAX = 16_384;

/** Ordering a row by its key, in units of a pace. */
const WORK_A_TIE = 64;

/** @param find offers the rows whose scores lie in the band */
export async function bestRows(
  segment: Segment,
  k: number,
  { band, find, pace }: { band: ScoreBand; find: (top: TopK, band: ScoreBand) => Promise<void>; pace: Pace },
): Promise<TopRows> {
  const top = new TopK(k + 1, true);
  await find(top, band);
  const { rows, distances } = top.drain();
  const best = { rows: rows.subarray(0, k), distances: distances.subarray(0, k) };
  const score = distances[k];
  if (score === undefined || score !== distances[k - 1]) return best;
  // Several rows have the score of the last place: find all of them. A second search costs less, since its bound is known.
  const ties = new TopK(TIES_MAX, true);
  await find(ties, { above: nextBelow(score), upTo: score });
  const tied = ties.drain().rows;
  // Ordering that many takes some milliseconds per query.
  if (pace.isDue(WORK_A_TIE * tied.length)) await pace.turn();
  const keys = keysOfRows(segment, Uint32Array.from(tied));
  const order = Array.from(tied.keys()).sort((a, b) => compareKeys(keyAt(keys, a), keyAt(keys, b)));
  const first = distances.indexOf(score);
  const chosen = Int32Array.from(best.rows);
  for (let place = first; place < k; place++) chosen[place] = tied[order[place - first]!]!;
  return { rows: chosen, distances: best.distances };
}

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** The next float32 below one that is above 0. */
function nextBelow(value: number): number {
  float[0] = value;
  bits[0] = bits[0]! - 1;
  return float[0]!;
}
