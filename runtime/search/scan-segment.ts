/**
 * Exact search of one segment in memory: growing rows, sealed segments too small for an index, and filters that leave
 * few rows. Chunk by chunk, giving way to other work in between.
 */
import { prepareQueries, rowNorms, scanExact, scanRowsMax } from "../ann/exact.ts";
import type { Clock } from "../clock.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import { isDescending } from "../schema.ts";
import { type Bitset, countBits } from "../segment/bitset.ts";
import type { FloatVectorColumn } from "../segment/column.ts";
import { CHUNK_ROWS, type Segment, type Snapshot } from "../segment/segment.ts";
import { TopK, type TopRows } from "../topk.ts";
import { takeTurn } from "../turns.ts";
import { allowedRows } from "./allowed-rows.ts";
import { distinctRows, segmentHits } from "./segment-hits.ts";

/** How many times more rows are kept when those found were of too few keys. */
const WIDEN = 4;

export interface ReadOptions extends Snapshot {
  filter: FilterPlan | null;
  clock: Clock;
}

export async function scanSegment(segment: Segment, search: VectorSearch, options: ReadOptions): Promise<SearchHits> {
  const { filter, clock } = options;
  return scanAllowed(segment, search, clock, (chunk) => allowedRows(segment, segment.chunks[chunk]!, options, filter));
}

/** Exact search over the rows that `allowed` says of each chunk (null: all). */
export async function scanAllowed(
  segment: Segment,
  search: VectorSearch,
  clock: Clock,
  allowed: (chunk: number) => Bitset | null,
): Promise<SearchHits> {
  const { topK } = search;
  for (let k = topK; ; k *= WIDEN) {
    const tops = await scanTops(segment, search, clock, { allowed, k });
    if (!segment.hasRepeatedKeys) return segmentHits(segment, tops);
    // Inserts do not check keys: the best k rows may be of fewer than k keys, while others are there.
    const distinct = tops.map((top) => distinctRows(segment, top, topK));
    const isEnough = distinct.every(({ rows }, query) => rows.length === topK || tops[query]!.rows.length < k);
    if (isEnough) return segmentHits(segment, distinct);
  }
}

async function scanTops(
  segment: Segment,
  search: VectorSearch,
  clock: Clock,
  { allowed, k }: { allowed: (chunk: number) => Bitset | null; k: number },
): Promise<TopRows[]> {
  const { metric, queries, queryCount, fieldId } = search;
  const tops = Array.from({ length: queryCount }, () => new TopK(k, isDescending(metric)));
  const dimension = queries.length / queryCount;
  // As many queries a pass as one chunk allows within the bound of a scan.
  const groupSize = Math.max(1, Math.floor((scanRowsMax(1, dimension) + 1) / CHUNK_ROWS));
  const groups = Array.from({ length: Math.ceil(queryCount / groupSize) }, (_, g) => {
    const from = g * groupSize;
    const to = Math.min(queryCount, from + groupSize);
    return {
      prepared: prepareQueries(metric, queries.subarray(from * dimension, to * dimension), dimension),
      tops: tops.slice(from, to),
    };
  });
  const { chunks } = segment;
  for (let c = 0; c < chunks.length; c++) {
    const { batch, firstRow } = chunks[c]!;
    const column = batch.columns[fieldId] as FloatVectorColumn | undefined;
    const allow = allowed(c);
    if (column === undefined || (allow !== null && countBits(allow) === 0)) continue;
    const chunk = { vectors: column.values, rowCount: batch.rowCount, firstRow };
    const exactChunk = metric === "COSINE" ? { ...chunk, norms: normsOf(column.values, dimension) } : chunk;
    for (const group of groups) {
      await takeTurn(clock);
      scanExact(group.prepared, exactChunk, allow, group.tops);
    }
  }
  return tops.map((top) => top.drain());
}

/** A chunk's array of vectors is immutable, so its norms are computed once; they go with it. */
const knownNorms = new WeakMap<Float32Array, Float32Array>();

function normsOf(vectors: Float32Array, dimension: number): Float32Array {
  let norms = knownNorms.get(vectors);
  if (norms === undefined) {
    norms = rowNorms(vectors, dimension);
    knownNorms.set(vectors, norms);
  }
  return norms;
}
