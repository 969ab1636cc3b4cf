/**
 * Copies of sealed segments on query nodes: replicas on different nodes, moved to nodes that come and away from nodes that
 * leave, replaced by compacted ones; and every read meanwhile, one replica or several, gives all rows.
 */
import { afterEach, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Role } from "../../runtime/actor.ts";
import { createNatsMeta } from "../../runtime/meta/nats-meta.ts";
import { connectNats } from "../../runtime/nats/connect.ts";
import type { VdbNode } from "../../runtime/node.ts";
import { decodeDoc, encodeDoc, type ManifestDoc, metaKeys, type SegmentDoc } from "../../runtime/protocol/catalog.ts";
import { drainNode } from "../../runtime/protocol/node.ts";
import { loadSegments } from "../../runtime/protocol/query.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "copies";
const SEGMENT_ROWS = 20;
const SEGMENTS = 8;
const ROWS = SEGMENTS * SEGMENT_ROWS;
const STRONG = { collectionName: COLLECTION, consistencyLevel: "Strong" } as const;
const SETTLE = { interval: 100 };
/** Of a reader, between two reads. */
const PACE_MS = 20;

let cluster: TestCluster;
let client: VdbClient;
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** A cluster with so many query nodes, and a collection of eight sealed segments that is not loaded. */
async function start(queryNodes: number): Promise<void> {
  const roles: Role[][] = [["coordinator", "data"], ["streaming"], ["proxy"]];
  for (let i = 0; i < queryNodes; i++) roles.push(["query"]);
  cluster = await startTestCluster(roles);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: COLLECTION,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 4 } },
      ],
    },
    // By hand alone: the tests count segments.
    ...{ properties: { "collection.autocompaction.enabled": false } },
  });
  await client.createIndex({
    collectionName: COLLECTION,
    indexParams: [{ fieldName: "vector", indexType: "FLAT", metricType: "L2" }],
  });
  for (let segment = 0; segment < SEGMENTS; segment++) {
    const data = Array.from({ length: SEGMENT_ROWS }, (_, i) => rowOf(segment * SEGMENT_ROWS + i));
    await client.insert({ collectionName: COLLECTION, data });
    await client.flush({ collectionName: COLLECTION });
  }
}

/** The segment with an object of another name, if it is the one that is meant. */
function withObject(segment: SegmentDoc, meant: SegmentDoc, name: string): SegmentDoc {
  return segment.segmentId === meant.segmentId ? { ...segment, object: { ...segment.object, name } } : segment;
}

function rowOf(id: number) {
  return { id, vector: [id, 1, 1, 1] };
}

interface ManifestStore extends AsyncDisposable {
  read(): Promise<{ doc: ManifestDoc; revision: number }>;
  /** Whoever else changes it meanwhile. */
  change(next: (doc: ManifestDoc) => ManifestDoc): Promise<void>;
}

/** The manifest of the collection's only shard, to be changed behind the coordinator's back. */
async function openManifest(): Promise<ManifestStore> {
  const connections = await connectNats({ servers: [cluster.nats.url], name: "test" });
  const meta = createNatsMeta(connections.control, { prefix: "vdb", clock: systemClock, random: systemRandom });
  const { collectionID } = await client.describeCollection({ collectionName: COLLECTION });
  const key = metaKeys.manifest(`${collectionID}v0`);
  const read = async () => {
    const { value, revision } = (await meta.get(key))!;
    return { doc: decodeDoc(key, value) as ManifestDoc, revision };
  };
  return {
    read,
    async change(next) {
      for (;;) {
        const { doc, revision } = await read();
        if ((await meta.commit([{ op: "put", key, value: encodeDoc(key, next(doc)), revision }])) !== null) return;
      }
    },
    [Symbol.asyncDispose]: () => connections.close(),
  };
}

const queryNodes = (): VdbNode[] => cluster.nodes.filter((node) => "query" in node.observe());
const segmentsOf = (node: VdbNode): number => Number(node.observe().query?.segments ?? 0);
/** Segments on each query node, in the order in which they started. */
const held = (): number[] => queryNodes().map(segmentsOf);

/** Reads all the time until it is stopped; gives what went wrong. */
function readAllTheTime(): { stop(): Promise<{ reads: number; failures: string[] }> } {
  const failures: string[] = [];
  let reads = 0;
  let isOver = false;
  const reader = async (n: number) => {
    for (; !isOver; n = (n + 37) % ROWS) {
      try {
        const [counted, [hits = []], found] = await Promise.all([
          client.query({ ...STRONG, outputFields: ["count(*)"] }),
          client.search({ ...STRONG, data: [[n, 1, 1, 1]], limit: ROWS, outputFields: ["vector"] }),
          client.get({ ...STRONG, id: n }),
        ]);
        reads++;
        if (counted[0]?.["count(*)"] !== ROWS) failures.push(`count ${String(counted[0]?.["count(*)"])}`);
        if (new Set(hits.map(({ id }) => id)).size !== ROWS) failures.push(`${hits.length} hits`);
        const [near] = hits;
        if (near?.id !== n || (near.vector as Float32Array)[0] !== n) failures.push(`row ${n} is ${String(near?.id)}`);
        if (found.length !== 1) failures.push(`row ${n} was got ${found.length} times`);
      } catch (error) {
        failures.push(String(error));
      }
      // What moves, and the tests beside this one, need the machine too.
      await systemClock.sleep(PACE_MS);
    }
  };
  const readers = [reader(0), reader(5)];
  return {
    async stop() {
      isOver = true;
      await Promise.all(readers);
      return { reads, failures };
    },
  };
}

async function expectNoFailure(reading: ReturnType<typeof readAllTheTime>): Promise<void> {
  const { reads, failures } = await reading.stop();
  expect(failures).toEqual([]);
  expect(reads).toBeGreaterThan(0);
}

test("replicas are on different nodes; their number can be changed while reads go on", async () => {
  await start(2);
  await expect(client.loadCollection({ collectionName: COLLECTION, replicaNumber: 3 })).rejects.toMatchObject({
    code: 304,
    message: expect.stringContaining(
      "resource group node not enough[rg=__default_resource_group][currentNodeNum=2][expectedNodeNum=3]",
    ),
  });
  await expect(client.loadCollection({ collectionName: COLLECTION, replicaNumber: 0 })).rejects.toMatchObject({
    code: 1100,
  });
  await client.loadCollection({ collectionName: COLLECTION });
  expect(held()).toEqual([SEGMENTS / 2, SEGMENTS / 2]);

  const reading = readAllTheTime();
  await client.loadCollection({ collectionName: COLLECTION, replicaNumber: 2 });
  await expect.poll(held, SETTLE).toEqual([SEGMENTS, SEGMENTS]);
  await client.loadCollection({ collectionName: COLLECTION, replicaNumber: 1 });
  await expect.poll(held, SETTLE).toEqual([SEGMENTS / 2, SEGMENTS / 2]);
  await expectNoFailure(reading);
});

test("with one replica segments move to a node that joins, and away from one that drains or stops: no read fails", async () => {
  await start(1);
  await client.loadCollection({ collectionName: COLLECTION });
  expect(held()).toEqual([SEGMENTS]);

  const reading = readAllTheTime();
  const [first] = queryNodes();
  const second = await cluster.startNode(["query"]);
  await expect.poll(held, SETTLE).toEqual([SEGMENTS / 2, SEGMENTS / 2]);
  await cluster.startNode(["query"]);
  await expect.poll(() => Math.min(...held()), SETTLE).toBeGreaterThanOrEqual(2);

  const draining = await first!.bus.ask(drainNode, { nodeId: second.nodeId }, { isDraining: true });
  expect(draining.isDraining).toBe(true);
  await expect.poll(() => segmentsOf(second), SETTLE).toBe(0);
  await cluster.stopNode(first!);
  await expect.poll(held, SETTLE).toEqual([0, SEGMENTS]);
  await expectNoFailure(reading);
});

test("segments that replace others come into use all at once, and no read misses or repeats a row", async () => {
  await start(2);
  await client.loadCollection({ collectionName: COLLECTION });
  await using store = await openManifest();
  /** Stages a copy of each segment under a new id, each to replace it. */
  const stageAll = () =>
    store.change((doc) => {
      const staged = doc.segments.map((segment) => ({
        replaces: [segment.segmentId],
        segments: [{ ...segment, segmentId: systemRandom.ulid() }],
      }));
      return { ...doc, staged };
    });
  const ids = async () => (await store.read()).doc.segments.map(({ segmentId }) => segmentId);
  const stagedCount = async () => (await store.read()).doc.staged.length;

  const before = await ids();
  const reading = readAllTheTime();
  for (let round = 0; round < 3; round++) {
    await stageAll();
    await expect.poll(stagedCount, SETTLE).toBe(0);
  }
  const after = await ids();
  expect(after).toHaveLength(SEGMENTS);
  expect(after.filter((segmentId) => before.includes(segmentId))).toEqual([]);
  await expect.poll(() => held().reduce((sum, count) => sum + count, 0), SETTLE).toBe(SEGMENTS);
  await expectNoFailure(reading);

  // Of a collection that is not loaded the manifest alone changes; what has nothing to replace goes.
  await client.releaseCollection({ collectionName: COLLECTION });
  await stageAll();
  await expect.poll(stagedCount, SETTLE).toBe(0);
  expect((await ids()).filter((segmentId) => after.includes(segmentId))).toEqual([]);
  await client.loadCollection({ collectionName: COLLECTION });
  expect(await client.query({ ...STRONG, outputFields: ["count(*)"] })).toEqual([{ "count(*)": ROWS }]);
  const lost = { replaces: [systemRandom.ulid()], segments: [] };
  await store.change((doc) => ({ ...doc, staged: [lost] }));
  await expect.poll(stagedCount, SETTLE).toBe(0);
  expect(await client.query({ ...STRONG, outputFields: ["count(*)"] })).toEqual([{ "count(*)": ROWS }]);
});

/** As the coordinator sees it, or as the node does that was asked: it knows what a segment takes beside its rows. */
const NO_ROOM = /segment \w+ needs \d+ bytes.*: add query nodes or raise query\.memoryBytes/;

test("a collection that fits on no node says why it is not loaded, and is when a node comes that has room", async () => {
  await start(0);
  await cluster.startNode(["query"], ["query.memoryBytes=10000", "query.mmap=never"]);
  await client.loadCollection({ collectionName: COLLECTION, wait: false });
  await expect
    .poll(() => client.getLoadState({ collectionName: COLLECTION }), SETTLE)
    .toMatchObject({
      loadState: "LoadStateLoading",
      message: expect.stringMatching(NO_ROOM),
    });
  const progress = async () => (await client.getLoadState({ collectionName: COLLECTION })).loadProgress;
  await expect.poll(progress, SETTLE).toBeGreaterThan(0);
  // It says what it was told last.
  const waited = () => client.waitUntilLoaded({ collectionName: COLLECTION, timeoutMs: 300 }).catch(String);
  await expect.poll(waited, SETTLE).toMatch(NO_ROOM);
  await cluster.startNode(["query"]);
  await client.waitUntilLoaded({ collectionName: COLLECTION });
  expect(await client.query({ ...STRONG, outputFields: ["count(*)"] })).toEqual([{ "count(*)": ROWS }]);
});

test("a segment that cannot be loaded says why, and keeps no other from being loaded", async () => {
  await start(1);
  await using store = await openManifest();
  const [broken] = (await store.read()).doc.segments;
  const { name: whole } = broken!.object;
  const renameTo = (name: string) =>
    store.change((doc) => ({ ...doc, segments: doc.segments.map((segment) => withObject(segment, broken!, name)) }));
  await renameTo("gone");
  await client.loadCollection({ collectionName: COLLECTION, wait: false });
  await expect.poll(held, SETTLE).toEqual([SEGMENTS - 1]);
  await expect
    .poll(() => client.getLoadState({ collectionName: COLLECTION }), SETTLE)
    .toMatchObject({ loadState: "LoadStateLoading", message: expect.stringContaining("gone") });
  await renameTo(whole);
  await client.waitUntilLoaded({ collectionName: COLLECTION });
  expect(await client.query({ ...STRONG, outputFields: ["count(*)"] })).toEqual([{ "count(*)": ROWS }]);
});

test("a query node holds no more than its memory, however many loads come at once", async () => {
  await start(0);
  await using store = await openManifest();
  const { doc, revision } = await store.read();
  const { segments, vchannel, collectionId } = doc;
  const bytes = Math.max(...segments.map(({ object }) => object.bytes));
  const node = await cluster.startNode(["query"], [`query.memoryBytes=${Math.floor(2.5 * bytes)}`, "query.mmap=never"]);
  const failures: unknown[] = [];
  const load = async (segmentId: string) => {
    const request = { collectionId, vchannel, segmentIds: [segmentId], revision };
    await cluster.nodes[0]!.bus.ask(loadSegments, { nodeId: node.nodeId }, request).catch((e) => failures.push(e));
    expect(Number(node.observe().query?.memoryBytes)).toBeLessThanOrEqual(2.5 * bytes);
  };
  await Promise.all(segments.map(({ segmentId }) => load(segmentId)));
  expect(failures.length).toBeGreaterThan(0);
  for (const failure of failures) expect(failure).toMatchObject({ kind: "memory_limit" });
});

test("replicas stay in their resource groups; nodes and replicas are transferred while reads go on", async () => {
  await start(2);
  const pinned = await cluster.startNode(["query"], ["query.resourceGroup=pinned"]);
  await expect.poll(() => client.listResourceGroups(), SETTLE).toEqual(["__default_resource_group", "pinned"]);
  await client.createResourceGroup({ name: "rg1" });
  await client.createResourceGroup({ name: "rg1" });
  await expect(
    client.createResourceGroup({ name: "rg1", config: { requests: { node_num: 1 }, limits: { node_num: 1 } } }),
  ).rejects.toMatchObject({ code: 301 });
  await expect(
    client.updateResourceGroups({ resourceGroups: { rg1: { requests: { node_num: 2 }, limits: { node_num: 1 } } } }),
  ).rejects.toMatchObject({ code: 303 });
  await expect(client.describeResourceGroup({ name: "nobody" })).rejects.toMatchObject({ code: 300 });
  const load = (replicaNumber: number, resourceGroups: string[]) =>
    client.loadCollection({ collectionName: COLLECTION, replicaNumber, resourceGroups });
  await expect(load(1, ["nobody"])).rejects.toMatchObject({ code: 300 });
  await expect(load(1, ["rg1"])).rejects.toMatchObject({ code: 304 });
  await expect(load(3, ["rg1", "pinned"])).rejects.toMatchObject({ code: 1100 });

  await load(2, ["__default_resource_group", "pinned"]);
  await expect.poll(held, SETTLE).toEqual([SEGMENTS / 2, SEGMENTS / 2, SEGMENTS]);
  await expect
    .poll(() => client.describeResourceGroup({ name: "pinned" }), SETTLE)
    .toMatchObject({
      num_available_node: 1,
      num_loaded_replica: { [COLLECTION]: 1 },
      nodes: [{ node_id: pinned.nodeId }],
    });

  const reading = readAllTheTime();
  await client.transferNode({ source: "__default_resource_group", target: "rg1", nodeNum: 1 });
  await expect
    .poll(async () => (await client.describeResourceGroup({ name: "rg1" })).num_available_node, SETTLE)
    .toBe(1);
  const [moved] = (await client.describeResourceGroup({ name: "rg1" })).nodes;
  const node = queryNodes().find(({ nodeId }) => nodeId === moved?.node_id)!;
  const other = queryNodes().find((candidate) => candidate !== node && candidate !== pinned)!;
  await expect.poll(() => [segmentsOf(node), segmentsOf(other)], SETTLE).toEqual([0, SEGMENTS]);
  await client.transferReplica({ source: "pinned", target: "rg1", collectionName: COLLECTION, replicaNum: 1 });
  await expect
    .poll(() => [segmentsOf(node), segmentsOf(other), segmentsOf(pinned)], SETTLE)
    .toEqual([SEGMENTS, SEGMENTS, 0]);
  await expectNoFailure(reading);

  // A node whose own configuration names its group is not to be given away; another group's spare node is.
  const transfer = (source: string, target: string) => client.transferNode({ source, target, nodeNum: 1 });
  await expect(transfer("pinned", "rg1")).rejects.toMatchObject({ code: 304 });
  const nodesIn = async (name: string) => (await client.describeResourceGroup({ name })).num_available_node;
  await client.updateResourceGroups({
    resourceGroups: { rg1: { requests: { node_num: 1 }, limits: { node_num: 3 } } },
  });
  await transfer("rg1", "__default_resource_group");
  await expect
    .poll(async () => [await nodesIn("rg1"), await nodesIn("__default_resource_group")], SETTLE)
    .toEqual([0, 2]);

  await expect(client.dropResourceGroup({ name: "rg1" })).rejects.toMatchObject({ code: 1100 });
  await expect(client.dropResourceGroup({ name: "__default_resource_group" })).rejects.toMatchObject({ code: 1100 });
  await client.releaseCollection({ collectionName: COLLECTION });
  await client.updateResourceGroups({ resourceGroups: { rg1: {} } });
  await client.dropResourceGroup({ name: "rg1" });
  expect(await client.listResourceGroups()).toEqual(["__default_resource_group", "pinned"]);
});
