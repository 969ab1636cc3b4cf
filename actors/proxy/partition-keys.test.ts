import fc from "fast-check";
import { expect, test } from "vitest";
import { planFilter } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { FieldSchema } from "../../runtime/schema.ts";
import { keysOf, varcharColumn } from "../../runtime/segment/keys.ts";
import { partitionsOfFilter, requireIsolated, rowsByPartition } from "./partition-keys.ts";

const COUNT = 7;

function field(fieldId: number, name: string, type: FieldSchema["type"], more: Partial<FieldSchema> = {}): FieldSchema {
  return { fieldId, name, type, description: "", isPrimary: false, nullable: false, isDynamic: false, ...more };
}

const COLLECTION: CollectionDoc = {
  ...{ collectionId: 1, database: "default", name: "c", description: "", createdAt: 1n },
  schema: {
    ...{ version: 1, autoId: false, enableDynamicField: false },
    fields: [
      field(100, "id", "Int64", { isPrimary: true }),
      field(101, "tenant", "VarChar", { isPartitionKey: true, maxLength: 100 }),
      field(102, "n", "Int64"),
      field(103, "other", "VarChar", { maxLength: 100 }),
    ],
  },
  partitions: Array.from({ length: COUNT }, (_, i) => ({ partitionId: 50 + i, name: `_default_${i}` })),
  ...{ shards: [], indexes: [], consistencyLevel: "Bounded", properties: { "partitionkey.isolation": "true" } },
};

function placeOf(tenant: string): number {
  const columns = { 100: keysOf("int64", [1]), 101: varcharColumn([tenant]) };
  return rowsByPartition(COLLECTION, { rowCount: 1, columns })![0]!.place;
}

function partitionsOf(filter: string): number[] | null {
  return partitionsOfFilter(COLLECTION, planFilter(filter, COLLECTION.schema));
}

const idsOf = (...tenants: string[]) =>
  [...new Set(tenants.map((tenant) => 50 + placeOf(tenant)))].sort((a, b) => a - b);

test("every row goes to one partition, the same for all rows of a value", () => {
  const tenants = fc.array(fc.string({ maxLength: 4 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(tenants, (values) => {
      const columns = {
        100: keysOf(
          "int64",
          values.map((_, i) => i),
        ),
        101: varcharColumn(values),
      };
      const parts = rowsByPartition(COLLECTION, { rowCount: values.length, columns })!;
      expect(parts.flatMap(({ rows }) => [...rows]).sort((a, b) => a - b)).toEqual(values.map((_, i) => i));
      for (const { place, rows } of parts) for (const row of rows) expect(placeOf(values[row]!)).toBe(place);
    }),
  );
});

test("a filter leaves the partitions of the values that it allows", () => {
  expect(partitionsOf('tenant == "a"')).toEqual(idsOf("a"));
  expect(partitionsOf('tenant in ["a", "b", "c"]')).toEqual(idsOf("a", "b", "c"));
  expect(partitionsOf('n > 3 and (tenant == "a" and other == "b")')).toEqual(idsOf("a"));
  expect(partitionsOf('tenant == "a" or tenant == "b"')).toEqual(idsOf("a", "b"));
  expect(partitionsOf('tenant in ["a", "b"] and tenant in ["b", "c"]')).toEqual(idsOf("b"));
  expect(partitionsOf('tenant == "a" and tenant == "b"')).toEqual([]);
});

test("what may be in any partition is looked for in all", () => {
  const filters = ['tenant == "a" or n == 1', 'not (tenant == "a")', 'tenant != "a"', 'tenant > "a"', "n == 1"];
  for (const filter of [...filters, 'tenant like "a%"', "tenant == other", 'other == "a"']) {
    expect(partitionsOf(filter)).toBeNull();
  }
  expect(partitionsOfFilter(COLLECTION, null)).toBeNull();
});

test("isolated values are searched one at a time", () => {
  const check = (filter: string) => requireIsolated(COLLECTION, planFilter(filter, COLLECTION.schema));
  check('tenant == "a"');
  check('tenant == "a" and n > 1 and other in ["x"]');
  expect(() => requireIsolated(COLLECTION, null)).toThrow(/partition key not found in expr/);
  expect(() => check("n == 1")).toThrow(/partition key not found in expr/);
  expect(() => check('tenant in ["a"]')).toThrow(/does not support IN/);
  expect(() => check('tenant == "a" and tenant in ["a", "b"]')).toThrow(/does not support IN/);
  expect(() => check('tenant == "a" or n == 1')).toThrow(/does not support OR/);
  expect(() => check('not (tenant == "a")')).toThrow(/does not support (NOT|NotEqual)/);
  expect(() => check('tenant != "a"')).toThrow(/does not support NotEqual/);
});
