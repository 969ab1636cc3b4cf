/** Reduces the hits of any search, plain or grouped: a few queries at a time, so that the event loop is not held. */
import type { Clock } from "../clock.ts";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import { isDescending } from "../schema.ts";
import { takeTurn } from "../turns.ts";
import { hitsOfQueries, pickHits, reduceHits } from "./reduce.ts";
import { reduceGroups } from "./reduce-groups.ts";

/** Hits of all parts that are reduced in one turn, unless a single query has more: some milliseconds. */
export const HITS_A_TURN = 32_768;

/** @param parts at least one. @throws VdbError unavailable when a node of an older version did not send the groups */
export async function reduceInTurns(
  parts: readonly SearchHits[],
  search: VectorSearch,
  clock: Clock,
): Promise<SearchHits> {
  const { queryCount, topK, metric, group } = search;
  if (group !== undefined) {
    const limits = { queryCount, groupCount: topK, size: group.size, descending: isDescending(metric) };
    return reduceGroups(parts, limits, clock);
  }
  if (parts.reduce((sum, { distances }) => sum + distances.length, 0) <= HITS_A_TURN)
    return reduceHits(parts, queryCount, topK, metric);
  const slices: SearchHits[] = [];
  for (let from = 0; from < queryCount; ) {
    const to = sliceEnd(parts, from, queryCount);
    await takeTurn(clock);
    const slice = parts.map((part) => hitsOfQueries(part, from, to));
    slices.push(reduceHits(slice, to - from, topK, metric));
    from = to;
  }
  await takeTurn(clock);
  return slices.length === 1 ? slices[0]! : joined(slices);
}

function sliceEnd(parts: readonly SearchHits[], from: number, queryCount: number): number {
  let hits = 0;
  let to = from;
  while (to < queryCount) {
    for (const { counts } of parts) hits += counts[to]!;
    if (to > from && hits > HITS_A_TURN) break;
    to++;
  }
  return to;
}

/** The hits of the first slice's queries, then those of the next. */
function joined(slices: readonly SearchHits[]): SearchHits {
  const total = slices.reduce((sum, { distances }) => sum + distances.length, 0);
  const sources = new Uint32Array(total);
  const rows = new Uint32Array(total);
  let at = 0;
  slices.forEach(({ distances: { length } }, source) => {
    sources.fill(source, at, at + length);
    for (let row = 0; row < length; row++) rows[at++] = row;
  });
  return pickHits(slices, Uint32Array.from(slices.flatMap(({ counts }) => [...counts])), { sources, rows });
}
