/**
 * Search of a sealed segment: through its index, or exactly where there is none. A filter goes into the index where the
 * engine has filters (it then finds k rows whenever k are allowed); otherwise over-fetch.ts makes up for it. Where an
 * index finds too few, the segment is scanned: k rows come back whenever k rows are allowed.
 */
import { isQuantised, type SearchParams } from "../../runtime/ann/index-params.ts";
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
import type { Work } from "../../runtime/turns.ts";
import { asSegmentRows, type Engines, type LoadedIndex } from "./loaded-index.ts";
import { type LoadedSegment, scannerOf } from "./loaded-segments.ts";
import { overFetch } from "./over-fetch.ts";

/** An approximate index has not seen all equally far rows anyway: asking for many more of them would not make it exact. */
const TIES_SEEN_APPROXIMATELY: TiesSeen = { first: 1, most: 32 };

interface Tools extends Engines, Work {
  deadline: number;
}

type Request = Pick<SearchSegments, "search" | "filter" | "readTs" | "expiredTs">;

export async function searchSealed(tools: Tools, loaded: LoadedSegment, request: Request): Promise<SearchHits> {
  const { segment } = loaded;
  const { search } = request;
  const { readTs, expiredTs, filter } = request;
  const { clock, deadline, signal, stopped } = tools;
  const read = { readTs, expiredTs, filter, clock, deadline, signal, stopped };
  if (search.sparse !== undefined) return loaded.sparse.search(search, await allowedChunks(segment, read), tools);
  const index = loaded.indexes.get(search.fieldId);
  if (index !== undefined && isOfUse(index, search)) {
    const allowed = await segmentRows(segment, read, index.indexed);
    if (allowed?.count === 0) return emptyHits(search.queryCount, segment.keyKind);
    const tops = await searchIndex(tools, segment, index, search, allowed);
    if (tops !== null) return segmentHits(segment, tops);
  }
  // Chosen in the same instant in which allowedChunks takes the segment's chunks: these keep their vectors where they are
  // now, in memory or in the file, while the segment's may move.
  const scanner = scannerOf(tools, loaded, search.fieldId);
  const chunks = await allowedChunks(segment, read);
  return scanAllowed(segment, search, { ...tools, ...scanner }, chunks);
}

/** An index of another metric was dropped: its segment has not been told yet. */
function isOfUse({ metric, spec }: LoadedIndex, search: VectorSearch): boolean {
  return metric === search.metric && !(search.isExact === true && isQuantised(spec.type));
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
  const count = allowed?.count ?? index.rowCount;
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
    // Inserts do not check keys: the best rows may share keys, and be too few different ones.
    const tops = segment.hasRepeatedKeys ? await distinctTops(segment, all, wanted, tools.clock) : all;
    // A band may hold few rows: fewer than were asked for are all that the index can find in it.
    const isEnough = ({ rows }: TopRows, query: number) =>
      rows.length >= wanted || (isRange && all[query]!.rows.length < k);
    if (tops.every(isEnough)) return tops;
    const isExhausted = k === count || !segment.hasRepeatedKeys;
    // An index that searched only some of its lists finds fewer rows than there are.
    if (isExhausted) return all.every(({ rows }) => rows.length === k) ? tops : null;
    const { queryCount } = search;
    if (queryCount > 1 && k * WIDEN * queryCount > FOUND_MAX) return searchEach(tools, segment, index, search, allowed);
  }
}

/** As searchIndex, but one query at a time: widening the search for many at once would bring too many rows. */
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

/** The effort that a search names; where it names none, the index's default applies. */
export function effortOf({ ef, nprobe }: VectorSearch): SearchParams {
  return { ...(ef === undefined ? {} : { ef }), ...(nprobe === undefined ? {} : { nprobe }) };
}
