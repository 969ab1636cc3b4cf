/** Clustering compaction under the public API: what is laid out by a key is left out of reads that name its values. */
import { afterEach, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { FieldDefinition } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { compactSegments } from "../../runtime/protocol/data.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { loseAnswers } from "../../runtime/testing/lost-answers.ts";

const COLLECTION = "clustered";
const STRONG = { collectionName: COLLECTION, consistencyLevel: "Strong" } as const;
const ROWS = 1_200;

let cluster: TestCluster;
let client: VdbClient;

async function start(nodes: readonly (readonly Role[])[], key: FieldDefinition): Promise<void> {
  const settings = ["coordinator.compactionBytes=16384", "coordinator.indexRowsMin=50"];
  cluster = await startTestCluster(nodes, settings);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: COLLECTION,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { ...key, isClusteringKey: true },
        { fieldName: "v", dataType: "FloatVector", elementTypeParams: { dim: 4 } },
      ],
    },
    indexParams: [{ fieldName: "v", metricType: "L2", indexType: "HNSW" }],
    params: { shardsNum: 1 },
    properties: { "collection.autocompaction.enabled": false },
  });
}
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** Sealed segments that were read for this, and those that were left out. */
async function segmentsOf(read: () => Promise<unknown>): Promise<{ read: number; skipped: number }> {
  const tally = () => {
    const { streaming } = cluster.nodes.find((node) => "streaming" in node.observe())!.observe();
    return streaming!.reads as { segments: number; skippedSegments: number };
  };
  const before = tally();
  await read();
  const after = tally();
  return {
    read: after.segments - before.segments,
    skipped: after.skippedSegments - before.skippedSegments,
  };
}

async function insert(first: number, count: number, keyOf: (id: number) => unknown): Promise<void> {
  const data = Array.from({ length: count }, (_, i) => {
    const id = first + i;
    return { id, k: keyOf(id), v: [id % 50, id % 7, 1, 0] };
  });
  await client.insert({ collectionName: COLLECTION, data });
}

async function answers(filters: readonly string[]): Promise<unknown> {
  const list = [];
  for (const filter of filters) {
    const rows = await client.query({ ...STRONG, filter, outputFields: ["id", "k", "v"], limit: 16_384 });
    const [hits] = await client.search({ ...STRONG, data: [[3, 2, 1, 0]], filter, limit: 10, outputFields: ["k"] });
    list.push({ filter, rows, distances: hits!.map(({ distance }) => distance) });
  }
  return list;
}

test("reads of a key's values leave most segments out, and see the same, whatever is written meanwhile, and after a restart", async () => {
  await start([ROLES], { fieldName: "k", dataType: "Int64", nullable: true });
  // A row in twelve has none; all values are in every flush.
  const keyOf = (id: number) => (id % 12 === 0 ? null : (id * 7919) % 1000);
  for (let n = 0; n < 4; n++) {
    await insert((n * ROWS) / 4, ROWS / 4, keyOf);
    await client.flush({ collectionName: COLLECTION });
  }
  await client.delete({ collectionName: COLLECTION, filter: "id >= 100 and id < 130" });
  const filters = ["k == 123", "k in [5, 6, 7]", "k >= 900", "k < 50", "k is null", "k is not null", "id >= 0"];
  const expected = await answers(filters);
  await expect.poll(() => cluster.placement().segments).toBe(4);
  const narrow = () => client.query({ ...STRONG, filter: "k == 123" });
  expect(await segmentsOf(narrow)).toEqual({ read: 4, skipped: 0 });

  let isDone = false;
  let extra = 0;
  const writing = (async () => {
    for (; !isDone; extra++) {
      // Beyond what is compared, and taken away again: deletes that the job does not know of hit what it wrote.
      await insert(10_000 + extra, 1, () => 2_000);
      await client.upsert({ collectionName: COLLECTION, data: { id: 200, k: keyOf(200), v: [0, 4, 1, 0] } });
      await client.delete({ collectionName: COLLECTION, filter: `id == ${10_000 + extra}` });
      expect(await answers(["k == 123"])).toEqual([(expected as unknown[])[0]]);
    }
  })();
  const { compactionID } = await client.compact({ collectionName: COLLECTION, isClustering: true });
  isDone = true;
  await writing;
  expect(extra).toBeGreaterThan(0);
  const state = await client.getCompactionState({ compactionID });
  expect(state).toMatchObject({ state: "Completed", executingPlanNumber: 0, completedPlanNumber: 1 });
  expect(await answers(filters)).toEqual(expected);
  const { read, skipped } = await segmentsOf(narrow);
  expect(skipped).toBeGreaterThanOrEqual(3);
  expect(read).toBe(1);
  expect((await segmentsOf(() => client.query({ ...STRONG, filter: "k is null" }))).read).toBeLessThanOrEqual(2);
  const near = () => client.search({ ...STRONG, data: [[0, 0, 0, 0]], filter: "k >= 900", limit: 5 });
  expect((await segmentsOf(near)).skipped).toBeGreaterThanOrEqual(skipped - 1);

  const again = await client.compact({ collectionName: COLLECTION, isClustering: true });
  expect(await client.getCompactionState(again)).toMatchObject({ state: "Completed", completedPlanNumber: 0 });
  // Merging what is small does not mix what is laid out with what came since.
  await client.flush({ collectionName: COLLECTION });
  await client.compact({ collectionName: COLLECTION });
  expect(await answers(filters)).toEqual(expected);
  expect((await segmentsOf(narrow)).skipped).toBeGreaterThanOrEqual(skipped);

  const [node] = cluster.nodes;
  await cluster.stopNode(node!);
  await cluster.startNode(ROLES);
  expect(await answers(filters)).toEqual(expected);
  expect((await segmentsOf(narrow)).skipped).toBeGreaterThanOrEqual(skipped);
});

test("texts are laid out by nodes that come and go, partition by partition", async () => {
  await start([["coordinator"], ["streaming", "query", "proxy"], ["data"]], {
    fieldName: "k",
    dataType: "VarChar",
    elementTypeParams: { max_length: 64 },
  });
  await client.createPartition({ collectionName: COLLECTION, partitionName: "other" });
  const keyOf = (id: number) => `key ${String((id * 7919) % 1000).padStart(4, "0")} é漢`;
  for (const first of [0, 500]) {
    await insert(first, 500, keyOf);
    await client.flush({ collectionName: COLLECTION });
  }
  const data = Array.from({ length: 300 }, (_, i) => ({ id: 5_000 + i, k: keyOf(i), v: [i, 0, 0, 1] }));
  await client.insert({ collectionName: COLLECTION, partitionName: "other", data });
  await client.flush({ collectionName: COLLECTION });
  const filters = ["k == 'key 0123 é漢'", "k > 'key 0950'", "k like 'key 00%'", "id >= 0"];
  const expected = await answers(filters);

  const roleOf = (name: Role) => cluster.nodes.find((node) => name in node.observe())!;
  const lost = loseAnswers(roleOf("coordinator").bus, compactSegments);
  const { compactionID } = await client.compact({ collectionName: COLLECTION, isClustering: true, wait: false });
  await expect.poll(lost.asked).toBeGreaterThan(0);
  await cluster.stopNode(roleOf("data"));
  lost.giveUp();
  await cluster.stopNode(roleOf("coordinator"));
  await cluster.startNode(["coordinator"]);
  await cluster.startNode(["data"]);
  await expect
    .poll(async () => (await client.getCompactionState({ compactionID })).state, { interval: 200 })
    .toBe("Completed");
  expect(await answers(filters)).toEqual(expected);
  const { read, skipped } = await segmentsOf(() => client.query({ ...STRONG, filter: "k == 'key 0123 é漢'" }));
  expect(read).toBeLessThanOrEqual(2);
  expect(skipped).toBeGreaterThanOrEqual(3);
});
