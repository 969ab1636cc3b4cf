import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isDescending, type Metric, NUMBER_METRICS } from "../schema.ts";
import { hasBit, newBitset, setBit } from "../segment/bitset.ts";
import { clusteredVectors } from "../testing/vectors.ts";
import { TopK } from "../topk.ts";
import { prepareQueries, rowNorms, scanExact, scanRowsMax } from "./exact.ts";

/** The definition, one pair at a time. */
function distance(metric: Metric, a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let l2 = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    l2 += (a[i]! - b[i]!) ** 2;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  if (metric === "L2") return l2;
  if (metric === "IP") return dot;
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb);
}

describe("scanExact", () => {
  it("finds what the definition of each metric finds, filtered or not, over several chunks", () => {
    const cases = fc.record({
      metric: fc.constantFrom(...NUMBER_METRICS),
      dimension: fc.integer({ min: 2, max: 33 }),
      rows: fc.integer({ min: 0, max: 100 }),
      nq: fc.integer({ min: 1, max: 3 }),
      k: fc.integer({ min: 1, max: 12 }),
      allowed: fc.option(fc.array(fc.nat(99), { maxLength: 100 })),
      withNorms: fc.boolean(),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(cases, ({ metric, dimension, rows, nq, k, allowed, withNorms, seed }) => {
        const vectors = clusteredVectors(rows, dimension, seed, 3);
        const queries = clusteredVectors(nq, dimension, seed + 1, 3);
        if (rows > 2) vectors.fill(0, dimension, 2 * dimension);
        const allow = allowed === null ? null : newBitset(rows);
        for (const row of allowed ?? []) if (row < rows) setBit(allow!, row);
        const heaps = Array.from({ length: nq }, () => new TopK(k, isDescending(metric)));
        const prepared = prepareQueries(metric, queries, dimension);
        const norms = withNorms ? { norms: rowNorms(vectors, dimension) } : {};
        scanExact(prepared, { vectors, rowCount: rows, firstRow: 0, ...norms }, allow, heaps);
        // The same rows again as a second chunk: equal distances, larger rows, never allowed to win a tie.
        scanExact(prepared, { vectors, rowCount: rows, firstRow: 1000, ...norms }, allow, heaps);

        for (let q = 0; q < nq; q++) {
          const query = queries.subarray(q * dimension, (q + 1) * dimension);
          const expected: { row: number; distance: number }[] = [];
          for (let row = 0; row < rows; row++) {
            if (allow !== null && !hasBit(allow, row)) continue;
            const value = distance(metric, query, vectors.subarray(row * dimension, (row + 1) * dimension));
            expected.push({ row, distance: value }, { row: row + 1000, distance: value });
          }
          expected.sort((a, b) => (isDescending(metric) ? b.distance - a.distance : a.distance - b.distance));
          const found = heaps[q]!.drain();
          expect(found.rows.length).toBe(Math.min(k, expected.length));
          for (const [i, value] of found.distances.entries()) {
            expect(value).toBeCloseTo(expected[i]!.distance, 4);
            const row = found.rows[i]! % 1000;
            const own = distance(metric, query, vectors.subarray(row * dimension, (row + 1) * dimension));
            expect(value).toBeCloseTo(own, 4);
          }
        }
      }),
    );
  });

  it("scores a zero vector 0 by cosine, as row and as query", () => {
    const vectors = Float32Array.of(0, 0, 1, 0);
    const heaps = [new TopK(2, true), new TopK(2, true)];
    scanExact(
      prepareQueries("COSINE", Float32Array.of(1, 0, 0, 0), 2),
      { vectors, rowCount: 2, firstRow: 0 },
      null,
      heaps,
    );
    expect(heaps[0]!.drain()).toEqual({ rows: Int32Array.of(1, 0), distances: Float32Array.of(1, 0) });
    expect(heaps[1]!.drain()).toEqual({ rows: Int32Array.of(0, 1), distances: Float32Array.of(0, 0) });
  });
});

describe("scanRowsMax", () => {
  it("allows a chunk of 8,192 rows to a single query of common dimensions, and always some row", () => {
    expect(scanRowsMax(1, 1536)).toBeGreaterThanOrEqual(8192);
    expect(scanRowsMax(16_384, 32_768)).toBe(1);
  });
});
