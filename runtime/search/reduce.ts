/**
 * Reducing hits: the same step at the query node (over segments), at the delegator (over nodes and growing data) and at
 * the proxy (over shards). Keeps the best k of each query, one row a primary key.
 *
 * Order: best distance first; equal distances by ascending key. If a key was found twice, the better distance stays.
 */
import type { SearchHits } from "../protocol/values.ts";
import { isDescending, type Metric } from "../schema.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { gatherColumn, type RowPick } from "../segment/gather.ts";
import { compareKeys, type KeyColumn, keyAt } from "../segment/keys.ts";

/** Parts hold hits of the same queries, each sorted as above (by whatever tie order). */
export function reduceHits(parts: readonly SearchHits[], queryCount: number, topK: number, metric: Metric): SearchHits {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined && !hasDuplicates(only)) return limitHits(only, topK);
  const sign = isDescending(metric) ? -1 : 1;
  const counts = new Uint32Array(queryCount);
  const sources: number[] = [];
  const rows: number[] = [];
  const starts = parts.map(() => 0);
  for (let query = 0; query < queryCount; query++) {
    counts[query] = mergeQuery(parts, starts, query, topK, sign, sources, rows);
    parts.forEach((part, p) => {
      starts[p] = starts[p]! + part.counts[query]!;
    });
  }
  return pickHits(parts, counts, { sources: Uint32Array.from(sources), rows: Uint32Array.from(rows) });
}

/** A page of the reduced result: drops the first `offset` hits of each query and keeps `limit`. */
export function pageHits(hits: SearchHits, offset: number, limit: number): SearchHits {
  const counts = hits.counts.map((count) => Math.max(0, Math.min(limit, count - offset)));
  const rows: number[] = [];
  let start = 0;
  for (let query = 0; query < counts.length; query++) {
    for (let i = 0; i < counts[query]!; i++) rows.push(start + offset + i);
    start += hits.counts[query]!;
  }
  return pickHits([hits], counts, { sources: new Uint32Array(rows.length), rows: Uint32Array.from(rows) });
}

/** The hits of the queries in [from, to), as views. */
export function hitsOfQueries(hits: SearchHits, from: number, to: number): SearchHits {
  let start = 0;
  for (let query = 0; query < from; query++) start += hits.counts[query]!;
  let end = start;
  for (let query = from; query < to; query++) end += hits.counts[query]!;
  const { segments, segment, row } = hits.refs;
  const { keys, groups } = hits;
  return {
    counts: hits.counts.subarray(from, to),
    keys: keysBetween(keys, start, end),
    distances: hits.distances.subarray(start, end),
    refs: { segments, segment: segment.subarray(start, end), row: row.subarray(start, end) },
    ...(groups === undefined ? {} : { groups: keysBetween(groups, start, end) }),
  };
}

function keysBetween(keys: KeyColumn, start: number, end: number): KeyColumn {
  if (keys.kind === "int64") return { kind: "int64", values: keys.values.subarray(start, end) };
  return { kind: keys.kind, offsets: keys.offsets.subarray(start, end + 1), bytes: keys.bytes };
}

function limitHits(hits: SearchHits, topK: number): SearchHits {
  return hits.counts.every((count) => count <= topK) ? hits : pageHits(hits, 0, topK);
}

/** Up to this length, searching a list is faster than making a set. */
const FEW = 24;

function hasDuplicates(hits: SearchHits): boolean {
  let start = 0;
  for (const count of hits.counts) {
    if (count <= FEW) {
      const keys: PrimaryKey[] = [];
      for (let i = 0; i < count; i++) {
        const key = keyAt(hits.keys, start + i);
        if (keys.includes(key)) return true;
        keys.push(key);
      }
      start += count;
      continue;
    }
    const seen = new Set<PrimaryKey>();
    for (let i = 0; i < count; i++) seen.add(keyAt(hits.keys, start + i));
    if (seen.size < count) return true;
    start += count;
  }
  return false;
}

/** Merges one query's sorted hits of all parts; returns how many it kept. */
function mergeQuery(
  parts: readonly SearchHits[],
  starts: readonly number[],
  query: number,
  topK: number,
  sign: number,
  sources: number[],
  rows: number[],
): number {
  const heads = parts.map(() => 0);
  const seen = new Set<PrimaryKey>();
  while (seen.size < topK) {
    let best = -1;
    let bestDistance = 0;
    let bestKey: PrimaryKey = 0;
    for (let p = 0; p < parts.length; p++) {
      const part = parts[p]!;
      if (heads[p]! >= part.counts[query]!) continue;
      const at = starts[p]! + heads[p]!;
      const distance = sign * part.distances[at]!;
      if (best >= 0 && distance > bestDistance) continue;
      const key = keyAt(part.keys, at);
      if (best >= 0 && distance === bestDistance && compareKeys(key, bestKey) >= 0) continue;
      best = p;
      bestDistance = distance;
      bestKey = key;
    }
    if (best < 0) break;
    const at = starts[best]! + heads[best]!;
    heads[best] = heads[best]! + 1;
    if (seen.has(bestKey)) continue;
    seen.add(bestKey);
    sources.push(best);
    rows.push(at);
  }
  return seen.size;
}

/** Hits of several parts in the picked order, `counts` of them per query. */
export function pickHits(parts: readonly SearchHits[], counts: Uint32Array, pick: RowPick): SearchHits {
  const segments = [...new Set(parts.flatMap((part) => part.refs.segments))];
  const segmentOf = parts.map((part) => part.refs.segments.map((id) => segments.indexOf(id)));
  const total = pick.rows.length;
  const distances = new Float32Array(total);
  const refs = { segments, segment: new Uint32Array(total), row: new Uint32Array(total) };
  for (let i = 0; i < total; i++) {
    const source = pick.sources[i]!;
    const at = pick.rows[i]!;
    const part = parts[source]!;
    distances[i] = part.distances[at]!;
    refs.segment[i] = segmentOf[source]![part.refs.segment[at]!]!;
    refs.row[i] = part.refs.row[at]!;
  }
  const sample = parts.find((part) => part.distances.length > 0) ?? parts[0];
  if (sample === undefined) throw new Error("nothing to reduce");
  const keys = gatherColumn(
    parts.map((part) => part.keys),
    sample.keys,
    pick,
  ) as KeyColumn;
  const hits: SearchHits = { counts, keys, distances, refs };
  const groups = parts.map((part) => part.groups);
  const [groupsSample] = groups.filter((column) => column !== undefined);
  if (groupsSample !== undefined) hits.groups = gatherColumn(groups, groupsSample, pick) as KeyColumn;
  return hits;
}
