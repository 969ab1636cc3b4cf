/**
 * Strict group sizes. One search tells which groups are best. But some of their rows, even nearer ones, may lie in
 * segments whose own best groups are others. A second search, of these groups alone, finds them.
 */
import type { Clock } from "../../../runtime/clock.ts";
import type { GroupBy } from "../../../runtime/protocol/values.ts";
import { isDescending } from "../../../runtime/schema.ts";
import { withCondition } from "../../../runtime/search/group-hits.ts";
import { queriesOf } from "../../../runtime/search/queries.ts";
import { hitsOfQueries, pickHits } from "../../../runtime/search/reduce.ts";
import { groupTexts, reduceGroups } from "../../../runtime/search/reduce-groups.ts";
import type { Found, SearchTarget } from "./find-hits.ts";

export async function fillGroups(
  found: Found,
  target: SearchTarget,
  group: GroupBy,
  find: (target: SearchTarget) => Promise<Found>,
  clock: Clock,
): Promise<Found> {
  const { search, filter } = target;
  const { counts } = found.hits;
  const queries = Array.from(counts, (_, query) => hitsOfQueries(found.hits, query, query + 1));
  const filled = await Promise.all(
    queries.map(async (hits, query) => {
      const groups = [...new Set(groupTexts(hits))];
      if (groups.length === 0) return { hits, shardOf: found.shardOf };
      const more = await find({
        ...target,
        search: { ...search, ...queriesOf(search, query, query + 1), topK: groups.length },
        filter: withCondition(filter, group, { groups, isOthers: false }),
      });
      const limits = { queryCount: 1, groupCount: groups.length, size: group.size };
      const descending = isDescending(search.metric);
      return { hits: await reduceGroups([hits, more.hits], { ...limits, descending }, clock), shardOf: more.shardOf };
    }),
  );
  const parts = filled.map(({ hits }) => hits);
  const sources = Uint32Array.from(parts.flatMap(({ distances }, part) => Array<number>(distances.length).fill(part)));
  const rows = Uint32Array.from(parts.flatMap(({ distances }) => Array.from(distances.keys())));
  const filledCounts = Uint32Array.from(parts, ({ distances }) => distances.length);
  return {
    hits: pickHits(parts, filledCounts, { sources, rows }),
    shardOf: new Map([found, ...filled].flatMap(({ shardOf }) => [...shardOf])),
  };
}
