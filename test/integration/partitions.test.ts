/** Partitions, partition keys and fields that come later: the same in one process and on five nodes, over a restart. */
import { afterEach, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { FieldDefinition, PrimaryKey, QueryOptions, Row } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { openCluster } from "../../runtime/backup/cluster.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const LAYOUTS: { layout: string; nodes: Role[][] }[] = [
  { layout: "one process with all roles", nodes: [[...ROLES]] },
  { layout: "five nodes with a role each", nodes: [["coordinator"], ["streaming"], ["query"], ["data"], ["proxy"]] },
];

const KEY: FieldDefinition = { fieldName: "id", dataType: "Int64", isPrimary: true };
const TENANT: FieldDefinition = {
  ...{ fieldName: "tenant", dataType: "VarChar", isPartitionKey: true },
  elementTypeParams: { max_length: 20 },
};
const VECTOR: FieldDefinition = { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 2 } };
const INDEX = [{ fieldName: "vector", metricType: "L2" as const }];

let cluster: TestCluster;
let client: VdbClient;

async function start(nodes: readonly (readonly Role[])[]): Promise<void> {
  cluster = await startTestCluster(nodes, ["coordinator.garbageIntervalMs=1000", "cluster.walChannels=1"]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
}

/** Every node, the data in NATS alone. */
async function restart(nodes: readonly (readonly Role[])[]): Promise<void> {
  for (const node of [...cluster.nodes]) await cluster.stopNode(node);
  for (const roles of nodes) await cluster.startNode(roles);
}

afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

function rowsOf(first: number, count: number, more: Row = {}): (Row & { id: number })[] {
  return Array.from({ length: count }, (_, i) => ({ id: first + i, vector: [first + i, 0], ...more }));
}

async function idsOf(collectionName: string, options: Partial<QueryOptions> = {}): Promise<PrimaryKey[]> {
  const read: QueryOptions = { collectionName, outputFields: ["id"], limit: 16_384, consistencyLevel: "Strong" };
  return (await client.query({ ...read, ...options })).map(({ id }) => id as PrimaryKey);
}

describe.each(LAYOUTS)("$layout", ({ nodes }) => {
  test("what was dropped stays dropped, what was released stays released, over a restart", async () => {
    await start(nodes);
    const collectionName = "parts";
    await client.createCollection({ collectionName, dimension: 2, metricType: "L2", params: { shardsNum: 2 } });
    for (const partitionName of ["a", "b", "c"]) await client.createPartition({ collectionName, partitionName });
    await client.insert({ collectionName, partitionName: "a", data: rowsOf(0, 20) });
    await client.insert({ collectionName, partitionName: "b", data: rowsOf(100, 20) });
    await client.flush({ collectionName });
    await client.insert({ collectionName, partitionName: "a", data: rowsOf(20, 5) });
    await client.insert({ collectionName, partitionName: "b", data: rowsOf(120, 5) });
    await client.insert({ collectionName, partitionName: "c", data: rowsOf(200, 5) });
    await client.releasePartitions({ collectionName, partitionNames: ["a", "c"] });
    await client.dropPartition({ collectionName, partitionName: "a" });
    const left = rowsOf(100, 25).map(({ id }) => id);
    expect(await idsOf(collectionName)).toEqual(left);

    await restart(nodes);
    await client.waitUntilLoaded({ collectionName });
    expect(await client.listPartitions({ collectionName })).toEqual(["_default", "b", "c"]);
    expect(await idsOf(collectionName)).toEqual(left);
    await expect(idsOf(collectionName, { partitionNames: ["c"] })).rejects.toMatchObject({
      kind: "partition_not_loaded",
    });
    await client.loadPartitions({ collectionName, partitionNames: ["c"] });
    expect(await idsOf(collectionName, { partitionNames: ["c"] })).toEqual([200, 201, 202, 203, 204]);
    // Its keys are free again, in whatever partition.
    await client.insert({ collectionName, partitionName: "b", data: rowsOf(0, 3) });
    await client.flush({ collectionName });
    expect(await idsOf(collectionName, { filter: "id < 100" })).toEqual([0, 1, 2]);
    expect(await client.getPartitionStats({ collectionName, partitionName: "b" })).toEqual({ rowCount: 28 });
  });

  test("rows are found by their partition key after a flush, a merge and a restart", async () => {
    await start(nodes);
    const collectionName = "tenants";
    const schema = { fields: [KEY, TENANT, VECTOR] };
    const params = { partitionsNum: 5, shardsNum: 2 };
    await client.createCollection({ collectionName, schema, indexParams: INDEX, params });
    const tenantOf = (id: number) => `t${id % 11}`;
    const rows = (first: number, count: number) =>
      rowsOf(first, count).map((row): Row => ({ ...row, tenant: tenantOf(row.id) }));
    const expected = (tenant: string, below: number) =>
      rowsOf(0, below).flatMap(({ id }) => (tenantOf(id) === tenant ? [id] : []));
    for (let batch = 0; batch < 3; batch++) {
      await client.insert({ collectionName, data: rows(batch * 50, 50) });
      await client.flush({ collectionName });
    }
    await client.insert({ collectionName, data: rows(150, 20) });
    await client.compact({ collectionName });
    for (let life = 0; life < 2; life++) {
      for (const tenant of ["t0", "t7"]) {
        expect(await idsOf(collectionName, { filter: `tenant == "${tenant}"` })).toEqual(expected(tenant, 170));
        const search = { collectionName, data: [[0, 0]], filter: `tenant == "${tenant}"`, limit: 100 };
        const [hits = []] = await client.search({ ...search, consistencyLevel: "Strong" });
        expect(hits.map(({ id }) => id)).toEqual(expected(tenant, 170));
      }
      expect(await idsOf(collectionName)).toHaveLength(170);
      if (life > 0) break;
      await restart(nodes);
      await client.waitUntilLoaded({ collectionName });
    }
  });

  test("a field that is added is there for every writer at once, and for old rows after a merge and a restart", async () => {
    await start(nodes);
    const collectionName = "grows";
    await client.createCollection({ collectionName, schema: { fields: [KEY, VECTOR] }, indexParams: INDEX });
    await client.insert({ collectionName, data: rowsOf(0, 10) });
    await client.flush({ collectionName });
    await client.insert({ collectionName, data: rowsOf(10, 10) });
    // A second proxy, which hears of the change by itself; and writes that are on their way while it happens.
    await cluster.startNode(["proxy"]);
    const racing = Array.from({ length: 20 }, (_, i) => client.insert({ collectionName, data: rowsOf(1000 + i, 1) }));
    const size: FieldDefinition = { fieldName: "size", dataType: "Int32", nullable: true, defaultValue: 7 };
    await client.addField({ collectionName, schema: size });
    // By either proxy.
    for (let i = 0; i < 10; i++) await client.insert({ collectionName, data: rowsOf(20 + i, 1, { size: i }) });
    await Promise.all(racing);
    const isOld = (id: PrimaryKey) => Number(id) < 20 || Number(id) >= 1000;
    const check = async () => {
      const read: QueryOptions = { collectionName, outputFields: ["size"], limit: 16_384, consistencyLevel: "Strong" };
      const found = await client.query({ ...read, filter: "id >= 0" });
      expect(found).toHaveLength(50);
      for (const { id, size: value } of found) expect(value).toBe(isOld(id as PrimaryKey) ? 7 : Number(id) - 20);
      expect(await idsOf(collectionName, { filter: "size == 7 and id < 20" })).toHaveLength(20);
      expect(await idsOf(collectionName, { filter: "size is null" })).toEqual([]);
    };
    await check();
    await client.flush({ collectionName });
    await check();
    await client.compact({ collectionName });
    await check();
    await restart(nodes);
    await client.waitUntilLoaded({ collectionName });
    await check();
  });
});

test("objects of a dropped partition are collected, those of the others stay", async () => {
  await start([ROLES]);
  const collectionName = "garbage";
  await client.createCollection({ collectionName, dimension: 2, metricType: "L2" });
  await client.createPartition({ collectionName, partitionName: "a" });
  await client.insert({ collectionName, partitionName: "a", data: rowsOf(0, 20) });
  await client.insert({ collectionName, data: rowsOf(100, 5) });
  await client.flush({ collectionName });
  await using store = await openCluster({ servers: [cluster.nats.url], name: "test" }, "vdb");
  const segments = async () => (await store.blobs.list()).filter(({ name }) => name.startsWith("segment/")).length;
  expect(await segments()).toBe(2);
  await client.releasePartitions({ collectionName, partitionNames: ["a"] });
  await client.dropPartition({ collectionName, partitionName: "a" });
  // The collector leaves alone what a flush of the present owner may still name: the next one passes it.
  await client.insert({ collectionName, data: rowsOf(200, 1) });
  await client.flush({ collectionName });
  await expect.poll(segments).toBe(2);
  expect(await idsOf(collectionName)).toEqual([100, 101, 102, 103, 104, 200]);
});
