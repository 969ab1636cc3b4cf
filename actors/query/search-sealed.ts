/**
 * Search of sealed segments: through their indexes, or exactly where there is none. A filter goes into the index where
 * the engine has filters (it then finds k rows whenever k are allowed); otherwise over-fetch.ts makes up for it. What an
 * index does not find enough of is scanned: k rows come back whenever k rows are allowed.
 */
import { isQuantised, type SearchParams } from "../../runtime/ann/index-params.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { SearchSegments } from "../../runtime/protocol/query.ts";
import type { SearchHits, VectorSearch } from "../../runtime/protocol/values.ts";
import {
  allowedChunks,
  distinctTops,
  joinedRows,
  rangeOf,
  scanAllowed,
  WIDEN,
} from "../../runtime/search/scan-segment.ts";
import { segmentHits, topsOf } from "../../runtime/search/segment-hits.ts";
import type { Bitset } from "../../runtime/segment/bitset.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import type { TopRows } from "../../runtime/topk.ts";
import type { Engines, LoadedIndex } from "./loaded-index.ts";
import { type LoadedSegment, scannerOf } from "./loaded-segments.ts";
import { overFetch } from "./over-fetch.ts";

/** Rows of a segment that a search may find, where those are not all. */
export interface Allowed {
  readonly bits: Bitset;
  readonly count: number;
}

interface Tools extends Engines {
  clock: Clock;
  deadline: number;
}

type Request = Pick<SearchSegments, "search" | "filter" | "readTs" | "expiredTs">;

export async function searchSealed(tools: Tools, loaded: LoadedSegment, request: Request): Promise<SearchHits> {
  const { segment } = loaded;
  const { search } = request;
  const chunks = await allowedChunks(segment, { ...request, clock: tools.clock });
  if (search.sparse !== undefined) return loaded.sparse.search(search, chunks, tools);
  const index = loaded.indexes.get(search.fieldId);
  const isOfUse = index !== undefined && !(search.isExact === true && isQuantised(index.spec.type));
  if (isOfUse) {
    const tops = await searchIndex(tools, segment, index, search, joinedRows(chunks, segment.rowCount));
    if (tops !== null) return segmentHits(segment, tops);
  }
  return scanAllowed(segment, search, { ...tools, ...scannerOf(tools, loaded, search.fieldId) }, chunks);
}

/** Null when the index has found too few. @param allowed null: all rows */
async function searchIndex(
  tools: Tools,
  segment: Segment,
  index: LoadedIndex,
  search: VectorSearch,
  allowed: Allowed | null,
): Promise<TopRows[] | null> {
  const { deadline } = tools;
  if (allowed?.count === 0) return null;
  const range = rangeOf(search);
  const isRange = range.radius !== undefined || range.rangeFilter !== undefined;
  if (isRange && !index.hasFilter) return null;
  if (allowed !== null && !index.hasFilter) return overFetch(tools, segment, index, search, allowed);
  const filter = allowed === null ? {} : { allow: allowed.bits, allowedCount: allowed.count };
  const count = allowed?.count ?? segment.rowCount;
  const wanted = Math.min(search.topK, count);
  for (let k = wanted; ; k = Math.min(count, k * WIDEN)) {
    const options = { deadline, ...filter, ...range };
    const all = topsOf(await index.search(search.queries, k, effortOf(search), options), search.queryCount);
    // Inserts do not check keys: the best rows may be of fewer keys than are wanted.
    const tops = segment.hasRepeatedKeys ? await distinctTops(segment, all, wanted, tools.clock) : all;
    // A band has as many rows as it has: fewer than were asked for are all that the index finds in it.
    const isEnough = ({ rows }: TopRows, query: number) =>
      rows.length >= wanted || (isRange && all[query]!.rows.length < k);
    if (tops.every(isEnough)) return tops;
    const isExhausted = k === count || !segment.hasRepeatedKeys;
    // An index that looked into few of its lists has fewer than are there.
    if (isExhausted) return all.every(({ rows }) => rows.length === k) ? tops : null;
  }
}

/** What a search says of its effort; what it does not say the index's own default decides. */
export function effortOf({ ef, nprobe }: VectorSearch): SearchParams {
  return { ...(ef === undefined ? {} : { ef }), ...(nprobe === undefined ? {} : { nprobe }) };
}
