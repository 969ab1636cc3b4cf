import { expect, test } from "vitest";
import type { VectorSearch } from "../protocol/values.ts";
import { keyAt } from "../segment/keys.ts";
import { Segment } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf } from "../testing/column-rows.ts";
import { distinctHits, FOUND_MAX } from "./scan-segment.ts";
import { buildSegment } from "./segment-fixture.ts";

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
