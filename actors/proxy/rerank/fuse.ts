/**
 * Several lists of hits made one: each route (a search of its own) gives scores to the rows that it found, a row's
 * scores of all routes are put together, and the rows are ordered anew, the greatest first, equal ones by ascending key.
 */
import type { SearchHits } from "../../../runtime/protocol/values.ts";
import type { Metric } from "../../../runtime/schema.ts";
import { pickHits } from "../../../runtime/search/reduce.ts";
import type { PrimaryKey } from "../../../runtime/segment/column.ts";
import { compareKeys, keyAt } from "../../../runtime/segment/keys.ts";

/** Best first within each query; the same queries in every route. */
export interface Route {
  hits: SearchHits;
  metric: Metric;
}

/** @param rank of the hit in its route, from 0 */
export type ScoreOf = (route: number, rank: number, distance: number) => number;

export type ScoreMode = "max" | "sum" | "avg";

interface Row {
  key: PrimaryKey;
  route: number;
  at: number;
  score: number;
  routes: number;
}

/** One row a key, with the reference of the first route that has it. */
export function fuse(routes: readonly Route[], scoreOf: ScoreOf, mode: ScoreMode): SearchHits {
  const queryCount = routes[0]!.hits.counts.length;
  const counts = new Uint32Array(queryCount);
  const picked: Row[] = [];
  const starts = routes.map(() => 0);
  for (let query = 0; query < queryCount; query++) {
    const rows = rowsOfQuery(routes, starts, query, { scoreOf, mode });
    counts[query] = rows.length;
    for (const row of rows) picked.push(row);
    routes.forEach(({ hits }, route) => {
      starts[route] = starts[route]! + hits.counts[query]!;
    });
  }
  const hits = pickHits(
    routes.map((route) => route.hits),
    counts,
    { sources: Uint32Array.from(picked, ({ route }) => route), rows: Uint32Array.from(picked, ({ at }) => at) },
  );
  return { ...hits, distances: Float32Array.from(picked, ({ score }) => score) };
}

function rowsOfQuery(
  routes: readonly Route[],
  starts: readonly number[],
  query: number,
  { scoreOf, mode }: { scoreOf: ScoreOf; mode: ScoreMode },
): Row[] {
  const rows = new Map<PrimaryKey, Row>();
  routes.forEach(({ hits }, route) => {
    for (let rank = 0; rank < hits.counts[query]!; rank++) {
      const at = starts[route]! + rank;
      const key = keyAt(hits.keys, at);
      const score = scoreOf(route, rank, hits.distances[at]!);
      const row = rows.get(key);
      if (row === undefined) rows.set(key, { key, route, at, score, routes: 1 });
      else {
        row.score = mode === "max" ? Math.max(row.score, score) : row.score + score;
        row.routes++;
      }
    }
  });
  // As they will be shown: what looks equal is ordered by key.
  for (const row of rows.values()) row.score = Math.fround(mode === "avg" ? row.score / row.routes : row.score);
  return [...rows.values()].sort((a, b) => b.score - a.score || compareKeys(a.key, b.key));
}

/** A distance as a score, the greater the better; `norm`: between 0 and 1. */
export function normalised(metric: Metric, distance: number, norm: boolean): number {
  switch (metric) {
    case "COSINE":
      return norm ? (1 + distance) / 2 : distance;
    case "IP":
      return norm ? 0.5 + Math.atan(distance) / Math.PI : distance;
    case "BM25":
      return norm ? (2 * Math.atan(distance)) / Math.PI : distance;
    default:
      return 1 - (2 * Math.atan(distance)) / Math.PI;
  }
}
