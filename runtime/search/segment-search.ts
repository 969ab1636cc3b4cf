/** What a search asks of one segment beyond its nearest rows: groups of them, other scores. */
import type { Clock } from "../clock.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import type { Segment } from "../segment/segment.ts";
import { boostedHits } from "./boost-hits.ts";
import { type FindHits, groupedHits } from "./group-hits.ts";

/** Rows of which a boost chooses the best, for each that is wanted: some that are a little further away must be among them. */
const CANDIDATES = 4;
const CANDIDATES_MIN = 128;

/** @param find the nearest rows, however the segment is searched for them */
export async function searchSegment(
  segment: Segment,
  search: VectorSearch,
  filter: FilterPlan | null,
  find: FindHits,
  clock: Clock,
): Promise<SearchHits> {
  const { group, boost, metric } = search;
  if (group !== undefined) return groupedHits(segment, search, group, filter, find, clock);
  if (boost === undefined) return find(search, filter);
  const candidates = Math.max(
    search.topK,
    Math.min(segment.rowCount, Math.max(CANDIDATES_MIN, CANDIDATES * search.topK)),
  );
  return boostedHits(segment, await find({ ...search, topK: candidates }, filter), boost, metric, clock);
}
