/**
 * Reducing the hits of a search in groups, at every level as reduce.ts does for plain ones: the best rows of the best
 * groups of each query, one row a primary key. Groups are ordered by their best rows. Hits stay in the order of their
 * distances here; whoever shows them puts each group's together (actors/proxy/search/pages.ts).
 */
import { VdbError } from "../errors.ts";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import { isDescending } from "../schema.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { compareKeys, keyAt } from "../segment/keys.ts";
import { pickHits, reduceHits } from "./reduce.ts";

/** The hits of a search, whatever it asks for. */
export function reduceSearch(parts: readonly SearchHits[], search: VectorSearch): SearchHits {
  const { queryCount, topK, metric, group } = search;
  if (group === undefined) return reduceHits(parts, queryCount, topK, metric);
  return reduceGroups(parts, { queryCount, groupCount: topK, size: group.size, descending: isDescending(metric) });
}

export interface GroupLimits {
  queryCount: number;
  /** Groups of a query at most, and rows of a group. */
  groupCount: number;
  size: number;
  /** Whether the greater distance is the better. */
  descending: boolean;
}

interface Candidate {
  distance: number;
  key: PrimaryKey;
  part: number;
  at: number;
}

export function reduceGroups(parts: readonly SearchHits[], limits: GroupLimits): SearchHits {
  const { queryCount, groupCount, size, descending } = limits;
  const groupsOf = parts.map(groupTexts);
  const counts = new Uint32Array(queryCount);
  const picked: Candidate[] = [];
  const starts = parts.map(() => 0);
  for (let query = 0; query < queryCount; query++) {
    const before = picked.length;
    const seen = new Set<PrimaryKey>();
    const sizes = new Map<string, number>();
    for (const candidate of sorted(candidatesOf(parts, starts, query), descending)) {
      if (seen.has(candidate.key)) continue;
      seen.add(candidate.key);
      const group = groupsOf[candidate.part]![candidate.at]!;
      const rows = sizes.get(group) ?? 0;
      if (rows >= size || (rows === 0 && sizes.size >= groupCount)) continue;
      sizes.set(group, rows + 1);
      picked.push(candidate);
    }
    counts[query] = picked.length - before;
    parts.forEach((part, p) => {
      starts[p] = starts[p]! + part.counts[query]!;
    });
  }
  return pickHits(parts, counts, {
    sources: Uint32Array.from(picked, ({ part }) => part),
    rows: Uint32Array.from(picked, ({ at }) => at),
  });
}

function candidatesOf(parts: readonly SearchHits[], starts: readonly number[], query: number): Candidate[] {
  return parts.flatMap(({ keys, distances, counts }, part) =>
    Array.from({ length: counts[query]! }, (_, i) => {
      const at = starts[part]! + i;
      return { distance: distances[at]!, key: keyAt(keys, at), part, at };
    }),
  );
}

function sorted(candidates: Candidate[], descending: boolean): Candidate[] {
  return candidates.sort((a, b) => {
    if (a.distance === b.distance) return compareKeys(a.key, b.key);
    return a.distance < b.distance === descending ? 1 : -1;
  });
}

/** The group of each hit, as JSON text. @throws VdbError unavailable when a node of an older version did not say */
export function groupTexts({ groups, distances }: SearchHits): string[] {
  if (groups === undefined) {
    if (distances.length === 0) return [];
    throw new VdbError("unavailable", "a node of an older version cannot search in groups");
  }
  return Array.from(distances.keys(), (i) => String(keyAt(groups, i)));
}
