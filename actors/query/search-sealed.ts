/**
 * Search of sealed segments: through their indexes, or exactly where there is none. A filter goes into the index where
 * the engine has filters (it then finds k rows whenever k are allowed); otherwise over-fetch.ts makes up for it. What an
 * index does not find enough of is scanned: k rows come back whenever k rows are allowed.
 */
import { isQuantised, type SearchParams } from "../../runtime/ann/index-params.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { SearchSegments } from "../../runtime/protocol/query.ts";
import type { SearchHits, VectorSearch } from "../../runtime/protocol/values.ts";
import type { AllowedRows } from "../../runtime/scalar-index/kept-rows.ts";
import { queriesOf } from "../../runtime/search/queries.ts";
import {
  allowedChunks,
  distinctTops,
  FOUND_MAX,
  rangeOf,
  scanAllowed,
  smallestKeys,
  TIES_SEEN,
  type TiesSeen,
  WIDEN,
} from "../../runtime/search/scan-segment.ts";
import { emptyHits, segmentHits, topsOf } from "../../runtime/search/segment-hits.ts";
import { segmentRows } from "../../runtime/search/segment-rows.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import type { TopRows } from "../../runtime/topk.ts";
import { asSegmentRows, type Engines, type LoadedIndex } from "./loaded-index.ts";
import { type LoadedSegment, scannerOf } from "./loaded-segments.ts";
import { overFetch } from "./over-fetch.ts";

/** An index that approximates has not seen all rows that are equally far: looking for many more of them would not make it exact. */
const TIES_SEEN_APPROXIMATELY: TiesSeen = { first: 1, most: 32 };

interface Tools extends Engines {
  clock: Clock;
  deadline: number;
}

type Request = Pick<SearchSegments, "search" | "filter" | "readTs" | "expiredTs">;

export async function searchSealed(tools: Tools, loaded: LoadedSegment, request: Request): Promise<SearchHits> {
  const { segment } = loaded;
  const { search } = request;
  const { readTs, expiredTs, filter } = request;
  const read = { readTs, expiredTs, filter, clock: tools.clock };
  if (search.sparse !== undefined) return loaded.sparse.search(search, await allowedChunks(segment, read), tools);
  const index = loaded.indexes.get(search.fieldId);
  const isOfUse = index !== undefined && !(search.isExact === true && isQuantised(index.spec.type));
  if (isOfUse) {
    const allowed = await segmentRows(segment, read, index.indexed);
    if (allowed?.count === 0) return emptyHits(search.queryCount, segment.keyKind);
    const tops = await searchIndex(tools, segment, index, search, allowed);
    if (tops !== null) return segmentHits(segment, tops);
  }
  // As long as nothing is waited for in between, this is who may read the vectors of these chunks: they move meanwhile.
  const scanner = scannerOf(tools, loaded, search.fieldId);
  const chunks = await allowedChunks(segment, read);
  return scanAllowed(segment, search, { ...tools, ...scanner }, chunks);
}

/** Null when the index has found too few. @param allowed rows of the index; null: all */
async function searchIndex(
  tools: Tools,
  segment: Segment,
  index: LoadedIndex,
  search: VectorSearch,
  allowed: AllowedRows | null,
): Promise<TopRows[] | null> {
  const { deadline } = tools;
  const range = rangeOf(search);
  const isRange = range.radius !== undefined || range.rangeFilter !== undefined;
  if (isRange && !index.hasFilter) return null;
  if (allowed !== null && !index.hasFilter) return overFetch(tools, segment, index, search, allowed);
  const filter = allowed === null ? {} : { allow: allowed.bits, allowedCount: allowed.count };
  const count = allowed?.count ?? index.indexed?.present.count ?? segment.rowCount;
  const wanted = Math.min(search.topK, count);
  const seen = index.spec.type === "FLAT" ? TIES_SEEN : TIES_SEEN_APPROXIMATELY;
  const options = { deadline, ...filter, ...range };
  const find = async (k: number, from: number, to: number) => {
    const { queries, queryCount } = queriesOf(search, from, to);
    const found = await index.search(queries, Math.min(k, count), effortOf(search), options);
    return asSegmentRows(topsOf(found, queryCount), index.indexed);
  };
  for (let k = wanted; ; k = Math.min(count, k * WIDEN)) {
    const all = await smallestKeys(segment, { k, queryCount: search.queryCount, seen, clock: tools.clock }, find);
    // Inserts do not check keys: the best rows may be of fewer keys than are wanted.
    const tops = segment.hasRepeatedKeys ? await distinctTops(segment, all, wanted, tools.clock) : all;
    // A band has as many rows as it has: fewer than were asked for are all that the index finds in it.
    const isEnough = ({ rows }: TopRows, query: number) =>
      rows.length >= wanted || (isRange && all[query]!.rows.length < k);
    if (tops.every(isEnough)) return tops;
    const isExhausted = k === count || !segment.hasRepeatedKeys;
    // An index that looked into few of its lists has fewer than are there.
    if (isExhausted) return all.every(({ rows }) => rows.length === k) ? tops : null;
    const { queryCount } = search;
    if (queryCount > 1 && k * WIDEN * queryCount > FOUND_MAX) return searchEach(tools, segment, index, search, allowed);
  }
}

/** As searchIndex, query by query: of many at once many more rows would be too many. */
async function searchEach(
  tools: Tools,
  segment: Segment,
  index: LoadedIndex,
  search: VectorSearch,
  allowed: AllowedRows | null,
): Promise<TopRows[] | null> {
  const tops: TopRows[] = [];
  for (let query = 0; query < search.queryCount; query++) {
    const one = { ...search, ...queriesOf(search, query, query + 1) };
    const found = await searchIndex(tools, segment, index, one, allowed);
    if (found === null) return null;
    tops.push(...found);
  }
  return tops;
}

/** What a search says of its effort; what it does not say the index's own default decides. */
export function effortOf({ ef, nprobe }: VectorSearch): SearchParams {
  return { ...(ef === undefined ? {} : { ef }), ...(nprobe === undefined ? {} : { nprobe }) };
}
