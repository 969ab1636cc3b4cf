import { expect, test } from "vitest";
import type { MetaCache } from "../../runtime/meta/cache.ts";
import { createCatalog } from "../../runtime/meta/catalog.ts";
import { metaKeys, type SegmentDoc, type ViewDoc } from "../../runtime/protocol/catalog.ts";
import { planRead } from "./plan-read.ts";
import { Shard } from "./shard.ts";
import { COLLECTION, EMPTY_MANIFEST, VCHANNEL } from "./shard-world.ts";

/** Of a shard that has nothing in memory, and a sealed segment in each of two partitions. */
function planOf(segments: ViewDoc["segments"], partitionIds: number[] | null) {
  const sealed = (segmentId: string, partitionId: number): SegmentDoc => ({
    ...{ segmentId, partitionId, rowCount: 1, minTs: 1n, maxTs: 1n, indexes: {}, deletesSeq: 0 },
    object: { name: segmentId, bytes: 1, digest: "" },
  });
  const docs = new Map<string, unknown>([
    [metaKeys.collection(1), COLLECTION],
    [metaKeys.manifest(VCHANNEL), { ...EMPTY_MANIFEST, segments: [sealed("one", 1), sealed("two", 2)] }],
    [metaKeys.view(VCHANNEL), { version: 1, segments }],
  ]);
  const catalog = createCatalog({ get: (key: string) => docs.get(key) } as unknown as MetaCache);
  return planRead(catalog, new Shard(COLLECTION, VCHANNEL, () => "new"), { partitionIds });
}

test("a segment that is served nowhere fails the reads of its partition, and no others", () => {
  expect(planOf({ one: ["q1"], two: ["q1"] }, null)).toEqual({ local: [], remote: ["one", "two"] });
  expect(planOf({ one: ["q1"] }, [1])).toEqual({ local: [], remote: ["one"] });
  expect(() => planOf({ one: ["q1"] }, [1, 2])).toThrow(/segment two is on no query node yet/);
  expect(() => planOf({ one: ["q1"] }, null)).toThrow(/segment two is on no query node yet/);
});
