/** Cuts the page that a request asks for: of hits, or of groups of hits. */
import type { SearchHits } from "../../../runtime/protocol/values.ts";
import { pageHits, pickHits } from "../../../runtime/search/reduce.ts";
import { groupTexts } from "../../../runtime/search/reduce-groups.ts";

export interface Page {
  limit: number;
  offset: number;
}

/** By what groups are ordered: the scores of their rows. `max`: by their best row. */
export const GROUP_SCORERS = ["max", "sum", "avg"] as const;
export type GroupScorer = (typeof GROUP_SCORERS)[number];

export function pageOf(hits: SearchHits, { offset, limit }: Page): SearchHits {
  return offset === 0 && hits.counts.every((count) => count <= limit) ? hits : pageHits(hits, offset, limit);
}

/** A page of groups, the rows of each together. @param hits best first */
export function pageOfGroups(hits: SearchHits, page: Page, size: number, scorer: GroupScorer): SearchHits {
  const names = groupTexts(hits);
  const counts = new Uint32Array(hits.counts.length);
  const rows: number[] = [];
  let start = 0;
  hits.counts.forEach((count, query) => {
    const groups = new Map<string, number[]>();
    for (let i = start; i < start + count; i++) {
      const group = groups.get(names[i]!) ?? [];
      groups.set(names[i]!, group);
      if (group.length < size) group.push(i);
    }
    start += count;
    for (const group of ordered([...groups.values()], hits.distances, scorer).slice(
      page.offset,
      page.offset + page.limit,
    )) {
      rows.push(...group);
      counts[query] = counts[query]! + group.length;
    }
  });
  return pickHits([hits], counts, { sources: new Uint32Array(rows.length), rows: Uint32Array.from(rows) });
}

/** Groups come in the order of their best rows. */
function ordered(groups: number[][], scores: Float32Array, scorer: GroupScorer): number[][] {
  if (scorer === "max") return groups;
  const scoreOf = (group: number[]) => {
    const sum = group.reduce((total, i) => total + scores[i]!, 0);
    return scorer === "sum" ? sum : sum / group.length;
  };
  // Sorting is stable: equal groups stay in the order of their best rows.
  return groups
    .map((group) => ({ group, score: scoreOf(group) }))
    .sort((a, b) => b.score - a.score)
    .map(({ group }) => group);
}
