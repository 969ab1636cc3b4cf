import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTurnScanner } from "../ann/turn-scanner.ts";
import type { VectorSearch } from "../protocol/values.ts";
import { isDescending, type Metric, NUMBER_METRICS } from "../schema.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { keyAt, keysOf } from "../segment/keys.ts";
import { CHUNK_ROWS, Segment } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf, KEY_FIELD } from "../testing/column-rows.ts";
import { allowedChunks, type ReadOptions, type ScanTools, scanAllowed } from "./scan-segment.ts";
import { buildSegment, DIMENSION, type Fixture, groupFilter, readable } from "./segment-fixture.ts";
import { emptyHits } from "./segment-hits.ts";

const scanSegment = async (segment: Segment, search: VectorSearch, options: ReadOptions & ScanTools) =>
  scanAllowed(segment, search, options, await allowedChunks(segment, options));

const TOOLS = { scanner: createTurnScanner(systemClock), clock: systemClock, deadline: Number.POSITIVE_INFINITY };

function distance(metric: Metric, a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  if (metric === "L2") return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
  if (metric === "IP") return dot(a, b);
  const lengths = Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}

/** Distances of the best topK of these rows, one a key, best first. */
function bruteForce(
  fixture: Fixture,
  rows: readonly number[],
  metric: Metric,
  query: readonly number[],
  topK: number,
): number[] {
  const sign = isDescending(metric) ? -1 : 1;
  const bestOfKey = new Map<PrimaryKey, number>();
  for (const row of rows) {
    const { key, vector } = fixture.rows[row]!;
    const found = sign * distance(metric, query, vector);
    bestOfKey.set(key, Math.min(found, bestOfKey.get(key) ?? Number.POSITIVE_INFINITY));
  }
  const distances = [...bestOfKey.values()].sort((a, b) => a - b);
  return distances.slice(0, topK).map((value) => sign * value);
}

async function expectExact(
  fixture: Fixture,
  options: { metric: Metric; queries: number[][]; topK: number; readTs: bigint; groups: readonly number[] | null },
): Promise<void> {
  const { metric, queries, topK, readTs, groups } = options;
  const search: VectorSearch = {
    fieldId: 101,
    metric,
    queries: Float32Array.from(queries.flat()),
    queryCount: queries.length,
    topK,
  };
  const hits = await scanSegment(fixture.segment, search, {
    filter: groupFilter(fixture, groups),
    readTs,
    ...TOOLS,
  });
  const rows = readable(fixture, readTs, groups);
  expect(hits.refs.segments).toEqual([fixture.segment.segmentId]);
  let at = 0;
  queries.forEach((query, q) => {
    const end = at + hits.counts[q]!;
    const found = [...hits.refs.row.subarray(at, end)];
    expect([...hits.distances.subarray(at, end)].map((value) => Math.fround(value))).toEqual(
      closeTo(bruteForce(fixture, rows, metric, query, topK)),
    );
    expect(new Set(found).size).toBe(found.length);
    found.forEach((row, i) => {
      const { key, vector } = fixture.rows[row]!;
      expect(rows).toContain(row);
      expect(keyAt(hits.keys, at + i)).toBe(key);
      expect(hits.distances[at + i]).toBeCloseTo(distance(metric, query, vector), 5);
    });
    at = end;
  });
  expect(hits.distances.length).toBe(at);
  expect([...hits.refs.segment]).toEqual(new Array(at).fill(0));
}

function closeTo(values: readonly number[]): unknown[] {
  return values.map((value) => expect.closeTo(value, 5) as unknown);
}

describe("scanSegment", () => {
  it("finds the best rows that the read may see, by every metric, filtered or not, at any time", async () => {
    const cases = fc.record({
      metric: fc.constantFrom(...NUMBER_METRICS),
      rowCount: fc.integer({ min: 1, max: 120 }),
      keyKind: fc.constantFrom("int64" as const, "varchar" as const),
      seed: fc.nat(),
      topK: fc.integer({ min: 1, max: 30 }),
      queries: fc.array(fc.array(fc.integer({ min: -3, max: 3 }), { minLength: DIMENSION, maxLength: DIMENSION }), {
        minLength: 1,
        maxLength: 4,
      }),
      groups: fc.option(fc.subarray([0, 1, 2, 3, 4, 5, 99], { minLength: 1 })),
      at: fc.nat(10),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ metric, rowCount, keyKind, seed, topK, queries, groups, at }) => {
        const fixture = buildSegment({ rowCount, keyKind, seed, keyCount: 20 });
        const readTs = (fixture.maxTs * BigInt(at)) / 10n;
        await expectExact(fixture, { metric, queries, topK, readTs, groups });
      }),
      { numRuns: 120 },
    );
  });

  it("searches several chunks for several queries", async () => {
    const fixture = buildSegment({ rowCount: 2 * CHUNK_ROWS + 300, keyKind: "int64", seed: 5, keyCount: 9000 });
    for (const metric of NUMBER_METRICS) {
      for (const groups of [null, [3]]) {
        const queries = [
          [1, 0, -2, 3, 1],
          [0, 0, 0, 0, 0],
          [3, 3, 3, 3, 3],
        ];
        await expectExact(fixture, { metric, queries, topK: 50, readTs: fixture.maxTs - 3n, groups });
      }
    }
  });

  it("finds nothing in a segment without rows, before its first row, and in rows that have no such field", async () => {
    const search: VectorSearch = {
      fieldId: 101,
      metric: "L2",
      queries: new Float32Array(2 * DIMENSION),
      queryCount: 2,
      topK: 5,
    };
    const nothing = { ...emptyHits(2, "int64"), refs: expect.anything() as unknown };
    const empty = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
    expect(await scanSegment(empty, search, { filter: null, readTs: 9n, ...TOOLS })).toEqual(nothing);
    const { segment } = buildSegment({ rowCount: 10, keyKind: "int64", seed: 1, keyCount: 5 });
    expect(await scanSegment(segment, search, { filter: null, readTs: 0n, ...TOOLS })).toEqual(nothing);
    empty.append(batchOf([KEY_FIELD], [{ 100: 1n }]), 1n);
    expect(await scanSegment(empty, search, { filter: null, readTs: 9n, ...TOOLS })).toEqual(nothing);
  });

  it("sees neither rows nor deletes that come while it pauses", async () => {
    const fixture = buildSegment({ rowCount: 2 * CHUNK_ROWS + 10, keyKind: "int64", seed: 9, keyCount: 1e6 });
    const { segment, rows, maxTs } = fixture;
    let pauses = 0;
    // Time flies: the scan pauses before every piece of work.
    const clock = {
      ...systemClock,
      monotonic: () => pauses * 1000 + performance.now(),
      yield: async () => {
        pauses++;
        const later = maxTs + BigInt(pauses);
        segment.append(batchOf(fixture.schema.fields, [{ 100: 5n, 101: [1, 1, 1, 1, 1], 102: 1 }]), later);
        segment.delete(keysOf("int64", [rows.at(-1)!.key]), 0, later);
      },
    };
    const search: VectorSearch = {
      fieldId: 101,
      metric: "L2",
      queries: new Float32Array(40 * DIMENSION).fill(1),
      queryCount: 40,
      topK: 16_384,
    };
    const scanner = createTurnScanner(clock);
    const found = new Set(
      (await scanSegment(segment, search, { ...TOOLS, scanner, filter: null, readTs: maxTs, clock })).refs.row,
    );
    const readableRows = readable(fixture, maxTs, null);
    expect([...found].every((row) => row < rows.length)).toBe(true);
    const readableKeys = new Set(readableRows.map((row) => rows[row]!.key));
    expect(found.size).toBe(Math.min(16_384, readableKeys.size));
  });
});
