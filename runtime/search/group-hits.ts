/**
 * A grouped search of one segment. The nearest rows may belong to too few groups: then the segment is searched again, without
 * the full groups, until there are enough groups or no more rows.
 */
import type { Clock } from "../clock.ts";
import { groupsOfRows } from "../expr/group-values.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { PlanNode } from "../expr/plan-node.ts";
import type { GroupBy, SearchHits, VectorSearch } from "../protocol/values.ts";
import { isDescending } from "../schema.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { keyAt, varcharColumn } from "../segment/keys.ts";
import type { Segment } from "../segment/segment.ts";
import { queriesOf } from "./queries.ts";
import { rowsOfSegment } from "./query-segment.ts";
import { pickHits } from "./reduce.ts";
import { reduceGroups } from "./reduce-groups.ts";

/** Finds the best topK rows of a segment, one per key. */
export type FindHits = (search: VectorSearch, filter: FilterPlan | null) => Promise<SearchHits>;

/** Rows requested at first for each row wanted: groups seldom have only one row. */
const FIRST_FACTOR = 2;
const FIRST_MIN = 32;

/** How many times more rows each further step requests. */
const WIDEN = 4;

export async function groupedHits(
  segment: Segment,
  search: VectorSearch,
  group: GroupBy,
  filter: FilterPlan | null,
  find: FindHits,
  clock: Clock,
): Promise<SearchHits> {
  const { group: _, ...plain } = search;
  const wanted = search.topK * group.size;
  const topK = Math.min(Math.max(1, segment.rowCount), Math.max(FIRST_MIN, FIRST_FACTOR * wanted));
  const first = await find({ ...plain, topK }, filter);
  const parts: SearchHits[] = [];
  for (let query = 0, at = 0; query < search.queryCount; query++) {
    const count = first.counts[query]!;
    const rows = Uint32Array.from({ length: count }, (_, i) => at + i);
    const found = pickHits([first], Uint32Array.of(count), { sources: new Uint32Array(count), rows });
    const one = { ...plain, ...queriesOf(search, query, query + 1), topK };
    parts.push(await groupsOfQuery({ segment, group, groupCount: search.topK, filter, find, clock }, one, found));
    at += count;
  }
  const total = parts.reduce((sum, { distances }) => sum + distances.length, 0);
  const pick = { sources: new Uint32Array(total), rows: new Uint32Array(total) };
  let at = 0;
  parts.forEach(({ distances }, part) => {
    for (let row = 0; row < distances.length; row++) {
      pick.sources[at] = part;
      pick.rows[at++] = row;
    }
  });
  return pickHits(
    parts,
    Uint32Array.from(parts, ({ distances }) => distances.length),
    pick,
  );
}

interface Grouping {
  segment: Segment;
  group: GroupBy;
  groupCount: number;
  filter: FilterPlan | null;
  find: FindHits;
  clock: Clock;
}

/** @param found the best `search.topK` rows */
async function groupsOfQuery(grouping: Grouping, search: VectorSearch, found: SearchHits): Promise<SearchHits> {
  const { segment, group, groupCount, filter, find, clock } = grouping;
  const limits = { queryCount: 1, groupCount, size: group.size, descending: isDescending(search.metric) };
  const parts = [withGroups(segment, found, group)];
  const sizes = new Map<string, number>();
  const seen = new Set<PrimaryKey>();
  count(parts[0]!, sizes, seen);
  let isExhausted = found.distances.length < search.topK;
  for (let { topK } = search; !isExhausted; topK = Math.min(segment.rowCount, topK * WIDEN)) {
    const sought = soughtGroups(sizes, grouping);
    if (sought === null) break;
    const more = await find({ ...search, topK }, withCondition(filter, group, sought));
    parts.push(withGroups(segment, more, group));
    const before = seen.size;
    count(parts.at(-1)!, sizes, seen);
    isExhausted = more.distances.length < topK || (topK >= segment.rowCount && seen.size === before);
  }
  return reduceGroups(parts, limits, clock);
}

/** Collects the rows of each group, one per key. Groups come in the order of their best rows. */
function count({ keys, groups }: SearchHits, sizes: Map<string, number>, seen: Set<PrimaryKey>): void {
  const hitCount = groups === undefined ? 0 : (groups as { offsets: Uint32Array }).offsets.length - 1;
  for (let i = 0; i < hitCount; i++) {
    const key = keyAt(keys, i);
    if (seen.has(key)) continue;
    seen.add(key);
    const group = String(keyAt(groups!, i));
    sizes.set(group, (sizes.get(group) ?? 0) + 1);
  }
}

interface Sought {
  groups: string[];
  /** Whether rows of all other groups are sought. */
  isOthers: boolean;
}

/** What is still missing; null: nothing. */
function soughtGroups(sizes: ReadonlyMap<string, number>, { group, groupCount }: Grouping): Sought | null {
  const isFull = (name: string) => sizes.get(name)! >= group.size;
  const names = [...sizes.keys()];
  if (names.length < groupCount) return { groups: names.filter(isFull), isOthers: true };
  const open = names.slice(0, groupCount).filter((name) => !isFull(name));
  return group.isStrict && open.length > 0 ? { groups: open, isOthers: false } : null;
}

/** Narrows a filter to the rows of the groups, or to those of all other groups. */
export function withCondition(filter: FilterPlan | null, key: GroupBy, { groups, isOthers }: Sought): FilterPlan {
  const { fieldId, path, jsonType, isStrictCast, defaultValue } = key;
  const inGroups: PlanNode = { op: "inGroups", key: { fieldId, path, jsonType, isStrictCast, defaultValue }, groups };
  const condition: PlanNode = isOthers ? { op: "not", item: inGroups } : inGroups;
  if (filter === null) return { root: condition, fieldIds: [fieldId], primaryFieldId: 0 };
  return {
    ...filter,
    root: { op: "and", items: [filter.root, condition] },
    fieldIds: [...new Set([...filter.fieldIds, fieldId])].sort((a, b) => a - b),
  };
}

function withGroups(segment: Segment, hits: SearchHits, key: GroupBy): SearchHits {
  const batch = rowsOfSegment(segment, hits.refs.row, [key.fieldId]);
  return { ...hits, groups: varcharColumn(groupsOfRows(batch, key)) };
}
