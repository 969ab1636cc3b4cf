/** The HTTP client that Milvus publishes for Node.js, against the proxy: what its users do works unchanged. */
import { HttpClient } from "@zilliz/milvus2-sdk-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const collectionName = "books";
const OK = { code: 0 };

let cluster: TestCluster;
let client: HttpClient;
let endpoint: string;

beforeAll(async () => {
  cluster = await startTestCluster([ROLES], ["proxy.http=127.0.0.1:0"]);
  const { http } = cluster.nodes[0]!.observe().proxy as { http: string };
  endpoint = `http://${http}`;
  client = new HttpClient({ endpoint, acceptInt64: true });
});

afterAll(() => cluster?.[Symbol.asyncDispose]());

describe("a collection", () => {
  test("is created, listed and described", async () => {
    const created = await client.createCollection({ collectionName, dimension: 4, metricType: "L2" });
    expect(created).toMatchObject(OK);
    expect(await client.hasCollection({ collectionName, dbName: "default" })).toMatchObject({ data: { has: true } });
    expect(await client.listCollections()).toMatchObject({ data: [collectionName] });
    const { data } = await client.describeCollection({ collectionName });
    expect(data).toMatchObject({ collectionName, enableDynamicField: true, shardsNum: 1 });
    expect(data.fields).toMatchObject([
      { name: "id", type: "Int64" },
      { name: "vector", type: "FloatVector" },
    ]);
    await expect
      .poll(async () => (await client.getCollectionLoadState({ collectionName })).data)
      .toMatchObject({ loadState: "LoadStateLoaded" });
  });

  test("takes rows", async () => {
    const data = Array.from({ length: 20 }, (_, id) => ({ id, vector: [id, 0, 0, 0], title: `book ${id}` }));
    expect(await client.insert({ collectionName, data })).toMatchObject({ ...OK, data: { insertCount: 20 } });
    const changed = [{ id: 3, vector: [3, 0, 0, 0], title: "changed" }];
    expect(await client.upsert({ collectionName, data: changed })).toMatchObject({ ...OK, data: { upsertCount: 1 } });
  });

  test("is searched, queried and read by key", async () => {
    const search = {
      collectionName,
      data: [[3, 0, 0, 0]],
      limit: 2,
      outputFields: ["title"],
      consistencyLevel: "Strong",
    };
    expect(await client.search(search)).toMatchObject({
      ...OK,
      data: [
        { id: 3, distance: 0, title: "changed" },
        { id: 2, distance: 1, title: "book 2" },
      ],
    });
    const query = { collectionName, filter: 'title like "book 1%"', outputFields: ["title"], limit: 3 };
    expect(await client.query(query)).toMatchObject({ ...OK, data: [{ id: 1 }, { id: 10 }, { id: 11 }] });
    expect(await client.get({ collectionName, id: [19], outputFields: ["title"] })).toMatchObject({
      ...OK,
      data: [{ id: 19, title: "book 19" }],
    });
  });

  test("gives 64-bit integers as text to those who ask for that", async () => {
    const careful = new HttpClient({ endpoint });
    const reply = await careful.query({ collectionName, filter: "id == 7", outputFields: ["id"], limit: 1 });
    expect(reply).toMatchObject({ ...OK, data: [{ id: "7" }] });
  });

  test("loses the rows that are deleted", async () => {
    expect(await client.delete({ collectionName, filter: "id in [0, 1]" })).toMatchObject(OK);
    const count = { collectionName, filter: "", outputFields: ["count(*)"], consistencyLevel: "Strong" };
    expect(await client.query(count)).toMatchObject({ ...OK, data: [{ "count(*)": 18 }] });
    expect(await client.getCollectionStatistics({ collectionName })).toMatchObject({ data: { rowCount: 18 } });
  });

  test("has partitions", async () => {
    const partitionName = "novels";
    expect(await client.createPartition({ collectionName, partitionName })).toMatchObject(OK);
    expect(await client.hasPartition({ collectionName, partitionName })).toMatchObject({ data: { has: true } });
    expect(await client.listPartitions({ collectionName })).toMatchObject({ data: ["_default", partitionName] });
    const data = [{ id: 100, vector: [9, 9, 9, 9], title: "novel" }];
    // Its types do not know the partition's name, its requests carry it.
    const insert = { collectionName, partitionName, data };
    expect(await client.insert(insert)).toMatchObject(OK);
    const query = { collectionName, partitionNames: [partitionName], filter: "id >= 0", consistencyLevel: "Strong" };
    expect(await client.query({ ...query, outputFields: ["title"] })).toMatchObject({
      data: [{ id: 100, title: "novel" }],
    });
    expect(await client.getPartitionStatistics({ collectionName, partitionName })).toMatchObject({
      data: { rowCount: 1 },
    });
    expect(await client.releasePartitions({ collectionName, partitionNames: [partitionName] })).toMatchObject(OK);
    expect(await client.dropPartition({ collectionName, partitionName })).toMatchObject(OK);
    expect(await client.listPartitions({ collectionName })).toMatchObject({ data: ["_default"] });
  });

  test("has aliases, a new name, and an end", async () => {
    expect(await client.createAlias({ collectionName, aliasName: "library" })).toMatchObject(OK);
    expect(await client.describeAlias({ aliasName: "library" })).toMatchObject({ data: { collectionName } });
    expect(await client.get({ collectionName: "library", id: [5], outputFields: ["title"] })).toMatchObject({
      data: [{ id: 5 }],
    });
    expect(await client.listAliases({ dbName: "default", ...{ collectionName } })).toMatchObject({ data: ["library"] });
    expect(await client.dropAlias({ aliasName: "library" })).toMatchObject(OK);
    expect(await client.renameCollection({ collectionName, newCollectionName: "volumes" })).toMatchObject(OK);
    expect(await client.listCollections()).toMatchObject({ data: ["volumes"] });
    expect(await client.dropCollection({ collectionName: "volumes" })).toMatchObject(OK);
    expect(await client.listCollections()).toMatchObject({ data: [] });
  });
});

test("indexes are made, described and dropped", async () => {
  await client.createCollection({
    collectionName: "indexed",
    schema: {
      autoID: false,
      enabledDynamicField: false,
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "v", dataType: "FloatVector", elementTypeParams: { dim: 8 } },
      ],
    },
  });
  const index = {
    fieldName: "v",
    indexName: "by_v",
    metricType: "COSINE",
    params: { index_type: "HNSW", M: "16", efConstruction: "100" },
  };
  expect(await client.createIndex({ collectionName: "indexed", indexParams: [index] })).toMatchObject(OK);
  expect(await client.listIndexes({ collectionName: "indexed" })).toMatchObject({ data: ["by_v"] });
  const described = await client.describeIndex({ collectionName: "indexed", indexName: "by_v" });
  expect(described).toMatchObject({
    ...OK,
    data: [{ indexName: "by_v", fieldName: "v", indexType: "HNSW", metricType: "COSINE" }],
  });
  expect(await client.dropIndex({ collectionName: "indexed", indexName: "by_v" })).toMatchObject(OK);
  expect(await client.listIndexes({ collectionName: "indexed" })).toMatchObject({ data: [] });
});

test("databases keep collections apart", async () => {
  expect(await client.createDatabase({ dbName: "shop" })).toMatchObject(OK);
  expect(await client.listDatabases()).toMatchObject({ data: ["default", "shop"] });
  const other = new HttpClient({ endpoint, database: "shop", acceptInt64: true });
  expect(await other.createCollection({ collectionName, dimension: 2 })).toMatchObject(OK);
  expect(await other.listCollections({ dbName: "shop" })).toMatchObject({ data: [collectionName] });
  expect(await client.hasCollection({ collectionName, dbName: "default" })).toMatchObject({ data: { has: false } });
  expect(await other.dropCollection({ collectionName })).toMatchObject(OK);
  expect(await client.dropDatabase({ dbName: "shop" })).toMatchObject(OK);
});
