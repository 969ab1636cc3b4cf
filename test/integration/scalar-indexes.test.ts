/** Scalar indexes under the public API: query nodes make them, filters find the same with them, and a restart makes them again. */
import { afterEach, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "indexed";
const STRONG = { collectionName: COLLECTION, consistencyLevel: "Strong" } as const;
const FILTERS = [
  "n in [3, 4] and name like 'name 1%'",
  "doc['size'] > 17 or n == 0",
  "not (doc['size'] < 10) and id < 50",
];

let cluster: TestCluster;
let client: VdbClient;

afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

function cacheBytes(): number {
  return cluster.nodes.reduce((sum, node) => sum + Number(node.observe().query?.filterCacheBytes ?? 0), 0);
}

async function found(): Promise<unknown> {
  return Promise.all(
    FILTERS.map(async (filter) => {
      const rows = await client.query({ ...STRONG, filter, outputFields: ["id"], limit: 500 });
      const [hits] = await client.search({ ...STRONG, filter, data: [[7, 0]], limit: 20 });
      return { rows: rows.map(({ id }) => id), hits: hits!.map(({ id }) => id) };
    }),
  );
}

test("filters find the same with indexes as without, which are dropped and made again at will", async () => {
  cluster = await startTestCluster([ROLES]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: COLLECTION,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "n", dataType: "Int64" },
        { fieldName: "name", dataType: "VarChar", elementTypeParams: { max_length: 20 } },
        { fieldName: "doc", dataType: "JSON" },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 2 } },
      ],
    },
    indexParams: [{ fieldName: "vector", metricType: "L2" }],
  });
  const data = Array.from({ length: 300 }, (_, i) => ({
    ...{ id: i, n: i % 6, name: `name ${i % 30}`, doc: { size: i % 20 }, vector: [i, 0] },
  }));
  await client.insert({ collectionName: COLLECTION, data });
  await client.flush({ collectionName: COLLECTION });
  await expect.poll(() => cluster.placement().segments).toBe(1);
  await expect.poll(() => cluster.placement().heldBytes).toBe(0);
  const expected = await found();
  const before = cacheBytes();
  for (const name of ["name 1?", "name 2?"]) {
    expect(await client.query({ ...STRONG, filter: `name == "${name}"`, outputFields: ["id"] })).toEqual([]);
  }
  // Within the bounds of the segment, and in none of its rows: known from the second filter on that names a value of the field.
  expect(cluster.nodes[0]!.observe().query?.filters).toMatchObject({ chunksSkipped: 1 });

  for (const [fieldName, indexType, params] of [
    ["n", "STL_SORT", {}],
    ["name", "NGRAM", { min_gram: 2, max_gram: 3 }],
    ["doc", "INVERTED", { json_path: "doc['size']", json_cast_type: "DOUBLE" }],
  ] as const) {
    await client.createIndex({ collectionName: COLLECTION, indexParams: [{ fieldName, indexType, params }] });
  }
  // The same filters would be answered by what is kept of them.
  await client.query({
    ...STRONG,
    filter: "n == 1 and name like '%name 2%' and doc['size'] == 3",
    outputFields: ["id"],
  });
  expect(cacheBytes()).toBeGreaterThan(before);
  expect(await found()).toEqual(expected);

  const [node] = cluster.nodes;
  await cluster.stopNode(node!);
  await cluster.startNode(ROLES);
  await expect.poll(() => cluster.placement().segments).toBe(1);
  await expect.poll(cacheBytes).toBeGreaterThan(0);
  expect(await found()).toEqual(expected);

  await client.dropIndex({ collectionName: COLLECTION, indexName: "n" });
  await client.dropIndex({ collectionName: COLLECTION, indexName: "doc/size" });
  expect(await found()).toEqual(expected);
});
