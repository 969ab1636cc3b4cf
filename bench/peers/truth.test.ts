import { describe, expect, it } from "vitest";
import { exactNeighbours, type Rows, recall } from "./truth.ts";

/** Rows on a line at 0, 1, 2, ...; every second one in bucket 0, the others in bucket 5. */
function line(rows: number): Rows {
  const vectors = new Float32Array(rows * 2);
  for (let row = 0; row < rows; row++) vectors[row * 2] = row;
  return { dimension: 2, metric: "L2", vectors, buckets: Int32Array.from({ length: rows }, (_, row) => (row % 2) * 5) };
}

describe("exact neighbours", () => {
  it("are the nearest rows, best first, for each query", () => {
    const queries = Float32Array.from([3.2, 0, 9.4, 0]);
    expect([...exactNeighbours(line(20), queries, 3, [10])]).toEqual([3, 4, 2, 9, 10, 8]);
  });

  it("are the same whatever block of rows they are in", () => {
    const rows = line(50_000);
    expect([...exactNeighbours(rows, Float32Array.from([32_768.4, 0]), 3, [10])]).toEqual([32_768, 32_769, 32_767]);
    expect([...exactNeighbours(rows, Float32Array.from([60_000, 0]), 2, [10])]).toEqual([49_999, 49_998]);
  });

  it("under a filter are of the rows whose bucket is below the bound, and -1 where too few are", () => {
    const truth = exactNeighbours(line(4), Float32Array.from([0.9, 0]), 3, [10, 5, 0]);
    expect([...truth]).toEqual([1, 0, 2, 0, 2, -1, -1, -1, -1]);
  });

  it("by cosine do not depend on lengths", () => {
    const vectors = Float32Array.from([100, 0, 0, 0.1, 3, 3, -1, 0, 0, 0]);
    const rows: Rows = { dimension: 2, metric: "COSINE", vectors, buckets: new Int32Array(5) };
    expect([...exactNeighbours(rows, Float32Array.from([0.2, 0.1]), 5, [1])]).toEqual([2, 0, 1, 4, 3]);
  });

  it("take every dimension into account, also those beyond a multiple of four", () => {
    const vectors = Float32Array.from([0, 0, 0, 0, 0, 0.9, 0, 0, 0, 0, 0, 0.5, 1, 0, 0, 0, 0, 0.6]);
    const rows: Rows = { dimension: 6, metric: "L2", vectors, buckets: new Int32Array(3) };
    expect([...exactNeighbours(rows, Float32Array.from([0, 0, 0, 0, 0, 0.6]), 3, [1])]).toEqual([1, 0, 2]);
  });
});

describe("recall", () => {
  it("is the share of the true neighbours that were found, in any order", () => {
    expect(recall([4, 9, 1], Int32Array.from([1, 2, 3, 4]))).toBe(0.5);
    expect(recall([], Int32Array.from([1, 2]))).toBe(0);
    expect(recall([2, 1], Int32Array.from([1, 2]))).toBe(1);
  });

  it("counts a row that is found twice once", () => {
    expect(recall([1, 1], Int32Array.from([1, 2]))).toBe(0.5);
  });

  it("does not miss neighbours that do not exist", () => {
    expect(recall([7], Int32Array.from([7, -1, -1]))).toBe(1);
    expect(recall([], Int32Array.from([-1]))).toBe(1);
  });
});
