/** Reduces the hits of a search as reduceSearch does, those of many queries a few at a time: the event loop is not held. */
import type { Clock } from "../clock.ts";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import { takeTurn } from "../turns.ts";
import { hitsOfQueries, pickHits } from "./reduce.ts";
import { reduceSearch } from "./reduce-groups.ts";

/** Hits of all parts between two turns, as far as they are of several queries: some milliseconds. */
export const HITS_A_TURN = 32_768;

/** @param parts one at least. @throws VdbError as reduceSearch */
export async function reduceInTurns(
  parts: readonly SearchHits[],
  search: VectorSearch,
  clock: Clock,
): Promise<SearchHits> {
  if (parts.reduce((sum, { distances }) => sum + distances.length, 0) <= HITS_A_TURN)
    return reduceSearch(parts, search);
  const slices: SearchHits[] = [];
  for (let from = 0; from < search.queryCount; ) {
    const to = sliceEnd(parts, from, search.queryCount);
    await takeTurn(clock);
    const slice = parts.map((part) => hitsOfQueries(part, from, to));
    slices.push(reduceSearch(slice, { ...search, queryCount: to - from }));
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
