/** Compaction under the public API: deletes that are distributed, segments that are merged, rows that outlive their time. */
import { afterEach, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { CreateCollectionOptions, Hit } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { isVdbError } from "../../runtime/errors.ts";
import type { VdbNode } from "../../runtime/node.ts";
import { compactSegments } from "../../runtime/protocol/data.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { loseAnswers } from "../../runtime/testing/lost-answers.ts";

const COLLECTION = "compacted";
const STRONG = { collectionName: COLLECTION, consistencyLevel: "Strong" } as const;

let cluster: TestCluster;
let client: VdbClient;

async function start(
  nodes: readonly (readonly Role[])[],
  settings: string[],
  options: Partial<CreateCollectionOptions> = {},
): Promise<void> {
  cluster = await startTestCluster(nodes, ["coordinator.indexRowsMin=50", ...settings]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: COLLECTION,
    dimension: 4,
    metricType: "L2",
    ...options,
    params: { shardsNum: 2, ...options.params },
  });
}
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** Text, JSON and a null among the columns: the dynamic field has them all. */
function rowsFrom(first: number, count: number, n = 0) {
  return Array.from({ length: count }, (_, i) => {
    const id = first + i;
    return { id, vector: [id, id % 7, 1, 0], n, text: `row ${id}`, tags: [id, "é"], none: null };
  });
}

async function read(): Promise<unknown> {
  const common = { ...STRONG, outputFields: ["n", "text", "tags", "vector"] };
  const [[count], rows, hits, filtered] = await Promise.all([
    client.query({ ...STRONG, outputFields: ["count(*)"] }),
    client.query({ ...common, limit: 16_384 }),
    client.search({ ...common, data: [[150, 1, 1, 0]], limit: 30 }),
    client.search({ ...common, data: [[20, 3, 1, 0]], limit: 5, filter: "n == 1" }),
  ]);
  const near = (list: Hit[]) => [...list].sort((a, b) => a.distance - b.distance || Number(a.id) - Number(b.id));
  return { count, rows, hits: hits.map(near), filtered: filtered.map(near) };
}

async function writeHistory(): Promise<void> {
  for (let round = 0; round < 6; round++) {
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(round * 100, 100) });
    await client.flush({ collectionName: COLLECTION });
  }
  await client.delete({ collectionName: COLLECTION, filter: "id >= 40 and id < 140" });
  await client.upsert({ collectionName: COLLECTION, data: rowsFrom(0, 30, 1) });
  await client.flush({ collectionName: COLLECTION });
}

function role(name: Role): VdbNode {
  return cluster.nodes.find((node) => name in node.observe())!;
}

const BY_HAND = { properties: { "collection.autocompaction.enabled": false } };

test("what is read is the same before, during and after a compaction, and after a restart; indexes are there again", async () => {
  await start([ROLES], ["coordinator.garbageIntervalMs=1000"], BY_HAND);
  await writeHistory();
  const expected = await read();
  expect(expected).toMatchObject({ count: { "count(*)": 500 } });
  await expect.poll(() => cluster.placement().segments).toBe(14);

  let isDone = false;
  const reading = (async () => {
    for (; !isDone; ) expect(await read()).toEqual(expected);
  })();
  const { compactionID } = await client.compact({ collectionName: COLLECTION });
  isDone = true;
  await reading;
  expect(await client.getCompactionState({ compactionID })).toMatchObject({
    compactionID,
    state: "Completed",
    executingPlanNumber: 0,
  });
  expect(await client.collectionStats({ collectionName: COLLECTION })).toEqual({ rowCount: 500 });
  // Those that were replaced stay loaded until reads under the old view must have ended.
  await expect.poll(() => cluster.placement()).toMatchObject({ segments: 2, indexes: 2 });
  expect(await read()).toEqual(expected);

  await client.delete({ collectionName: COLLECTION, filter: "id == 150" });
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(150, 1) });
  const [node] = cluster.nodes;
  await cluster.stopNode(node!);
  await cluster.startNode(ROLES);
  expect(await read()).toEqual(expected);
  // The compaction was asked of a coordinator that is gone.
  expect(await client.getCompactionState({ compactionID })).toMatchObject({ state: "Completed" });
});

test("a compaction is finished by other nodes when its data node, and then the coordinator, are gone in the middle", async () => {
  await start([["coordinator"], ["streaming"], ["query"], ["data"], ["proxy"]], [], BY_HAND);
  await writeHistory();
  const expected = await read();
  // The coordinator hears of no job that it has ended: it is in the middle however fast they are.
  const lost = loseAnswers(role("coordinator").bus, compactSegments);
  const { compactionID } = await client.compact({ collectionName: COLLECTION, wait: false });
  await expect.poll(lost.asked).toBeGreaterThan(0);
  await cluster.stopNode(role("data"));
  lost.giveUp();
  expect(await client.getCompactionState({ compactionID })).toMatchObject({ state: "Executing" });
  await cluster.stopNode(role("coordinator"));
  expect(await read()).toEqual(expected);
  await cluster.startNode(["coordinator"]);
  await cluster.startNode(["data"]);
  await expect
    .poll(async () => (await client.getCompactionState({ compactionID })).state, { interval: 200 })
    .toBe("Completed");
  expect(await read()).toEqual(expected);
  expect(await client.collectionStats({ collectionName: COLLECTION })).toEqual({ rowCount: 500 });
});

test("segments of many small flushes are merged by themselves", async () => {
  await start([ROLES], ["streaming.sealRows=20"], { params: { shardsNum: 1 } });
  for (let round = 0; round < 30; round++)
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(round * 20, 20) });
  await client.flush({ collectionName: COLLECTION });
  await expect.poll(() => cluster.placement().segments).toBeLessThan(8);
  expect(await read()).toMatchObject({ count: { "count(*)": 600 } });
});

describe("deletes over and over", () => {
  test("neither a query node's memory nor what is stored grows with them", async () => {
    const settings = ["streaming.deleteRows=50", "coordinator.deltaObjects=3", "coordinator.garbageIntervalMs=1000"];
    await start([["coordinator", "streaming", "data", "proxy"], ["query"]], settings, { params: { shardsNum: 1 } });
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(0, 100) });
    await client.flush({ collectionName: COLLECTION });
    await expect.poll(() => cluster.placement().heldBytes).toBe(0);
    let most = 0;
    for (let round = 1; round <= 20; round++) {
      await client.upsert({ collectionName: COLLECTION, data: rowsFrom(0, 60, round) });
      await client.delete({ collectionName: COLLECTION, filter: "id >= 60" });
      await client.flush({ collectionName: COLLECTION });
      // A round makes 60 deletes or so in two flushes at most; what three of them wrote is distributed.
      const kept = () => Number(role("query").observe().query!.deletesInMemory);
      await expect.poll(kept).toBeLessThan(300);
      const rows = await client.query({ ...STRONG, outputFields: ["n"], limit: 200 });
      expect(rows).toEqual(rowsFrom(0, 60).map(({ id }) => ({ id, n: round })));
      // The node has the round's deletes now, unless they are distributed already.
      most = Math.max(most, kept());
    }
    expect(most).toBeGreaterThan(0);
    await client.compact({ collectionName: COLLECTION });
    await expect.poll(() => Number(role("query").observe().query!.deletesInMemory)).toBe(0);
    expect(await client.collectionStats({ collectionName: COLLECTION })).toEqual({ rowCount: 60 });
  });
});

test("deletes are refused as retriable when there is nobody to distribute them, and taken again when there is", async () => {
  const settings = ["streaming.deltaBytesMax=1048576", "coordinator.deltaObjects=3", "coordinator.indexRowsMin=1000"];
  await start([["coordinator", "streaming", "query", "proxy"]], settings, { params: { shardsNum: 1 } });
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(0, 100) });
  await client.flush({ collectionName: COLLECTION });
  let refused: unknown;
  let deleted = 0;
  const deleteNext = (timeoutMs: number) =>
    client.delete({ collectionName: COLLECTION, filter: `id == ${deleted}`, timeoutMs });
  while (refused === undefined && deleted < 100) {
    try {
      await deleteNext(3_000);
      deleted++;
      await client.flush({ collectionName: COLLECTION });
    } catch (error) {
      // A machine that is too slow for an answer has refused nothing.
      if (!isVdbError(error, "deadline_exceeded")) refused = error;
    }
  }
  expect(refused).toMatchObject({ kind: "rate_limited", retriable: true });
  expect((refused as Error).message).toMatch(/data nodes have not distributed yet/);
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(100, 1) });
  await cluster.startNode(["data"]);
  await deleteNext(60_000);
  expect(await read()).toMatchObject({ count: { "count(*)": 100 - deleted } });
});

test("rows that have outlived their time are seen by no read, and go for good", async () => {
  const ttl = { params: { shardsNum: 1 }, properties: { "collection.ttl.seconds": 8 } };
  await start([ROLES], ["coordinator.garbageIntervalMs=1000"], ttl);
  const counted = async () => Number((await client.query({ ...STRONG, outputFields: ["count(*)"] }))[0]!["count(*)"]);
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(0, 60) });
  await client.flush({ collectionName: COLLECTION });
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(100, 10) });
  expect(await client.describeCollection({ collectionName: COLLECTION })).toMatchObject({
    properties: [{ key: "collection.ttl.seconds", value: "8" }],
  });
  // Nothing is written meanwhile: it is the clock that tells, for sealed rows and growing ones alike.
  await expect.poll(counted, { interval: 250 }).toBe(0);
  const [hits] = await client.search({ ...STRONG, data: [[5, 5, 1, 0]], limit: 10 });
  expect(hits).toEqual([]);
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(200, 5) });
  expect(await counted()).toBe(5);
  await client.flush({ collectionName: COLLECTION });
  await expect.poll(async () => (await client.collectionStats({ collectionName: COLLECTION })).rowCount).toBe(0);
});
