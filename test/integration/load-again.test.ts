/** Loading a collection a moment after it was released: query nodes still have its segments, and must not serve what was changed meanwhile. */
import { afterEach, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const NAME = "again";
const ROWS = 200;
const SETTLE = { interval: 100 };

let cluster: TestCluster;
let client: VdbClient;
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

test("an index that was dropped while the collection was released is not searched by another metric's name", async () => {
  cluster = await startTestCluster(
    [["coordinator", "streaming", "proxy"], ["query"]],
    ["coordinator.indexRowsMin=100"],
  );
  const dataNode = await cluster.startNode(["data"]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: NAME,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 2 } },
      ],
    },
  });
  const createIndex = (metricType: "COSINE" | "L2") =>
    client.createIndex({
      collectionName: NAME,
      indexParams: [{ fieldName: "vector", indexName: "vector", indexType: "HNSW", metricType }],
    });
  await createIndex("COSINE");
  const data = Array.from({ length: ROWS }, (_, id) => ({ id, vector: [id + 1, 1] }));
  await client.insert({ collectionName: NAME, data });
  await client.flush({ collectionName: NAME });
  await client.loadCollection({ collectionName: NAME });
  await expect.poll(() => cluster.placement().indexes, SETTLE).toBe(1);

  // Nobody builds the next one.
  await cluster.stopNode(dataNode);
  await client.releaseCollection({ collectionName: NAME });
  await client.dropIndex({ collectionName: NAME, indexName: "vector" });
  await createIndex("L2");
  await client.loadCollection({ collectionName: NAME });
  const [hits = []] = await client.search({
    ...{ collectionName: NAME, consistencyLevel: "Strong", data: [[11, 1]], limit: 3 },
  });
  expect(hits.map(({ id, distance }) => [id, distance])).toEqual([
    [10, 0],
    [9, 1],
    [11, 1],
  ]);
  await expect.poll(() => cluster.placement().indexes, SETTLE).toBe(0);
});
