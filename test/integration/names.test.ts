/** A collection's name can come to stand for another one, and its schema changes: the owner of a shard refuses what was made by what is no more. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { VdbNode } from "../../runtime/node.ts";
import * as coordinator from "../../runtime/protocol/coordinator.ts";
import * as streaming from "../../runtime/protocol/streaming.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

let cluster: TestCluster;
let client: VdbClient;
let node: VdbNode;

beforeAll(async () => {
  cluster = await startTestCluster();
  client = await VdbClient.connect({ servers: cluster.nats.url });
  node = cluster.nodes[0]!;
});

afterAll(async () => {
  await client.close();
  await cluster[Symbol.asyncDispose]();
});

/** A collection of one shard and one row, and how its owner is asked as by a proxy that calls it so. */
async function collectionCalled(collectionName: string) {
  await client.createCollection({ collectionName, dimension: 2 });
  await client.insert({ collectionName, data: [{ id: 1, vector: [1, 0] }] });
  const { collectionID, shardsNum } = await client.describeCollection({ collectionName });
  expect(shardsNum).toBe(1);
  const shard = { collectionId: Number(collectionID), vchannel: `${collectionID}v0` };
  const called = (name: string) => ({ ...shard, called: { database: "default", name } });
  return {
    collectionId: shard.collectionId,
    rowsBy: async (name: string, schemaVersion?: number) => {
      const query = { partitionIds: null, filter: null, fieldIds: [], limit: null, countOnly: true };
      const asked = { ...called(name), ...query, schemaVersion, freshness: { level: "strong" as const } };
      return (await node.bus.ask(streaming.queryShard, { nodeId: node.nodeId }, asked)).count;
    },
    deleteBy: (name: string, requestId: string) => {
      const keys = { kind: "int64" as const, values: BigInt64Array.of(1n) };
      const write = { requestId, operation: "delete" as const, partitionId: 1, schemaVersion: 1, keys };
      return node.bus.ask(streaming.appendRows, { nodeId: node.nodeId }, { ...called(name), ...write });
    },
  };
}

const NOT_FOUND = { kind: "collection_not_found" };

test("once a renaming is answered, nothing is read or written by the old name", async () => {
  const { rowsBy, deleteBy } = await collectionCalled("first");
  expect(await rowsBy("first")).toBe(1);
  await client.renameCollection({ collectionName: "first", newCollectionName: "second" });
  await expect(rowsBy("first")).rejects.toMatchObject(NOT_FOUND);
  await expect(deleteBy("first", "late")).rejects.toMatchObject(NOT_FOUND);
  expect(await rowsBy("second")).toBe(1);
  await deleteBy("second", "d");
  expect(await rowsBy("second")).toBe(0);
  // Done already: by whatever name it was asked for the first time.
  await deleteBy("first", "d");
});

test("once it is answered that a collection is dropped, its shards take nothing", async () => {
  const { rowsBy, deleteBy } = await collectionCalled("dropped");
  await client.dropCollection({ collectionName: "dropped" });
  await expect(deleteBy("dropped", "late")).rejects.toMatchObject(NOT_FOUND);
  await expect(rowsBy("dropped")).rejects.toMatchObject(NOT_FOUND);
});

test("a read that was planned by an older schema is refused", async () => {
  const { rowsBy } = await collectionCalled("grown");
  expect(await rowsBy("grown", 1)).toBe(1);
  const schema = { fieldName: "more", dataType: "Int64" as const, nullable: true };
  await client.addField({ collectionName: "grown", schema });
  await expect(rowsBy("grown", 1)).rejects.toMatchObject({ kind: "schema_mismatch" });
  expect(await rowsBy("grown", 2)).toBe(1);
});

test("collections that take each other's place are written and read by the name that they have", async () => {
  await client.createCollection({ collectionName: "live", dimension: 2 });
  for (let turn = 0; turn < 5; turn++) {
    await client.createCollection({ collectionName: "next", dimension: 2 });
    await client.insert({ collectionName: "next", data: [{ id: turn, vector: [1, 0] }] });
    await client.renameCollection({ collectionName: "live", newCollectionName: "old" });
    await client.renameCollection({ collectionName: "next", newCollectionName: "live" });
    await client.insert({ collectionName: "live", data: [{ id: 100 + turn, vector: [1, 0] }] });
    await client.dropCollection({ collectionName: "old" });
    const rows = await client.query({ collectionName: "live", filter: "id >= 0", consistencyLevel: "Strong" });
    expect(rows.map(({ id }) => Number(id))).toEqual([turn, 100 + turn]);
  }
});

test("a drop that comes late, or a second time, takes nothing that has got the name since", async () => {
  const drop = async (operation: Parameters<typeof node.bus.ask>[0], request: object) => {
    await node.bus.ask(operation, {}, request);
  };
  const dbName = "again";
  await client.createDatabase({ dbName });
  const { dbID: databaseId } = await client.describeDatabase({ dbName });
  await client.dropDatabase({ dbName });
  await client.createDatabase({ dbName });
  await drop(coordinator.dropDatabase, { name: dbName, databaseId: Number(databaseId) });
  expect(await client.listDatabases()).toContain(dbName);

  const [first, second] = ["one", "other"];
  for (const collectionName of [first, second]) await client.createCollection({ collectionName, dimension: 2 });
  const { collectionID } = await client.describeCollection({ collectionName: first });
  await client.createAlias({ collectionName: first, aliasName: "alias" });
  await client.alterAlias({ collectionName: second, aliasName: "alias" });
  const former = { database: "default", alias: "alias", collectionId: Number(collectionID) };
  await expect(drop(coordinator.dropAlias, former)).rejects.toMatchObject({ kind: "alias_not_found" });
  expect(await client.describeAlias({ aliasName: "alias" })).toMatchObject({ collectionName: second });
});

test("a collection that has got another name is not dropped, emptied or released by the one that it had", async () => {
  const { rowsBy, collectionId } = await collectionCalled("before");
  await client.renameCollection({ collectionName: "before", newCollectionName: "after" });
  const asked = { collectionId, called: { database: "default", name: "before" } };
  const truncated = { ...asked, vchannels: [`${collectionId}v0`] };
  await expect(node.bus.ask(coordinator.dropCollection, {}, asked)).rejects.toMatchObject(NOT_FOUND);
  await expect(node.bus.ask(coordinator.releaseCollection, {}, asked)).rejects.toMatchObject(NOT_FOUND);
  await expect(node.bus.ask(coordinator.truncateCollection, {}, truncated)).rejects.toMatchObject(NOT_FOUND);
  expect(await rowsBy("after")).toBe(1);
});

test("an owner says that it knows once it has the revision and its channel", async () => {
  const knows = (pchannel: number, revision: number, deadlineMs: number) =>
    node.bus.ask(
      streaming.ownerKnows,
      { nodeId: node.nodeId },
      { pchannel, revision },
      { deadline: systemClock.monotonic() + deadlineMs },
    );
  expect(await knows(0, 1, 60_000)).toEqual({});
  await expect(knows(0, 1_000_000, 300)).rejects.toMatchObject({ kind: "deadline_exceeded" });
  await expect(knows(1_000, 1, 60_000)).rejects.toMatchObject({ kind: "channel_not_owned", retriable: true });
});
