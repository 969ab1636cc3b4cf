import { describe, expect, it } from "vitest";
import { generateVectors, type Shape } from "./generate.ts";
import { exactNeighbours } from "./truth.ts";

const SHAPE: Shape = { dimension: 16, clusters: 10, latent: 6, spread: 0.3, normalised: false };

describe("generated vectors", () => {
  it("repeat with their seed, and differ by seed and part", () => {
    const make = (seed: number, part: string) => generateVectors(SHAPE, { rows: 20, seed, part });
    expect(make(1, "rows")).toEqual(make(1, "rows"));
    expect(make(2, "rows")).not.toEqual(make(1, "rows"));
    expect(make(1, "queries")).not.toEqual(make(1, "rows"));
  });

  it("do not depend on how many there are", () => {
    const few = generateVectors(SHAPE, { rows: 3, seed: 1, part: "rows" });
    expect(generateVectors(SHAPE, { rows: 9, seed: 1, part: "rows" }).subarray(0, few.length)).toEqual(few);
  });

  it("have length 1 when that is asked for", () => {
    const vectors = generateVectors({ ...SHAPE, normalised: true }, { rows: 5, seed: 1, part: "rows" });
    for (let row = 0; row < 5; row++) {
      expect(Math.hypot(...vectors.subarray(row * 16, (row + 1) * 16))).toBeCloseTo(1, 5);
    }
  });

  it("put queries near rows: a query's nearest row is far nearer than any row", () => {
    const vectors = generateVectors(SHAPE, { rows: 1000, seed: 1, part: "rows" });
    const queries = generateVectors(SHAPE, { rows: 20, seed: 1, part: "queries" });
    const base = { dimension: 16, metric: "L2" as const, vectors, buckets: new Int32Array(1000) };
    const nearest = exactNeighbours(base, queries, 1, [1]);
    const squared = (query: number, row: number) =>
      queries
        .subarray(query * 16, query * 16 + 16)
        .reduce((sum, value, i) => sum + (value - vectors[row * 16 + i]!) ** 2, 0);
    let near = 0;
    let any = 0;
    for (let query = 0; query < 20; query++) {
      near += squared(query, nearest[query]!);
      for (let row = 0; row < 1000; row++) any += squared(query, row) / 1000;
    }
    expect(near).toBeLessThan(any / 4);
  });
});
