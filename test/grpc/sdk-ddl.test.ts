/** The client that Milvus publishes for Node.js, over gRPC against the proxy: what its users define works unchanged. */
import { DataType, FunctionType, MilvusClient, RbacObjects } from "@zilliz/milvus2-sdk-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROLES } from "../../runtime/actor.ts";
import { type GrpcCaller, statusIn } from "./call.ts";
import { type GrpcNode, startGrpcNode } from "./node.ts";

const OK = { error_code: "Success", code: 0 };

let node: GrpcNode;
let address: string;
let client: MilvusClient;
let caller: GrpcCaller;

beforeAll(async () => {
  node = await startGrpcNode();
  ({ address, client, caller } = node);
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
});

/** The reply of a request that succeeds. */
async function ok<T extends object>(asked: Promise<T>): Promise<T> {
  const reply = await asked;
  const { status = reply } = reply as { status?: object };
  expect(status).toMatchObject(OK);
  return reply;
}

const pairs = (values: Record<string, string>) => Object.entries(values).map(([key, value]) => ({ key, value }));

const books = {
  collection_name: "books",
  description: "of a library",
  fields: [
    { name: "id", data_type: DataType.Int64, is_primary_key: true, autoID: false },
    { name: "title", data_type: DataType.VarChar, max_length: 200, nullable: true, default_value: "untitled" },
    { name: "pages", data_type: DataType.Int32, default_value: 7 },
    { name: "tags", data_type: DataType.Array, element_type: DataType.VarChar, max_length: 20, max_capacity: 8 },
    { name: "about", data_type: DataType.VarChar, max_length: 1000, enable_analyzer: true },
    { name: "words", data_type: DataType.SparseFloatVector },
    { name: "v", data_type: DataType.FloatVector, dim: 4 },
  ],
  functions: [
    {
      name: "bm25",
      description: "words of about",
      type: FunctionType.BM25,
      input_field_names: ["about"],
      output_field_names: ["words"],
      params: {},
    },
  ],
  enable_dynamic_field: true,
  consistency_level: "Session",
  properties: { "collection.ttl.seconds": 86400 },
  shards_num: 2,
} as const;

const collection_name = books.collection_name;

describe("a client", () => {
  test("connects, and is told a version of Milvus's", async () => {
    expect(client.connectStatus).toBe(1);
    expect(client.serverInfo).toMatchObject({ build_tags: expect.stringMatching(/^2\.6\.\d+$/) });
    expect(await client.getVersion()).toMatchObject({ version: expect.stringMatching(/^2\.6\.\d+$/) });
    expect(await client.checkHealth()).toMatchObject({ isHealthy: true, reasons: [] });
  });

  test("shares its port with HTTP", async () => {
    expect(await (await fetch(`http://${address}/healthz`)).text()).toBe("OK");
  });

  test("is told of the nodes", async () => {
    const { response } = await client.getMetric({ request: { metric_type: "system_info" } });
    expect(response.nodes_info).toHaveLength(ROLES.length);
    expect(await caller.call("GetComponentStates")).toMatchObject({ state: { stateCode: "Healthy" } });
    const before = await caller.call("AllocTimestamp");
    const after = await caller.call("AllocTimestamp");
    expect(BigInt(after.timestamp as string)).toBeGreaterThan(BigInt(before.timestamp as string));
  });
});

describe("a collection", () => {
  beforeAll(async () => {
    await ok(client.createCollection(books as unknown as Parameters<MilvusClient["createCollection"]>[0]));
  });

  test("is described with its schema, ids and channels", async () => {
    const described = await ok(client.describeCollection({ collection_name }));
    expect(described).toMatchObject({
      collection_name,
      db_name: "default",
      shards_num: 2,
      num_partitions: "1",
      consistency_level: "Session",
      aliases: [],
      virtual_channel_names: [expect.any(String), expect.any(String)],
      physical_channel_names: [expect.any(String), expect.any(String)],
      properties: expect.arrayContaining([{ key: "collection.ttl.seconds", value: "86400" }]),
    });
    expect(Number(described.collectionID)).toBeGreaterThan(0);
    expect(Number(described.created_utc_timestamp)).toBeGreaterThan(Date.UTC(2024));
    expect(BigInt(described.update_timestamp)).toBeGreaterThan(BigInt(described.created_timestamp));
    const { schema } = described;
    expect(schema).toMatchObject({ name: collection_name, description: "of a library", enable_dynamic_field: true });
    expect(schema.fields.map(({ name, data_type, fieldID }) => [name, data_type, Number(fieldID)])).toEqual([
      ["id", "Int64", 100],
      ["title", "VarChar", 101],
      ["pages", "Int32", 102],
      ["tags", "Array", 103],
      ["about", "VarChar", 104],
      ["words", "SparseFloatVector", 105],
      ["v", "FloatVector", 106],
    ]);
    const [id, title, pages, tags, about, words, v] = schema.fields;
    expect(id).toMatchObject({ is_primary_key: true, autoID: false });
    expect(title).toMatchObject({ nullable: true, default_value: "untitled" });
    expect(pages).toMatchObject({ default_value: 7 });
    expect(tags).toMatchObject({
      element_type: "VarChar",
      type_params: expect.arrayContaining(pairs({ max_length: "20", max_capacity: "8" })),
    });
    expect(about).toMatchObject({ type_params: expect.arrayContaining(pairs({ enable_analyzer: "true" })) });
    expect(words).toMatchObject({ is_function_output: true });
    expect(v).toMatchObject({ type_params: pairs({ dim: "4" }) });
    expect(schema.functions).toMatchObject([
      { name: "bm25", type: "BM25", input_field_names: ["about"], output_field_names: ["words"] },
    ]);
  });

  test("is there, and others are not", async () => {
    expect(await ok(client.hasCollection({ collection_name }))).toMatchObject({ value: true });
    expect(await ok(client.hasCollection({ collection_name: "papers" }))).toMatchObject({ value: false });
    expect(await caller.call("HasCollection", { collectionName: "papers" })).toMatchObject({ value: false });
    expect(await client.describeCollection({ collection_name: "papers" })).toMatchObject({
      status: {
        code: 100,
        error_code: "CollectionNotExists",
        reason: expect.stringContaining("can't find collection[database=default][collection=papers]"),
      },
    });
  });

  test("is listed, and described by its id", async () => {
    const { data } = await ok(client.showCollections());
    const { collectionID, created_timestamp } = await client.describeCollection({ collection_name });
    expect(data).toContainEqual(
      expect.objectContaining({ name: collection_name, id: collectionID, timestamp: expect.any(String) }),
    );
    expect(await caller.call("ShowCollections", { type: "InMemory" })).toMatchObject({ collectionNames: [] });
    expect(await caller.call("DescribeCollection", { collectionID })).toMatchObject({
      collectionName: collection_name,
      createdTimestamp: created_timestamp,
    });
    const batch = await caller.call("BatchDescribeCollection", { collectionName: [collection_name, "papers"] });
    expect(batch.responses).toMatchObject([{ collectionName: collection_name, schema: { name: collection_name } }]);
  });

  test("is refused as Milvus refuses it", async () => {
    const [id, , , , , , v] = books.fields;
    // The client rejects with the status.
    const refused = async (given: object, expected: object) =>
      await expect(client.createCollection({ collection_name: "odd", ...given } as never)).rejects.toMatchObject(
        expected,
      );
    await refused({ fields: [{ ...id, nullable: true }, v] }, { code: 1100, error_code: "IllegalArgument" });
    await refused(
      { fields: [id, { ...v, dim: 40_000 }] },
      { code: 65535, reason: expect.stringContaining("invalid dimension") },
    );
    await refused(
      { collection_name: "1st", fields: [id, v] },
      { reason: expect.stringContaining("Invalid collection name: 1st. the first character of a collection name") },
    );
    const again = { ...books, description: "of another library", shards_num: 1 };
    await refused(again, { code: 65535 });
    const named = { collectionName: collection_name, alias: "", partitionName: "" };
    for (const [method, reason] of [
      ["CreateAlias", "collection alias should not be empty"],
      ["CreatePartition", "Partition name should not be empty"],
    ] as const) {
      expect(statusIn(await caller.call(method, named))).toMatchObject({
        code: 1100,
        reason: expect.stringContaining(reason),
      });
    }
  });

  test("has properties that are altered and dropped", async () => {
    const shown = async () => (await client.describeCollection({ collection_name })).properties;
    await ok(client.alterCollectionProperties({ collection_name, properties: { "mmap.enabled": true } }));
    expect(await shown()).toContainEqual({ key: "mmap.enabled", value: "true" });
    await ok(client.dropCollectionProperties({ collection_name, properties: ["mmap.enabled"] }));
    expect(await shown()).not.toContainEqual(expect.objectContaining({ key: "mmap.enabled" }));
  });

  test("has fields that are added and altered, which changes its update timestamp", async () => {
    const before = await client.describeCollection({ collection_name });
    const field = { name: "year", data_type: DataType.Int16, nullable: true, default_value: 1999 };
    await ok(client.addCollectionField({ collection_name, field }));
    await ok(
      client.alterCollectionFieldProperties({ collection_name, field_name: "title", properties: { max_length: 300 } }),
    );
    const after = await client.describeCollection({ collection_name });
    expect(after.schema.fields.at(-1)).toMatchObject({
      name: "year",
      data_type: "Int16",
      nullable: true,
      default_value: 1999,
    });
    expect(after.schema.fields[1]!.type_params).toContainEqual({ key: "max_length", value: "300" });
    expect(BigInt(after.update_timestamp)).toBeGreaterThan(BigInt(before.update_timestamp));
    expect(after.update_timestamp_str).toBe(String(after.update_timestamp));
    const required = { name: "isbn", data_type: DataType.VarChar, max_length: 20, nullable: false };
    expect(await client.addCollectionField({ collection_name, field: required })).toMatchObject({ code: 1100 });
  });

  test("keeps the functions that it was made with", async () => {
    const name = "bm25";
    expect(await client.dropCollectionFunction({ collection_name, function_name: name })).toMatchObject({
      error_code: expect.not.stringMatching("Success"),
    });
    expect(await client.dropCollectionFunction({ collection_name, function_name: "other" })).toMatchObject({
      code: 1100,
    });
  });

  test("has aliases", async () => {
    const alias = "volumes";
    await ok(client.createAlias({ collection_name, alias }));
    expect(await ok(client.describeAlias({ collection_name, alias }))).toMatchObject({
      alias,
      collection: collection_name,
    });
    expect(await ok(client.listAliases({ collection_name }))).toMatchObject({ aliases: [alias] });
    expect(await client.describeCollection({ collection_name: alias })).toMatchObject({ aliases: [alias] });
    expect(await client.dropCollection({ collection_name: alias })).toMatchObject({ code: 1600 });
    await ok(client.alterAlias({ collection_name, alias }));
    await ok(client.dropAlias({ alias }));
    expect(await client.describeAlias({ collection_name, alias })).toMatchObject({ status: { code: 1600 } });
  });

  test("has partitions", async () => {
    const partition_name = "novels";
    await ok(client.createPartition({ collection_name, partition_name }));
    expect(await ok(client.hasPartition({ collection_name, partition_name }))).toMatchObject({ value: true });
    const shown = await ok(client.listPartitions({ collection_name }));
    expect(shown).toMatchObject({ partition_names: ["_default", partition_name] });
    expect(new Set(shown.partitionIDs).size).toBe(2);
    const { data } = await ok(client.getPartitionStatistics({ collection_name, partition_name }));
    expect(data).toMatchObject({ row_count: "0" });
    await ok(client.dropPartition({ collection_name, partition_name }));
    expect(await ok(client.hasPartition({ collection_name, partition_name }))).toMatchObject({ value: false });
    expect(await client.hasPartition({ collection_name: "papers", partition_name })).toMatchObject({
      status: { code: 100 },
    });
  });

  test("has indexes, with parameters flat or as JSON", async () => {
    expect(await client.describeIndex({ collection_name })).toMatchObject({
      status: { code: 700, error_code: "IndexNotExist" },
    });
    const params = { M: 16, efConstruction: 100 };
    await ok(
      client.createIndex({
        collection_name,
        field_name: "v",
        index_name: "by_v",
        index_type: "HNSW",
        metric_type: "L2",
        params,
      }),
    );
    const flat = { index_type: "SPARSE_INVERTED_INDEX", metric_type: "BM25", bm25_k1: "1.2" };
    const words = { collectionName: collection_name, fieldName: "words", extraParams: pairs(flat) };
    expect(statusIn(await caller.call("CreateIndex", words))).toMatchObject({ code: 0 });
    await ok(client.createIndex({ collection_name, field_name: "title", index_type: "INVERTED" }));
    const { index_descriptions } = await ok(client.describeIndex({ collection_name, index_name: "by_v" }));
    expect(index_descriptions).toMatchObject([
      {
        index_name: "by_v",
        field_name: "v",
        state: "Finished",
        params: expect.arrayContaining(
          pairs({ index_type: "HNSW", metric_type: "L2", M: "16", efConstruction: "100" }),
        ),
        total_rows: "0",
        indexed_rows: "0",
        pending_index_rows: "0",
      },
    ]);
    expect(Number(index_descriptions[0]!.indexID)).toBeGreaterThan(0);
    expect((await ok(client.describeIndex({ collection_name }))).index_descriptions).toHaveLength(3);
    const named = await caller.call("DescribeIndex", { collectionName: collection_name, fieldName: "words" });
    expect(named.indexDescriptions).toMatchObject([{ fieldName: "words", indexName: "words" }]);
    expect(await client.getIndexState({ collection_name, index_name: "by_v" })).toMatchObject({ state: "Finished" });
    expect(await client.getIndexBuildProgress({ collection_name, index_name: "by_v" })).toMatchObject({
      indexed_rows: "0",
      total_rows: "0",
    });
    expect((await ok(client.getIndexStatistics({ collection_name }))).index_descriptions).toHaveLength(3);
    await ok(client.alterIndexProperties({ collection_name, index_name: "by_v", params: { "mmap.enabled": true } }));
    const altered = await client.describeIndex({ collection_name, index_name: "by_v" });
    expect(altered.index_descriptions[0]!.params).toContainEqual({ key: "mmap.enabled", value: "true" });
    await ok(client.dropIndexProperties({ collection_name, index_name: "by_v", properties: ["mmap.enabled"] }));
    await ok(client.dropIndex({ collection_name, index_name: "title" }));
    expect((await ok(client.describeIndex({ collection_name }))).index_descriptions).toHaveLength(2);
  });

  test("refuses indexes as Milvus does", async () => {
    const refused = async (given: object, reason: string, code: number) =>
      expect(await client.createIndex({ collection_name, ...given } as never)).toMatchObject({
        code,
        reason: expect.stringContaining(reason),
      });
    await refused(
      { field_name: "v", index_name: "other", index_type: "IVF_FLAT", metric_type: "L2", params: { nlist: 8 } },
      "at most one distinct index is allowed per field",
      65535,
    );
    await refused({ field_name: "v", index_type: "TREE", metric_type: "L2" }, "invalid index type: TREE", 1100);
  });

  test("is loaded and released", async () => {
    const isLoaded = async () => (await ok(client.getLoadState({ collection_name }))).state;
    expect(await isLoaded()).toBe("LoadStateNotLoad");
    expect(await client.getLoadingProgress({ collection_name })).toMatchObject({ status: { code: 101 } });
    expect(await client.getLoadState({ collection_name: "papers" })).toMatchObject({ state: "LoadStateNotExist" });
    await ok(client.loadCollection({ collection_name }));
    await expect.poll(isLoaded).toBe("LoadStateLoaded");
    expect(await client.getLoadingProgress({ collection_name })).toMatchObject({ progress: "100" });
    expect(await caller.call("ShowCollections", { type: "InMemory" })).toMatchObject({
      collectionNames: [collection_name],
      inMemoryPercentages: ["100"],
    });
    const { replicas } = await ok(
      client.getReplicas({
        collectionID: (await client.describeCollection({ collection_name })).collectionID,
        collection_name,
      }),
    );
    expect(replicas).toMatchObject([{ resource_group_name: "__default_resource_group" }]);
    await ok(client.refreshLoad({ collection_name }));
    await ok(client.releasePartitions({ collection_name, partition_names: ["_default"] }));
    expect(await isLoaded()).toBe("LoadStateNotLoad");
    await ok(client.loadPartitionsSync({ collection_name, partition_names: ["_default"] }));
    await ok(client.releaseCollection({ collection_name }));
    expect(await isLoaded()).toBe("LoadStateNotLoad");
  });

  test("is renamed and dropped", async () => {
    await ok(client.renameCollection({ collection_name, new_collection_name: "archive" }));
    expect(await client.hasCollection({ collection_name })).toMatchObject({ value: false });
    expect(await client.renameCollection({ collection_name: "archive", new_collection_name: "archive" })).toMatchObject(
      {
        code: 1100,
      },
    );
    await ok(client.dropCollection({ collection_name: "archive" }));
    await ok(client.dropCollection({ collection_name: "archive" }));
    expect((await client.showCollections()).data).toEqual([]);
  });
});

describe("rows of a collection", () => {
  const name = { collection_name: "notes" };

  beforeAll(async () => {
    await ok(client.createCollection({ ...name, dimension: 4, metric_type: "L2" }));
    // Over HTTP: what is written there is seen here.
    const data = Array.from({ length: 20 }, (_, id) => ({ id, vector: [id, 0, 0, 0] }));
    const response = await fetch(`http://${address}/v2/vectordb/entities/insert`, {
      method: "POST",
      body: JSON.stringify({ collectionName: "notes", data }),
    });
    expect(await response.json()).toMatchObject({ code: 0 });
  });

  afterAll(() => client.dropCollection(name));

  test("are counted, flushed and found in segments", async () => {
    expect((await ok(client.getCollectionStatistics(name))).data).toMatchObject({ row_count: "20" });
    const flushed = await ok(client.flush({ collection_names: ["notes"] }));
    expect(flushed).toMatchObject({
      coll_segIDs: { notes: { data: [] } },
      coll_flush_ts: { notes: expect.any(String) },
    });
    const { flush_coll_segIDs } = flushed as unknown as { flush_coll_segIDs: { notes: { data: string[] } } };
    const segments = flush_coll_segIDs.notes.data;
    expect(segments.length).toBeGreaterThan(0);
    expect(await client.flushSync({ collection_names: ["notes"] })).toMatchObject({ flushed: true });
    expect(await client.flushAllSync()).toMatchObject({ flushed: true });
    const { infos } = await ok(client.getPersistentSegmentInfo({ collectionName: "notes" } as never));
    expect(new Set(infos.map(({ segmentID }) => segmentID))).toEqual(new Set(segments));
    expect(infos.reduce((sum, { num_rows }) => sum + Number(num_rows), 0)).toBe(20);
    expect(infos[0]).toMatchObject({ state: "Flushed" });
    await expect
      .poll(async () => (await client.getQuerySegmentInfo({ collectionName: "notes" } as never)).infos.length)
      .toBe(infos.length);
    const indexed = await caller.call("ListIndexedSegment", { collectionName: "notes", indexName: "vector" });
    // Too small for an index.
    expect(indexed).toMatchObject({ status: { code: 0 }, segmentIDs: [] });
  });

  test("are laid out by a clustering key, where there is one", async () => {
    const refused = await caller.call("ManualCompaction", { collectionName: "notes", majorCompaction: true });
    expect(refused).toMatchObject({ status: { code: 1100 } });
    const keyed = { collectionName: "keyed", majorCompaction: true };
    const fields = [
      { name: "id", data_type: DataType.Int64, is_primary_key: true },
      { name: "k", data_type: DataType.Int32, is_clustering_key: true },
      { name: "v", data_type: DataType.FloatVector, dim: 2 },
    ];
    await ok(client.createCollection({ collection_name: "keyed", fields }));
    await ok(client.insert({ collection_name: "keyed", data: [{ id: 1, k: 2, v: [3, 4] }] }));
    await client.flushSync({ collection_names: ["keyed"] });
    const levels = async () => {
      const { infos } = await ok(client.getPersistentSegmentInfo({ collectionName: "keyed" } as never));
      return (infos as unknown as { level: string }[]).map(({ level }) => level);
    };
    expect(await levels()).toEqual(["L1"]);
    const { compactionID, compactionPlanCount } = await caller.call("ManualCompaction", keyed);
    expect(compactionPlanCount).toBe(1);
    await expect.poll(async () => (await caller.call("GetCompactionState", { compactionID })).state).toBe("Completed");
    expect(await levels()).toEqual(["L2"]);
    expect(await caller.call("ManualCompaction", keyed)).toMatchObject({ status: { code: 0 }, compactionPlanCount: 0 });
    await ok(client.dropCollection({ collection_name: "keyed" }));
  });

  test("are compacted and truncated", async () => {
    const { compactionID } = await ok(client.compact(name));
    await expect
      .poll(async () => (await client.getCompactionState({ compactionID: Number(compactionID) })).state)
      .toBe("Completed");
    expect(await ok(client.getCompactionStateWithPlans({ compactionID: Number(compactionID) }))).toMatchObject({
      state: "Completed",
    });
    await ok(client.truncateCollection(name));
    expect((await client.getCollectionStatistics(name)).data).toMatchObject({ row_count: "0" });
  });

  test("are imported", async () => {
    expect(await client.bulkInsert({ ...name, files: [] })).toMatchObject({ status: { code: 2100 } });
    const { tasks } = await ok(client.bulkInsert({ ...name, files: ["none/of/these.json"] }));
    await expect.poll(async () => (await client.getImportState({ task: tasks[0]! })).state).toBe("ImportFailed");
    expect(await ok(client.listImportTasks(name))).toMatchObject({ tasks: [{ id: String(tasks[0]), row_count: "0" }] });
  });
});

test("databases keep collections apart", async () => {
  const db_name = "shop";
  await ok(client.createDatabase({ db_name, properties: { "database.replica.number": 1 } }));
  const { db_names, db_ids } = await ok(client.listDatabases());
  expect(db_names).toEqual(["default", db_name]);
  expect(new Set(db_ids).size).toBe(2);
  expect(await ok(client.describeDatabase({ db_name }))).toMatchObject({
    db_name,
    properties: pairs({ "database.replica.number": "1" }),
  });
  await ok(client.alterDatabase({ db_name, properties: { "database.max.collections": 5 } }));
  await ok(client.dropDatabaseProperties({ db_name, properties: ["database.max.collections"] }));
  const there = new MilvusClient({ address, database: db_name, timeout: 60_000 });
  try {
    await ok(there.createCollection({ collection_name: "goods", dimension: 4 }));
    expect((await there.showCollections()).data.map(({ name }) => name)).toEqual(["goods"]);
    expect((await client.showCollections()).data).toEqual([]);
    expect(await client.describeCollection({ db_name, collection_name: "goods" })).toMatchObject({ db_name });
    expect(await client.dropDatabase({ db_name })).toMatchObject({
      code: 65535,
      reason: expect.stringContaining("must drop all collections before drop database"),
    });
    await ok(there.dropCollection({ collection_name: "goods" }));
  } finally {
    await there.closeConnection();
  }
  await ok(client.dropDatabase({ db_name }));
  expect(await client.describeDatabase({ db_name })).toMatchObject({ status: { code: 800 } });
});

test("resource groups are made, changed and dropped", async () => {
  const resource_group = "spare";
  await ok(
    client.createResourceGroup({
      resource_group,
      config: { requests: { node_num: 0 }, limits: { node_num: 0 } },
    } as never),
  );
  expect((await ok(client.listResourceGroups())).resource_groups).toEqual(["__default_resource_group", resource_group]);
  await ok(
    client.updateResourceGroups({
      resource_groups: { [resource_group]: { requests: { node_num: 1 }, limits: { node_num: 1 } } },
    } as never),
  );
  expect((await ok(client.describeResourceGroup({ resource_group }))).resource_group).toMatchObject({
    name: resource_group,
    config: { requests: { node_num: 1 }, limits: { node_num: 1 } },
  });
  await ok(
    client.updateResourceGroups({
      resource_groups: { [resource_group]: { requests: { node_num: 0 }, limits: { node_num: 0 } } },
    } as never),
  );
  await ok(client.dropResourceGroup({ resource_group }));
  expect(await client.describeResourceGroup({ resource_group })).toMatchObject({ status: { code: 300 } });
  const transfer = { source_resource_group: "none", target_resource_group: "__default_resource_group" };
  expect(await client.transferNode({ ...transfer, num_node: 1 })).toMatchObject({ code: 300 });
  expect(await client.transferReplica({ ...transfer, collection_name: "none", num_replica: 1 })).toMatchObject({
    code: 300,
  });
});

test("texts are analysed", async () => {
  const { results } = await ok(
    client.runAnalyzer({
      text: ["Of Mice and Men"],
      analyzer_params: { type: "english" },
      with_detail: true,
      with_hash: true,
    } as never),
  );
  const [{ tokens }] = results as unknown as [{ tokens: { token: string; start_offset: string; hash: number }[] }];
  expect(tokens.map(({ token }) => token)).toEqual(["mice", "men"]);
  expect(tokens[0]).toMatchObject({ start_offset: "3", hash: expect.any(Number) });
});

test("users, roles and privileges are made, shown and taken away", async () => {
  const username = "reader";
  const roleName = "visitors";
  await ok(client.createUser({ username, password: "secret-1" }));
  await ok(client.updateUser({ username, oldPassword: "secret-1", newPassword: "secret-2" }));
  expect((await ok(client.listUsers())).usernames).toEqual(expect.arrayContaining(["root", username]));
  await ok(client.createRole({ roleName }));
  await ok(client.addUserToRole({ username, roleName }));
  expect((await ok(client.describeUser({ username, includeRoleInfo: true }))).results).toMatchObject([
    { user: { name: username }, roles: [{ name: roleName }] },
  ]);
  expect((await ok(client.describeRole({ roleName, includeUserInfo: true }))).results).toMatchObject([
    { role: { name: roleName }, users: [{ name: username }] },
  ]);
  const grant = { roleName, object: RbacObjects.Collection, objectName: "books", privilegeName: "Search" };
  await ok(client.grantPrivilege(grant));
  const shown = { object: { name: "Collection" }, object_name: "books", grantor: { privilege: { name: "Search" } } };
  expect((await ok(client.listGrants({ roleName }))).entities).toMatchObject([{ role: { name: roleName }, ...shown }]);
  expect((await ok(client.selectGrant(grant as never))).entities).toHaveLength(1);
  const { RBAC_meta } = (await ok(client.backupRBAC())) as unknown as {
    RBAC_meta: { users: object[]; grants: object[] };
  };
  expect(RBAC_meta.users).toContainEqual(expect.objectContaining({ user: username, roles: [{ name: roleName }] }));
  await ok(client.revokePrivilege(grant));
  expect((await ok(client.listGrants({ roleName }))).entities).toEqual([]);
  const second = { role: { name: roleName }, dbName: "*", collectionName: "*" };
  const grantor = { user: { name: "root" }, privilege: { name: "CollectionReadOnly" } };
  expect(await caller.call("OperatePrivilegeV2", { ...second, grantor, type: "Grant" })).toMatchObject({ code: 0 });
  expect((await ok(client.listGrants({ roleName }))).entities).toMatchObject([
    { grantor: { privilege: grantor.privilege } },
  ]);
  expect(await caller.call("OperatePrivilegeV2", { ...second, grantor, type: "Revoke" })).toMatchObject({ code: 0 });
  await ok(client.createPrivilegeGroup({ group_name: "lookers" }));
  await ok(client.addPrivilegesToGroup({ group_name: "lookers", privileges: ["Search", "Query"] }));
  await ok(client.removePrivilegesFromGroup({ group_name: "lookers", privileges: ["Query"] }));
  expect((await ok(client.listPrivilegeGroups())).privilege_groups).toContainEqual({
    group_name: "lookers",
    privileges: [{ name: "Search" }],
  });
  await ok(client.dropPrivilegeGroup({ group_name: "lookers" }));
  await ok(client.removeUserFromRole({ username, roleName }));
  await ok(client.dropRole({ roleName }));
  await ok(client.deleteUser({ username }));
  await ok(client.restoreRBAC({ RBAC_meta } as never));
  expect((await ok(client.listGrants({ roleName }))).entities).toMatchObject([shown]);
  expect(await client.dropRole({ roleName })).toMatchObject({ code: 65535 });
  expect(await caller.call("DropRole", { roleName, forceDrop: true })).toMatchObject({ code: 0 });
  await ok(client.deleteUser({ username }));
});
