/**
 * The client that Milvus publishes for Node.js, against two query nodes and with authorization on: groups, replicas, parts of
 * collections, compaction, users, and what its helpers make of the replies.
 */
import { DataType, FunctionType, MilvusClient } from "@zilliz/milvus2-sdk-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const OK = { error_code: "Success", code: 0 };
const DEFAULT_GROUP = "__default_resource_group";

let cluster: TestCluster;
let address: string;
let root: MilvusClient;

const as = (username: string, password: string) =>
  new MilvusClient({ address, username, password, timeout: 60_000, maxRetries: 0, logLevel: "error" });

beforeAll(async () => {
  const settings = ["proxy.http=127.0.0.1:0", "proxy.authorization=true"];
  cluster = await startTestCluster([ROLES, ["query"]], settings);
  address = (cluster.nodes[0]!.observe().proxy as { http: string }).http;
  root = as("root", "Milvus");
  await root.connectPromise;
});

afterAll(async () => {
  await root?.closeConnection();
  await cluster?.[Symbol.asyncDispose]();
});

/** The reply of a request that succeeds. */
async function ok<T extends object>(asked: Promise<T>): Promise<T> {
  const reply = await asked;
  const { status = reply } = reply as { status?: object };
  expect(status).toMatchObject(OK);
  return reply;
}

const make = (collection_name: string, more: object = {}) =>
  ok(
    root.createCollection({
      collection_name,
      fields: [
        { name: "id", data_type: DataType.Int64, is_primary_key: true },
        { name: "v", data_type: DataType.FloatVector, dim: 2 },
        { name: "tags", data_type: DataType.Array, element_type: DataType.Int64, max_capacity: 8 },
      ],
      index_params: [{ field_name: "v", index_type: "FLAT", metric_type: "L2" }],
      consistency_level: "Strong",
      properties: { "collection.autocompaction.enabled": false },
      ...more,
    } as never),
  );

const rows = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ id: from + i, v: [from + i, 0], tags: [1, 2] }));

test("a schema's primary key, fields, functions and indexes are told and added", async () => {
  const collection_name = "schemas";
  await make(collection_name);
  expect(await root.checkCompatibility()).toBeUndefined();
  expect(await root.getPkFieldName({ collection_name })).toBe("id");
  expect(await root.getPkFieldType({ collection_name })).toBe("Int64");
  expect(await root.getPkField({ collection_name })).toMatchObject({ name: "id", is_primary_key: true });
  const added = ["a", "b"].map((name) => ({ name, data_type: DataType.Int32, nullable: true }));
  await ok(root.addCollectionFields({ collection_name, fields: added }));
  const { responses } = await ok(root.batchDescribeCollections({ collection_names: [collection_name] }));
  expect(responses[0]!.schema.fields.map(({ name }) => name)).toEqual(["id", "v", "tags", "a", "b"]);
  expect(await ok(root.listIndexes({ collection_name }))).toMatchObject({ indexes: ["v"] });
  const bm25 = { name: "f", type: FunctionType.BM25, input_field_names: ["id"], output_field_names: ["v"], params: {} };
  const refused = { code: 1100 };
  expect(await root.addCollectionFunction({ collection_name, function: bm25 } as never)).toMatchObject(refused);
  const other = { collection_name, function_name: "f", function: bm25 };
  expect(await root.alterCollectionFunction(other as never)).toMatchObject(refused);
  await ok(root.dropCollection({ collection_name }));
});

test("a part of an array is replaced, added to and taken from", async () => {
  const collection_name = "arrays";
  await make(collection_name);
  await ok(root.insert({ collection_name, data: rows(0, 2) }));
  const change = (op: string, tags: number[]) =>
    ok(root.upsert({ collection_name, data: [{ id: 1, tags }], field_ops: [{ field_name: "tags", op }] } as never));
  const tags = async () =>
    (await root.query({ collection_name, filter: "id == 1", output_fields: ["tags"] })).data[0]!.tags;
  await change("ARRAY_APPEND", [3]);
  expect(await tags()).toEqual(["1", "2", "3"]);
  await change("ARRAY_REMOVE", [1, 2]);
  expect(await tags()).toEqual(["3"]);
  await ok(root.dropCollection({ collection_name }));
});

test("partitions are loaded apart, and only what is loaded is found", async () => {
  const collection_name = "parts";
  await make(collection_name);
  for (const [n, partition_name] of ["old", "new"].entries()) {
    await ok(root.createPartition({ collection_name, partition_name }));
    await ok(root.insert({ collection_name, partition_name, data: rows(n * 10, 10) }));
  }
  // What is made with its indexes is loaded.
  await ok(root.releaseCollection({ collection_name }));
  await ok(root.loadPartitions({ collection_name, partition_names: ["new"] }));
  const stateOf = async (name: string) =>
    (await ok(root.getLoadState({ collection_name, partition_names: [name] }))).state;
  await expect.poll(() => stateOf("new")).toBe("LoadStateLoaded");
  expect(await stateOf("old")).toBe("LoadStateNotLoad");
  const search = { collection_name, data: [0, 0], limit: 3 };
  const { results } = await ok(root.search(search));
  expect(results.map(({ id }) => id)).toEqual(["10", "11", "12"]);
  expect(await root.search({ ...search, partition_names: ["old"] })).toMatchObject({ status: { code: 201 } });
  await ok(root.loadCollectionAsync({ collection_name }));
  await expect.poll(() => stateOf("old")).toBe("LoadStateLoaded");
  expect((await ok(root.search(search))).results.map(({ id }) => id)).toEqual(["0", "1", "2"]);
  await ok(root.dropCollection({ collection_name }));
});

test("segments are flushed, and compacted to one without what was deleted", async () => {
  const collection_name = "segments";
  await make(collection_name);
  const segmentsOf = async () => (await ok(root.getPersistentSegmentInfo({ collectionName: collection_name }))).infos;
  for (let from = 0; from < 30; from += 10) {
    await ok(root.insert({ collection_name, data: rows(from, 10) }));
    await ok(root.flush({ collection_names: [collection_name] }));
  }
  expect(await segmentsOf()).toHaveLength(3);
  await ok(root.delete({ collection_name, filter: "id >= 20" }));
  const { flush_all_ts } = await ok(root.flushAll());
  expect(await ok(root.getFlushAllState({ flush_all_ts: flush_all_ts as never }))).toMatchObject({ flushed: true });
  const segmentIDs = (await segmentsOf()).map(({ segmentID }) => segmentID);
  expect(await ok(root.getFlushState({ segmentIDs: segmentIDs as never }))).toMatchObject({ flushed: true });
  const { compactionID } = await ok(root.compact({ collection_name }));
  await expect
    .poll(async () => (await root.getCompactionState({ compactionID: Number(compactionID) })).state)
    .toBe("Completed");
  await expect.poll(async () => (await segmentsOf()).map(({ num_rows }) => num_rows)).toEqual(["20"]);
  expect((await root.count({ collection_name })).data).toBe(20);
  // The coordinator places segments by itself.
  expect(await root.loadBalance({ src_nodeID: 1 } as never)).toMatchObject({ code: 10 });
  await ok(root.dropCollection({ collection_name }));
});

test("replicas are in groups of query nodes, which are given nodes and replicas of each other", async () => {
  const collection_name = "copies";
  const resource_group = "reserved";
  await make(collection_name);
  await ok(root.insert({ collection_name, data: rows(0, 10) }));
  await ok(root.flush({ collection_names: [collection_name] }));
  const config = { requests: { node_num: 0 }, limits: { node_num: 0 } };
  await ok(root.createResourceGroup({ resource_group, config } as never));
  const nodesOf = async (name: string) =>
    Number((await ok(root.describeResourceGroup({ resource_group: name }))).resource_group.num_available_node);
  expect([await nodesOf(DEFAULT_GROUP), await nodesOf(resource_group)]).toEqual([2, 0]);
  const between = { source_resource_group: DEFAULT_GROUP, target_resource_group: resource_group };
  await ok(root.transferNode({ ...between, num_node: 1 }));
  await expect.poll(() => nodesOf(resource_group)).toBe(1);

  await ok(root.releaseCollection({ collection_name }));
  const load = { collection_name, replica_number: 2, resource_groups: [DEFAULT_GROUP, resource_group] };
  await ok(root.loadCollection(load as never));
  const { collectionID } = await ok(root.describeCollection({ collection_name }));
  const replicas = async () => (await ok(root.getReplicas({ collectionID } as never))).replicas;
  expect((await replicas()).map(({ resource_group_name }) => resource_group_name).sort()).toEqual([
    DEFAULT_GROUP,
    resource_group,
  ]);
  await expect.poll(async () => (await replicas())[0]!.node_ids.length).toBe(2);
  expect((await root.count({ collection_name })).data).toBe(10);
  const tooMany = { ...between, collection_name, num_replica: 5 };
  expect((await root.transferReplica(tooMany as never)).code).not.toBe(0);
  await ok(root.releaseCollection({ collection_name }));
  expect(await root.dropAllResourceGroups()).toMatchObject([OK]);
  expect((await ok(root.listResourceGroups())).resource_groups).toEqual([DEFAULT_GROUP]);
  await expect.poll(() => nodesOf(DEFAULT_GROUP)).toBe(2);
  await ok(root.dropCollection({ collection_name }));
});

test("a user may what its role may, in the database that it uses, until that is taken away", async () => {
  const collection_name = "secrets";
  await ok(root.createDatabase({ db_name: "vault" }));
  await root.use({ db_name: "vault" });
  await make(collection_name);
  await ok(root.insert({ collection_name, data: rows(0, 5) }));
  await ok(root.createUser({ username: "reader", password: "reader-secret" }));
  await ok(root.createRole({ roleName: "readers" }));
  await ok(root.addUserToRole({ username: "reader", roleName: "readers" }));
  expect(await root.hasRole({ roleName: "readers" })).toMatchObject({ hasRole: true });
  expect((await ok(root.listRoles())).results.map(({ role }) => role.name)).toEqual(["admin", "public", "readers"]);

  const reader = as("reader", "reader-secret");
  try {
    await reader.connectPromise;
    await reader.use({ db_name: "vault" });
    await expect(reader.count({ collection_name })).rejects.toThrow(/PrivilegeQuery: permission deny/);
    const grant = { role: "readers", privilege: "Query", db_name: "vault", collection_name };
    await ok(root.grantPrivilegeV2(grant));
    expect((await ok(reader.count({ collection_name }))).data).toBe(5);
    await expect(reader.delete({ collection_name, ids: [1] })).rejects.toThrow(/PrivilegeDelete: permission deny/);
    await reader.use({ db_name: "default" });
    await expect(reader.count({ collection_name })).rejects.toThrow(/permission deny/);
    await reader.use({ db_name: "vault" });
    await ok(root.revokePrivilegeV2(grant));
    await expect(reader.count({ collection_name })).rejects.toThrow(/PrivilegeQuery: permission deny/);
  } finally {
    await reader.closeConnection();
  }
  await root.use({ db_name: "default" });
  await ok(root.removeUserFromRole({ username: "reader", roleName: "readers" }));
  await root.dropAllRoles();
  // Those that are built in stay.
  expect((await ok(root.listRoles())).results.map(({ role }) => role.name)).toEqual(["admin", "public"]);
  expect(await root.hasRole({ roleName: "readers" })).toMatchObject({ hasRole: false });
});
