/**
 * A search of one segment: its nearest rows, grouped or boosted if the search asks for that.
 */
import type { FilterPlan } from "../expr/plan.ts";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import type { Segment } from "../segment/segment.ts";
import type { Work } from "../turns.ts";
import { boostedHits } from "./boost-hits.ts";
import { type FindHits, groupedHits } from "./group-hits.ts";

/** Candidates for a boost, for each row wanted: rows a little further away may be the best after it. */
const CANDIDATES = 4;
const CANDIDATES_MIN = 128;

/** @param find finds the nearest rows, however the segment is searched */
export async function searchSegment(
  segment: Segment,
  search: VectorSearch,
  filter: FilterPlan | null,
  find: FindHits,
  work: Work,
): Promise<SearchHits> {
  const { group, boost, metric } = search;
  if (group !== undefined) return groupedHits(segment, search, group, filter, find, work.clock);
  if (boost === undefined) return find(search, filter);
  const candidates = Math.max(
    search.topK,
    Math.min(segment.rowCount, Math.max(CANDIDATES_MIN, CANDIDATES * search.topK)),
  );
  return boostedHits(segment, await find({ ...search, topK: candidates }, filter), boost, metric, work);
}
