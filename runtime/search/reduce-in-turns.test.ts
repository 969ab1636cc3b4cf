import { expect, it } from "vitest";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import { type KeyColumn, keysOf } from "../segment/keys.ts";
import { systemClock } from "../system-clock.ts";
import { seededNumbers } from "../testing/vectors.ts";
import { reduceHits } from "./reduce.ts";
import { HITS_A_TURN, reduceInTurns } from "./reduce-in-turns.ts";

/** Hits in the order of their distances, as many a query as `counts` says, of few keys. */
function hitsOf(segment: string, keyKind: KeyColumn["kind"], counts: readonly number[], seed: number): SearchHits {
  const next = seededNumbers(seed);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const keys = Array.from({ length: total }, (_, i) => 2 * i + Math.floor(next() * 2));
  return {
    counts: Uint32Array.from(counts),
    keys: keysOf(keyKind, keyKind === "int64" ? keys : keys.map((key) => `k${key}`)),
    distances: Float32Array.from(counts.flatMap((count) => Array.from({ length: count }, (_, i) => i))),
    refs: {
      segments: [segment],
      segment: new Uint32Array(total),
      row: Uint32Array.from({ length: total }, (_, i) => i),
    },
  };
}

const shapes: [string, KeyColumn["kind"], number, number][] = [
  ["few hits", "int64", 3, 10],
  ["hits of many queries", "int64", 90, 700],
  ["hits of many queries, by text", "varchar", 90, 700],
  ["queries that have more than a turn's hits each", "int64", 3, HITS_A_TURN],
];

it.each(shapes)("gives what one look at all hits gives: %s", async (_, keyKind, queryCount, most) => {
  const next = seededNumbers(7);
  // Some queries find nothing, in one part or in all.
  const counts = () =>
    Array.from({ length: queryCount }, (_, query) => (query % 7 === 5 ? 0 : Math.floor(next() * most)));
  const parts = [hitsOf("a", keyKind, counts(), 1), hitsOf("b", keyKind, counts(), 2)];
  const search = { queryCount, topK: Math.ceil(most / 2), metric: "L2" } as VectorSearch;
  for (const some of [parts, parts.slice(0, 1)]) {
    expect(await reduceInTurns(some, search, systemClock)).toEqual(reduceHits(some, queryCount, search.topK, "L2"));
  }
});
