import { expect, test } from "vitest";
import { schema } from "../../runtime/expr/filter-fixture.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { FilterPlans } from "./filter-plans.ts";

type Index = Pick<CollectionDoc["indexes"][number], "fieldId" | "type" | "params">;

function collection(indexes: Index[] = [], properties: Record<string, string> = {}): CollectionDoc {
  return { collectionId: 1, schema, indexes, properties } as unknown as CollectionDoc;
}

function newPlans(): FilterPlans {
  let next = 0;
  return new FilterPlans({ next: () => ++next / 100, ulid: () => "" });
}

const query = (text: string) => ({ text, purpose: "query" as const });

test("the same text is planned once", () => {
  const plans = newPlans();
  expect(plans.plan(collection(), query("i32 > 1"))).toBe(plans.plan(collection(), query("i32 > 1")));
  expect(plans.plan(collection(), query("i32 > 1"))).not.toBe(plans.plan(collection(), query("i32 > 2")));
  expect(plans.plan(collection(), query(" "))).toBeNull();
});

test("a sample is another one each time", () => {
  const plans = newPlans();
  const text = "i32 > 1 and random_sample(0.5)";
  const [one, other] = [plans.plan(collection(), query(text)), plans.plan(collection(), query(text))];
  expect(one!.sample!.fraction).toBe(0.5);
  expect(one!.sample!.seed).not.toBe(other!.sample!.seed);
});

test("the plan tells which of its fields are indexed, as the collection is at the time", () => {
  const plans = newPlans();
  const text = "i32 > 1 and doc['a'] == 1 and s like '%x%'";
  expect(plans.plan(collection(), query(text))!.indexes).toBeUndefined();
  const indexes: Index[] = [
    { fieldId: 101, type: "HNSW", params: {} },
    { fieldId: 104, type: "STL_SORT", params: {} },
    { fieldId: 105, type: "STL_SORT", params: {} },
    { fieldId: 109, type: "NGRAM", params: { min_gram: 2, max_gram: 5 } },
    { fieldId: 111, type: "INVERTED", params: { json_path: "/a~1b/0", json_cast_type: "DOUBLE" } },
    { fieldId: 111, type: "INVERTED", params: { json_path: "", json_cast_type: "VARCHAR" } },
  ];
  expect(plans.plan(collection(indexes), query(text))!.indexes).toEqual([
    { fieldId: 105 },
    { fieldId: 109, gram: 2 },
    { fieldId: 111, path: ["a/b", "0"] },
    { fieldId: 111, path: [], isFlat: true },
  ]);
});

test("timestamps without an offset are of the collection's time zone", () => {
  const plans = newPlans();
  const text = "ts > ISO '2025-01-01T08:00:00'";
  const shanghai = plans.plan(collection([], { timezone: "Asia/Shanghai" }), query(text));
  expect(shanghai!.root).toMatchObject({ value: Date.parse("2025-01-01T00:00:00Z") * 1000 });
  expect(plans.plan(collection(), query(text))!.root).toMatchObject({
    value: Date.parse("2025-01-01T08:00:00Z") * 1000,
  });
});
