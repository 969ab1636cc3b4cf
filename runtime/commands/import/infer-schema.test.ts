import { describe, expect, test } from "vitest";
import { inferFields } from "./infer-schema.ts";
import type { ImportRecord } from "./read-records.ts";

const OPTIONS = { primaryKey: "id", vectorField: "vector", dimension: 4 };

/** The field `x` of records that have it with these values; undefined: the record has no such key. */
function fieldOf(values: unknown[]): unknown {
  const records = values.map((x, id) => (x === undefined ? { id } : { id, x }));
  const fields = inferFields(records, OPTIONS);
  const field = fields.find(({ fieldName }) => fieldName === "x");
  if (field === undefined) return undefined;
  const { fieldName: _, ...type } = field;
  return type;
}

const VARCHAR = { dataType: "VarChar", elementTypeParams: { max_length: 65_535 } };
const STRINGS = {
  dataType: "Array",
  elementDataType: "VarChar",
  elementTypeParams: { max_length: 65_535, max_capacity: 4_096 },
};

describe("a field's type", () => {
  test.each([
    ["integers", [1, -2, 0], { dataType: "Int64" }],
    ["integers beyond 2^53", [1, 9_007_199_254_740_993n], { dataType: "Int64" }],
    ["fractions", [0.5, 1.25], { dataType: "Double" }],
    ["integers and fractions", [1, 0.5], { dataType: "Double" }],
    ["booleans", [true, false], { dataType: "Bool" }],
    ["strings", ["a", ""], VARCHAR],
    ["arrays of strings", [["a"], ["b", "c"]], STRINGS],
    ["arrays of strings, some empty", [[], ["a"]], STRINGS],
    ["nothing but empty arrays", [[], []], { dataType: "JSON" }],
    ["arrays of numbers", [[1], [2]], { dataType: "JSON" }],
    ["arrays of strings and numbers", [["a", 1]], { dataType: "JSON" }],
    ["objects", [{ a: 1 }], { dataType: "JSON" }],
    ["strings and numbers", ["a", 1], { dataType: "JSON" }],
    ["booleans and numbers", [true, 1], { dataType: "JSON" }],
    ["strings and arrays of strings", ["a", ["a"]], { dataType: "JSON" }],
  ])("of %s", (_, values, type) => {
    expect(fieldOf(values)).toEqual({ ...type, nullable: false });
  });

  test("is nullable when a record has null there", () => {
    expect(fieldOf(["a", null])).toEqual({ ...VARCHAR, nullable: true });
  });

  test("is nullable when a record lacks it", () => {
    expect(fieldOf([1, undefined])).toEqual({ dataType: "Int64", nullable: true });
  });

  test("is JSON when nothing but null was seen", () => {
    expect(fieldOf([null, null])).toEqual({ dataType: "JSON", nullable: true });
  });
});

describe("the fields of a collection", () => {
  test("are the primary key, then the others as they were first seen, then the vector", () => {
    const records = [
      { b: 1, id: "k1", a: true },
      { id: "k2", c: 1.5, a: false, b: 2 },
    ];
    expect(inferFields(records, OPTIONS)).toEqual([
      { fieldName: "id", ...VARCHAR, isPrimary: true, nullable: false },
      { fieldName: "b", dataType: "Int64", nullable: false },
      { fieldName: "a", dataType: "Bool", nullable: false },
      { fieldName: "c", dataType: "Double", nullable: true },
      { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 4 } },
    ]);
  });

  test("leave names that a schema does not take to the dynamic field", () => {
    const names = inferFields([{ id: 1, "a-b": 1, "2nd": 1, ok_2: 1 }], OPTIONS).map(({ fieldName }) => fieldName);
    expect(names).toEqual(["id", "ok_2", "vector"]);
  });

  test("know a record's own keys from what every object has", () => {
    const records: ImportRecord[] = [{ id: 1, constructor: "a" }, { id: 2 }];
    expect(inferFields(records, OPTIONS)[1]).toEqual({ fieldName: "constructor", ...VARCHAR, nullable: true });
  });

  test("take the vector from the records when there is no file of vectors", () => {
    const records = [{ id: 1, embedding: [1, 2, 3] }];
    const options = { primaryKey: "id", vectorField: "embedding", dimension: undefined };
    expect(inferFields(records, options).at(-1)).toEqual({
      fieldName: "embedding",
      dataType: "FloatVector",
      elementTypeParams: { dim: 3 },
    });
  });
});

describe("records that no schema fits", () => {
  const infer = (records: ImportRecord[], options: Partial<typeof OPTIONS> = {}) =>
    inferFields(records, { ...OPTIONS, ...options });

  test("lack the primary key: the line and what it has instead are named", () => {
    expect(() => infer([{ id: 1 }, { key: 2, name: "x" }])).toThrow(
      "line 2 has no primary key id: name it with --pk, the record has key, name",
    );
  });

  test("have a primary key that is neither integers nor strings", () => {
    expect(() => infer([{ id: 1.5 }])).toThrow(
      "primary key id must be integers or strings in all records, found Double",
    );
    expect(() => infer([{ id: 1 }, { id: "a" }])).toThrow("found JSON");
  });

  test("have a field where the vectors of the file are to go", () => {
    expect(() => infer([{ id: 1, vector: "x" }])).toThrow("records have a field vector of their own");
  });

  test("have no vectors, and there is no file of them", () => {
    const withoutFile = { ...OPTIONS, dimension: undefined };
    expect(() => inferFields([{ id: 1, vector: [1] }, { id: 2 }], withoutFile)).toThrow(
      "line 2 has no vector in vector",
    );
    expect(() => inferFields([{ id: 1, vector: ["a"] }], withoutFile)).toThrow("line 1 has no vector in vector");
  });
});
