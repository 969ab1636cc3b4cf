/** A request that comes again, late: it is answered as done, and does nothing to what was written since. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const collectionName = "c";

let cluster: TestCluster;
let client: VdbClient;
beforeAll(async () => {
  cluster = await startTestCluster([ROLES], ["streaming.sealAgeMs=1000"]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "n", dataType: "Int8" },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 2 } },
      ],
    },
    indexParams: [{ fieldName: "vector", metricType: "L2" }],
    params: { shardsNum: 2 },
  });
  await client.waitUntilLoaded({ collectionName });
});
afterAll(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

const row = (id: number, n: number) => ({ id, n, vector: [id, n] });
const ids = async () =>
  (await client.query({ collectionName, filter: "id >= 0", consistencyLevel: "Strong" })).map(({ id }) => id);

test("a delete by a filter leaves what was written after its answer, whoever owns the shards by then", async () => {
  // On both shards, and only one of them has a row that matches.
  await client.insert({ collectionName, data: Array.from({ length: 8 }, (_, id) => row(id, id === 3 ? 1 : 0)) });
  const first = { collectionName, filter: "n == 1", requestId: "delete-1" };
  expect(await client.delete(first)).toEqual({ deleteCount: 1 });
  expect(await ids()).toEqual([0, 1, 2, 4, 5, 6, 7]);
  await client.upsert({ collectionName, data: Array.from({ length: 8 }, (_, id) => row(id, 1)) });
  await client.delete(first);
  expect(await ids()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);

  // What the next owner knows of it is in the log here, in objects there.
  for (const isFlushed of [false, true]) {
    if (isFlushed) await client.flush({ collectionName });
    await cluster.stopNode(cluster.nodes[0]!);
    await cluster.startNode(ROLES);
    await client.waitUntilLoaded({ collectionName });
    await client.delete(first);
    expect(await ids()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  }
  expect(await client.delete({ ...first, requestId: "delete-2" })).toEqual({ deleteCount: 8 });
  expect(await ids()).toEqual([]);
});

test("lists grow once by a request that comes again, also when there are other partitions by then", async () => {
  const lists = "lists";
  await client.createCollection({
    collectionName: lists,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "tags", dataType: "Array", elementDataType: "Int64", elementTypeParams: { max_capacity: 9 } },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 2 } },
      ],
    },
    indexParams: [{ fieldName: "vector", metricType: "L2" }],
  });
  await client.waitUntilLoaded({ collectionName: lists });
  const target = (partitionName: string) => ({ collectionName: lists, partitionName });
  const insert = (id: number, partitionName: string) =>
    client.insert({ ...target(partitionName), data: [{ id, tags: [], vector: [id, 0] }] });
  const tags = async () =>
    (await client.query({ collectionName: lists, filter: "id > 0", consistencyLevel: "Strong" })).map(
      ({ tags: list }) => list,
    );
  const append = (requestId: string, tag: number, where: { ids: number[] } | { filter: string }) =>
    client.upsert({
      collectionName: lists,
      requestId,
      fieldOps: [{ fieldName: "tags", op: "ARRAY_APPEND" }],
      ...("filter" in where
        ? { filter: where.filter, data: [{ tags: [tag] }] }
        : { data: where.ids.map((id) => ({ id, tags: [tag] })) }),
    });

  await insert(1, "_default");
  await append("one", 1, { ids: [1] });
  await append("found", 2, { filter: "id > 0" });
  for (const partitionName of ["first", "second", "third"]) await client.createPartition(target(partitionName));
  await insert(2, "second");
  await insert(3, "third");
  await append("one", 1, { ids: [1] });
  await append("two", 3, { ids: [2, 3] });
  await client.releasePartitions({ collectionName: lists, partitionNames: ["first"] });
  await client.dropPartition(target("first"));
  await append("two", 3, { ids: [2, 3] });
  // Of the rows that are found this time, one has had its turn.
  await append("found", 2, { filter: "id in [1, 2]" });
  expect(await tags()).toEqual([[1, 2], [3, 2], [3]]);
});
