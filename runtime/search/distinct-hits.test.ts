import { expect, test } from "vitest";
import type { VectorSearch } from "../protocol/values.ts";
import { keyAt } from "../segment/keys.ts";
import { Segment } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf } from "../testing/column-rows.ts";
import { distinctHits, FOUND_MAX, smallestKeys } from "./scan-segment.ts";
import { buildSegment } from "./segment-fixture.ts";
import { segmentHits } from "./segment-hits.ts";

const ROWS = 3_000;
const QUERIES = 1_500;
const TOP_K = 10;

test("a search of a segment where nearly all rows have one key never looks for too many rows at once", async () => {
  const { schema } = buildSegment({ rowCount: 1, keyKind: "int64", seed: 1, keyCount: 1 });
  const segment = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
  // The last rows, the furthest away, are those of the other keys.
  const keys = Array.from({ length: ROWS }, (_, row) => Math.max(0, row - (ROWS - TOP_K)));
  const cells = keys.map((key) => ({ 100: BigInt(key), 101: [0, 0, 0, 0, 0], 102: 0 }));
  segment.append(batchOf(schema.fields, cells), 1n);
  const rows = Int32Array.from({ length: ROWS }, (_, row) => row);
  const distances = Float32Array.from(rows);
  const search: VectorSearch = {
    ...{ fieldId: 101, metric: "L2", queries: new Float32Array(5 * QUERIES), queryCount: QUERIES, topK: TOP_K },
  };
  let most = 0;
  const hits = await distinctHits(segment, search, systemClock, async (k, { queryCount, queries }) => {
    expect(queries.length).toBe(5 * queryCount);
    most = Math.max(most, k * queryCount);
    return Array.from({ length: queryCount }, () => ({
      rows: rows.subarray(0, k),
      distances: distances.subarray(0, k),
    }));
  });
  expect(most).toBeLessThanOrEqual(FOUND_MAX);
  expect(ROWS * QUERIES).toBeGreaterThan(FOUND_MAX);
  expect(Array.from(hits.counts)).toEqual(new Array(QUERIES).fill(TOP_K));
  const last = Array.from({ length: TOP_K }, (_, i) => keyAt(hits.keys, (QUERIES - 1) * TOP_K + i));
  expect(last).toEqual(Array.from({ length: TOP_K }, (_, key) => key));
});

/** Fewer than are looked for. */
const THERE = 30;

test("more rows that are equally far are looked for by the queries alone that are cut off, of a bounded number at once", async () => {
  const { segment } = buildSegment({ rowCount: THERE, keyKind: "int64", seed: 1, keyCount: 100_000 });
  const rows = Int32Array.from({ length: THERE }, (_, row) => row);
  const apart = Float32Array.from(rows);
  const alike = new Float32Array(THERE);
  // Runs of queries that find nothing but rows equally far, and some that do not.
  const isAlike = (query: number) => query % 5_000 < 4_500;
  const looks: { k: number; from: number; to: number }[] = [];
  const about = { k: 3, queryCount: 10_000, seen: { first: 1, most: 1_024 }, clock: systemClock };
  const tops = await smallestKeys(segment, about, async (k, from, to) => {
    looks.push({ k, from, to });
    return Array.from({ length: to - from }, (_, i) => ({
      rows: rows.subarray(0, Math.min(k, THERE)),
      distances: (isAlike(from + i) ? alike : apart).subarray(0, Math.min(k, THERE)),
    }));
  });
  const [first, ...more] = looks;
  expect(first).toEqual({ k: 4, from: 0, to: 10_000 });
  for (const { k, from, to } of more) {
    expect(k * (to - from)).toBeLessThanOrEqual(FOUND_MAX);
    expect(isAlike(from) && isAlike(to - 1)).toBe(true);
  }
  expect(more.reduce((sum, { from, to }) => sum + to - from, 0)).toBe(9_000);
  const smallest = segmentHits(segment, [{ rows, distances: alike }]);
  for (const query of [0, 4_499, 5_000, 9_499]) {
    expect(Array.from(tops[query]!.rows).sort((a, b) => a - b)).toEqual(
      Array.from(smallest.refs.row.subarray(0, 3)).sort((a, b) => a - b),
    );
  }
  for (const query of [4_500, 4_999, 9_999]) expect(Array.from(tops[query]!.rows)).toEqual([0, 1, 2]);
  expect(tops.length).toBe(10_000);
});
