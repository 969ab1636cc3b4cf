import { expect, test } from "vitest";
import { type FilterPlan, planFilter } from "../../runtime/expr/plan.ts";
import type { MetaCache } from "../../runtime/meta/cache.ts";
import { createCatalog } from "../../runtime/meta/catalog.ts";
import { type CollectionDoc, metaKeys, type SegmentDoc, type ViewDoc } from "../../runtime/protocol/catalog.ts";
import { primaryField } from "../../runtime/schema.ts";
import { planRead } from "./plan-read.ts";
import { Shard } from "./shard.ts";
import { COLLECTION, EMPTY_MANIFEST, VCHANNEL } from "./shard-world.ts";

const KEY_ID = primaryField(COLLECTION.schema).fieldId;

/** Of a shard that has nothing in memory, and a sealed segment in each of two partitions. */
function planOf(
  segments: ViewDoc["segments"],
  partitionIds: number[] | null,
  changes: Partial<CollectionDoc> = {},
  filter: FilterPlan | null = null,
) {
  const sealed = (segmentId: string, partitionId: number): SegmentDoc => ({
    ...{ segmentId, partitionId, rowCount: 1, minTs: 1n, maxTs: 1n, indexes: {}, deletesSeq: 0 },
    object: { name: segmentId, bytes: 1, digest: "" },
    ...(segmentId === "two" ? { bounds: { [KEY_ID]: { min: 10, max: 20, nulls: 0 } } } : {}),
  });
  const docs = new Map<string, unknown>([
    [metaKeys.collection(1), { ...COLLECTION, ...changes }],
    [metaKeys.manifest(VCHANNEL), { ...EMPTY_MANIFEST, segments: [sealed("one", 1), sealed("two", 2)] }],
    [metaKeys.view(VCHANNEL), { version: 1, segments }],
  ]);
  const catalog = createCatalog({ get: (key: string) => docs.get(key) } as unknown as MetaCache);
  return planRead(catalog, new Shard(COLLECTION, VCHANNEL, () => "new"), { partitionIds, filter });
}

test("segments in which no row can match are not read; of one without bounds nothing is known", () => {
  const { schema } = COLLECTION;
  const key = schema.fields.find(({ fieldId }) => fieldId === KEY_ID)!.name;
  const remote = (filter: string) => planOf({ one: ["q1"], two: ["q1"] }, null, {}, planFilter(filter, schema)).remote;
  expect(remote(`${key} in [1, 2]`)).toEqual(["one"]);
  expect(remote(`${key} in [1, 15]`)).toEqual(["one", "two"]);
  expect(remote(`not (${key} < 30)`)).toEqual(["one"]);
});

test("a segment that is served nowhere fails the reads of its partition, and no others", () => {
  expect(planOf({ one: ["q1"], two: ["q1"] }, null)).toMatchObject({ local: [], remote: ["one", "two"] });
  expect(planOf({ one: ["q1"] }, [1])).toMatchObject({ local: [], remote: ["one"] });
  expect(() => planOf({ one: ["q1"] }, [1, 2])).toThrow(/segment two is on no query node yet/);
  expect(() => planOf({ one: ["q1"] }, null)).toThrow(/segment two is on no query node yet/);
});

test("a read is about partitions that are loaded, and refused when it names another", () => {
  const partly = { loaded: { replicaNumber: 1, partitionIds: [1] } };
  expect(planOf({ one: ["q1"] }, null, partly)).toMatchObject({ local: [], remote: ["one"] });
  expect(() => planOf({ one: ["q1"], two: ["q1"] }, [2], partly)).toThrow(/partition not loaded\[partition=other\]/);
});

test("what is left of a dropped partition is not read", () => {
  const partitions = COLLECTION.partitions.slice(0, 1);
  expect(planOf({ one: ["q1"], two: ["q1"] }, null, { partitions })).toMatchObject({ local: [], remote: ["one"] });
  expect(() => planOf({ one: ["q1"] }, [2], { partitions })).toThrow(/partition not found/);
});
