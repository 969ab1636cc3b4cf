/** Writes on a NATS server with the smallest max_payload: what is cut into pieces is cut so that each fits a message. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const collectionName = "c";
const ROWS = 2_000;

let cluster: TestCluster;
let client: VdbClient;
beforeAll(async () => {
  cluster = await startTestCluster([ROLES], [], "max_payload: 1MB");
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName,
    schema: {
      fields: [
        { fieldName: "id", dataType: "VarChar", isPrimary: true, elementTypeParams: { max_length: 1_000 } },
        { fieldName: "n", dataType: "Int8" },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 2 } },
      ],
    },
    indexParams: [{ fieldName: "vector", metricType: "L2" }],
  });
  await client.waitUntilLoaded({ collectionName });
});
afterAll(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

const count = async (filter: string) =>
  (await client.query({ collectionName, filter, outputFields: ["count(*)"], consistencyLevel: "Strong" }))[0];

const row = (id: number) => ({ id: String(id).padStart(1_000, "0"), n: 0, vector: [id, 0] });

test("many rows are changed and deleted by a filter", async () => {
  // 2 MB of keys.
  for (let start = 0; start < ROWS; start += 500) {
    await client.insert({ collectionName, data: Array.from({ length: 500 }, (_, i) => row(start + i)) });
  }
  await client.upsert({ collectionName, filter: "n == 0", data: [{ n: 1 }] });
  expect(await count("n == 1")).toEqual({ "count(*)": ROWS });
  expect(await client.delete({ collectionName, filter: "n == 1" })).toEqual({ deleteCount: ROWS });
  expect(await count("n >= 0")).toEqual({ "count(*)": 0 });
});

test("a delete of many keys that comes again leaves what was written after its answer", async () => {
  const data = Array.from({ length: 600 }, (_, id) => row(id));
  const ids = data.map(({ id }) => JSON.stringify(id)).join(",");
  const request = { collectionName, filter: `id in [${ids}]`, requestId: "listed" };
  await client.insert({ collectionName, data });
  expect(await client.delete(request)).toEqual({ deleteCount: 600 });
  expect(await count("n >= 0")).toEqual({ "count(*)": 0 });
  await client.insert({ collectionName, data });
  await client.delete(request);
  expect(await count("n >= 0")).toEqual({ "count(*)": 600 });
});
