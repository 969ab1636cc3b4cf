import { expect, it } from "vitest";
import type { FieldSchema } from "../../../runtime/schema.ts";
import { approximateBytes, queryCount } from "./request-size.ts";

it("rows are about as large as what they hold, whether as rows or as columns", () => {
  const rows = Array.from({ length: 1_000 }, (_, id) => ({ id, vector: Array.from({ length: 100 }, () => id) }));
  expect(approximateBytes({ data: rows })).toBe(1_000 * 101 * 8);
  expect(approximateBytes({ columns: [{ values: new Float32Array(100_000) }] })).toBe(400_000);
  expect(approximateBytes(null)).toBeLessThan(10);
});

it("a search is as many as it has vectors, over all its parts", () => {
  expect(
    queryCount({
      data: [
        [1, 2],
        [3, 4],
      ],
    }),
  ).toBe(2);
  expect(queryCount({ data: [1, 2, 3] })).toBe(1);
  expect(queryCount({ ids: [1, 2, 3] })).toBe(3);
  expect(queryCount({ search: [{ data: [[1]] }, { data: [[1], [2]] }] })).toBe(3);
  expect(queryCount({})).toBe(1);
  expect(queryCount({ Data: [[1], [2]] })).toBe(2);
  const fields = [
    { name: "a", type: "FloatVector", dimension: 4 },
    { name: "b", type: "FloatVector", dimension: 8 },
  ] as FieldSchema[];
  const data = new Float32Array(32);
  expect(["a", "b", undefined].map((annsField) => queryCount({ data, annsField }, { fields }))).toEqual([8, 4, 8]);
  expect(queryCount({ data })).toBe(1);
});
