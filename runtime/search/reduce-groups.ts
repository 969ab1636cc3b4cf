/**
 * Reduces the hits of a grouped search, at every level as reduce.ts does for plain ones: the best rows of the best groups of
 * each query, one row a primary key. Groups are ordered by their best rows. Hits stay in the order of their distances;
 * actors/proxy/search/pages.ts puts each group's hits together.
 */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { SearchHits } from "../protocol/values.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { keyAt } from "../segment/keys.ts";
import { takeTurn } from "../turns.ts";
import { MergedHits } from "./merged-hits.ts";
import { pickHits } from "./reduce.ts";

export interface GroupLimits {
  queryCount: number;
  /** The most groups of a query, and the most rows of a group. */
  groupCount: number;
  size: number;
  /** Whether a greater distance is better. */
  descending: boolean;
}

/** Hits between two turns: a hit takes about a microsecond. */
const SLICE_HITS = 1_024;

/** @param parts at least one. @throws VdbError unavailable when a node of an older version did not send the groups */
export async function reduceGroups(
  parts: readonly SearchHits[],
  { queryCount, groupCount, size, descending }: GroupLimits,
  clock: Clock,
): Promise<SearchHits> {
  for (const part of parts) groupColumn(part);
  const counts = new Uint32Array(queryCount);
  const sources: number[] = [];
  const rows: number[] = [];
  const starts = parts.map(() => 0);
  let seenHits = 0;
  for (let query = 0; query < queryCount; query++) {
    const before = rows.length;
    const seen = new Set<PrimaryKey>();
    const sizes = new Map<string, number>();
    const hits = new MergedHits(parts, starts, query, descending);
    for (let full = 0; full < groupCount && hits.next(); ) {
      if (++seenHits % SLICE_HITS === 0) await takeTurn(clock);
      if (seen.has(hits.key)) continue;
      seen.add(hits.key);
      const group = String(keyAt(parts[hits.part]!.groups!, hits.at));
      const rowCount = sizes.get(group) ?? 0;
      if (rowCount >= size || (rowCount === 0 && sizes.size >= groupCount)) continue;
      sizes.set(group, rowCount + 1);
      if (rowCount + 1 === size) full++;
      sources.push(hits.part);
      rows.push(hits.at);
    }
    counts[query] = rows.length - before;
    parts.forEach((part, p) => {
      starts[p] = starts[p]! + part.counts[query]!;
    });
  }
  if (seenHits >= SLICE_HITS) await takeTurn(clock);
  return pickHits(parts, counts, { sources: Uint32Array.from(sources), rows: Uint32Array.from(rows) });
}

/** The group of each hit, as JSON text. @throws VdbError unavailable when a node of an older version did not send it */
export function groupTexts(hits: SearchHits): string[] {
  const groups = groupColumn(hits);
  return groups === undefined ? [] : Array.from(hits.distances.keys(), (i) => String(keyAt(groups, i)));
}

/** Undefined if there are no hits. @throws VdbError unavailable */
function groupColumn({ groups, distances }: SearchHits): SearchHits["groups"] {
  if (groups === undefined && distances.length > 0) {
    throw new VdbError("unavailable", "a node of an older version cannot search in groups");
  }
  return groups;
}
