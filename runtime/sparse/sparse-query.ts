/** The sparse queries of a search, as the index takes them. */
import { distanceRange } from "../ann/distance-range.ts";
import type { VectorSearch } from "../protocol/values.ts";
import { ANY_SCORE, type ScoreBand, type SparseQuery } from "./search-index.ts";

/** What one of the queries looks for. */
export function sparseQuery({ bm25, dropRatio = 0, sparse }: VectorSearch, query: number): SparseQuery {
  const { offsets, terms, values } = sparse!;
  const start = offsets[query]!;
  const end = offsets[query + 1]!;
  return withoutSmallest({ terms: terms.subarray(start, end), weights: values.subarray(start, end), bm25 }, dropRatio);
}

/** A row without a term of the query has no score, whatever the band. */
export function scoreBand(search: VectorSearch): ScoreBand {
  const range = distanceRange(search.metric, search);
  return range === null ? ANY_SCORE : { above: Math.max(ANY_SCORE.above, range.far), upTo: range.near };
}

/** The query without the given share of its terms, those of the smallest weights, and without terms of weight 0. */
function withoutSmallest({ terms, weights, bm25 }: SparseQuery, dropRatio: number): SparseQuery {
  const smallest = weights.slice().sort()[Math.floor(weights.length * dropRatio)] ?? 0;
  const kept = Array.from(weights.keys()).filter(
    (i) => weights[i]! > 0 && (dropRatio === 0 || weights[i]! >= smallest),
  );
  if (kept.length === weights.length) return { terms, weights, bm25 };
  return {
    terms: Uint32Array.from(kept, (i) => terms[i]!),
    weights: Float32Array.from(kept, (i) => weights[i]!),
    bm25,
  };
}
