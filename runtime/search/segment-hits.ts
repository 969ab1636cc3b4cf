/** Turns row numbers of a segment into hits: keys, distances, references. */
import type { Neighbours } from "../ann/engine.ts";
import type { SearchHits } from "../protocol/values.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { gatherColumn } from "../segment/gather.ts";
import { compareKeys, type KeyColumn, keyAt, keysOf } from "../segment/keys.ts";
import { CHUNK_ROWS, type Segment } from "../segment/segment.ts";
import type { TopRows } from "../topk.ts";

/** The rows that an engine found, by query: views, without unused places. */
export function topsOf({ rows, distances }: Neighbours, queryCount: number): TopRows[] {
  const k = rows.length / queryCount;
  return Array.from({ length: queryCount }, (_, query) => {
    let end = query * k;
    while (end < (query + 1) * k && rows[end]! >= 0) end++;
    return { rows: rows.subarray(query * k, end), distances: distances.subarray(query * k, end) };
  });
}

/** tops: one a query, best first, of rows of the segment. */
export function segmentHits(segment: Segment, tops: readonly TopRows[]): SearchHits {
  const total = tops.reduce((sum, { rows }) => sum + rows.length, 0);
  const distances = new Float32Array(total);
  const rows = new Uint32Array(total);
  let at = 0;
  for (const top of tops) {
    distances.set(top.distances, at);
    rows.set(top.rows, at);
    at += top.rows.length;
  }
  const keys = keysOfRows(segment, rows);
  return {
    counts: Uint32Array.from(tops, (top) => top.rows.length),
    keys: orderTies(tops, rows, keys) ? keysOfRows(segment, rows) : keys,
    distances,
    refs: { segments: [segment.segmentId], segment: new Uint32Array(total), row: rows },
  };
}

/** Orders rows with equal distances by their keys, in place. Returns whether anything moved, which is rare. */
function orderTies(tops: readonly TopRows[], rows: Uint32Array, keys: KeyColumn): boolean {
  let hasMoved = false;
  let first = 0;
  for (const { distances } of tops) {
    for (let start = 0, end = 1; start < distances.length; start = end++) {
      while (end < distances.length && distances[end] === distances[start]) end++;
      if (end - start === 1) continue;
      const places = Array.from({ length: end - start }, (_, i) => first + start + i);
      places.sort((a, b) => compareKeys(keyAt(keys, a), keyAt(keys, b)));
      const ordered = places.map((place) => rows[place]!);
      if (places.some((place, i) => place !== first + start + i)) hasMoved = true;
      rows.set(ordered, first + start);
    }
    first += distances.length;
  }
  return hasMoved;
}

/** The best k rows of a query: among those as far as the k-th, the ones with the smallest keys. */
export function cutByKey(segment: Segment, { rows, distances }: TopRows, k: number): TopRows {
  const best = { rows: rows.subarray(0, k), distances: distances.subarray(0, k) };
  if (rows.length <= k || distances[k] !== distances[k - 1]) return best;
  const last = distances[k];
  const start = distances.indexOf(last!);
  let end = k + 1;
  while (end < rows.length && distances[end] === last) end++;
  const tied = Uint32Array.from(rows.subarray(start, end));
  const keys = keysOfRows(segment, tied);
  const places = Array.from(tied.keys()).sort((a, b) => compareKeys(keyAt(keys, a), keyAt(keys, b)) || b - a);
  return { ...best, rows: best.rows.map((row, i) => (i < start ? row : tied[places[i - start]!]!)) };
}

/**
 * The best rows of a query, one per key, at most k. Among rows of one key at the same distance the newest stays. Only a segment
 * with repeated keys needs it.
 */
export function distinctRows(segment: Segment, top: TopRows, k: number): TopRows {
  const keys = keysOfRows(segment, Uint32Array.from(top.rows));
  const places = new Map<PrimaryKey, number>();
  const rows: number[] = [];
  const distances: number[] = [];
  for (let i = 0; i < top.rows.length; i++) {
    const key = keyAt(keys, i);
    const place = places.get(key);
    if (place !== undefined) {
      if (distances[place] === top.distances[i] && top.rows[i]! > rows[place]!) rows[place] = top.rows[i]!;
    } else if (rows.length < k) {
      places.set(key, rows.length);
      rows.push(top.rows[i]!);
      distances.push(top.distances[i]!);
    }
  }
  return { rows: Int32Array.from(rows), distances: Float32Array.from(distances) };
}

/** Hits of queries that found nothing. */
export function emptyHits(queryCount: number, keyKind: KeyColumn["kind"]): SearchHits {
  return {
    counts: new Uint32Array(queryCount),
    keys: keysOf(keyKind, []),
    distances: new Float32Array(0),
    refs: { segments: [], segment: new Uint32Array(0), row: new Uint32Array(0) },
  };
}

export function keysOfRows(segment: Segment, rows: Uint32Array): KeyColumn {
  const columns = segment.chunks.map(({ batch }) => batch.columns[segment.keyFieldId] as KeyColumn);
  const [sample] = columns;
  if (sample === undefined) return keysOf(segment.keyKind, []);
  return gatherColumn(columns, sample, {
    sources: rows.map((row) => row >>> 13),
    rows: rows.map((row) => row & (CHUNK_ROWS - 1)),
  }) as KeyColumn;
}
