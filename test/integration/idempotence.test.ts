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
