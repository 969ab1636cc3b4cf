/**
 * A node of today beside one of the next version, which knows more: what it wrote into documents survives what today's
 * code changes in them, what it says more in messages does no harm, and what today's code cannot know stops it.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { type Cluster, openCluster, syncCatalog } from "../../runtime/backup/cluster.ts";
import { createNatsLog } from "../../runtime/log/nats-log.ts";
import { newChainState } from "../../runtime/log/verify.ts";
import { openWriter } from "../../runtime/log/writer.ts";
import { createNatsMeta } from "../../runtime/meta/nats-meta.ts";
import type { MetaPort } from "../../runtime/meta/port.ts";
import { connectNats, type NatsConnections } from "../../runtime/nats/connect.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import { decode, encode } from "../../runtime/protocol/codec.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import { flushShard } from "../../runtime/protocol/streaming.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const collectionName = "things";
const MORE = { fromTheNextVersion: { yes: true, since: 3 } };

let nodes: TestCluster;
let client: VdbClient;
let cluster: Cluster & AsyncDisposable;
let connections: NatsConnections;
let meta: MetaPort;

beforeAll(async () => {
  nodes = await startTestCluster(undefined, [
    "coordinator.indexRowsMin=10",
    "cluster.walChannels=2",
    "log.level=silent",
  ]);
  client = VdbClient.inProcess(nodes.nodes[0]!.bus);
  const nats = { servers: nodes.nats.url, name: "vdb-test" };
  [cluster, connections] = await Promise.all([openCluster(nats, "vdb"), connectNats(nats)]);
  meta = createNatsMeta(connections.control, { prefix: "vdb", clock: systemClock, random: systemRandom });
  await client.createCollection({ collectionName, dimension: 4, metricType: "L2" });
});
afterAll(async () => {
  await connections?.close();
  await cluster?.[Symbol.asyncDispose]();
  await nodes?.[Symbol.asyncDispose]();
});

interface Doc extends Record<string, unknown> {
  schema: { fields: object[] };
  shards: { vchannel: string; pchannel: number }[];
  segments: { indexes: Record<string, object> }[];
}

async function read(key: string): Promise<{ doc: Doc; revision: number }> {
  const entry = (await meta.get(key))!;
  return { doc: decode(entry.value) as Doc, revision: entry.revision };
}

/** Changes a document as the next version would: with what only it knows. */
async function change(key: string, next: (doc: Doc) => object): Promise<void> {
  for (;;) {
    const { doc, revision } = await read(key);
    if ((await meta.commit([{ op: "put", key, value: encode(next(doc)), revision }])) !== null) return;
  }
}

const rows = (first: number) =>
  Array.from({ length: 20 }, (_, i) => ({ id: first + i, vector: Float32Array.of(first + i, 1, 2, 3) }));

async function keys() {
  await client.waitUntilLoaded({ collectionName });
  await syncCatalog(cluster);
  const { collectionId, shards } = cluster.catalog.collectionByName("default", collectionName)!;
  const [{ vchannel, pchannel }] = shards as [(typeof shards)[number]];
  const keys = { collection: metaKeys.collection(collectionId), manifest: metaKeys.manifest(vchannel) };
  return { collectionId, vchannel, pchannel, keys };
}

test("what the next version has in documents survives flushes, indexes, loads and releases by this one", async () => {
  const { keys: of } = await keys();
  await client.insert({ collectionName, data: rows(0) });
  await client.flush({ collectionName });
  await change(of.collection, (doc) => ({
    ...{ ...doc, ...MORE },
    schema: { ...doc.schema, ...MORE, fields: doc.schema.fields.map((field) => ({ ...field, ...MORE })) },
    shards: doc.shards.map((shard) => ({ ...shard, ...MORE })),
  }));
  await change(of.manifest, (doc) => ({
    ...{ ...doc, ...MORE },
    segments: doc.segments.map((segment) => ({ ...segment, ...MORE })),
  }));
  await change(metaKeys.cluster, (doc) => ({ ...doc, ...MORE }));
  await meta.commit([{ op: "put", key: "future.kind", value: encode(MORE), revision: 0 }]);

  await client.insert({ collectionName, data: rows(100) });
  await client.flush({ collectionName });
  await client.delete({ collectionName, filter: "id in [1, 101]" });
  await client.flush({ collectionName });
  await expect
    .poll(() => client.describeIndex({ collectionName, indexName: "vector" }))
    .toMatchObject({ pendingRows: 0 });
  await client.releaseCollection({ collectionName });
  await client.dropIndex({ collectionName, indexName: "vector" });
  const indexParams = [{ fieldName: "vector", indexType: "HNSW" as const, metricType: "L2" as const }];
  await client.createIndex({ collectionName, indexParams });
  await client.loadCollection({ collectionName });
  const [count] = await client.query({ collectionName, outputFields: ["count(*)"], consistencyLevel: "Strong" });
  expect(count).toEqual({ "count(*)": 38 });

  const { doc: collection } = await read(of.collection);
  expect(collection).toMatchObject(MORE);
  expect(collection.schema).toMatchObject(MORE);
  for (const part of [...collection.schema.fields, ...collection.shards]) expect(part).toMatchObject(MORE);
  const { doc: manifest } = await read(of.manifest);
  expect(manifest).toMatchObject(MORE);
  expect(manifest.segments.length).toBeGreaterThan(1);
  expect(manifest.segments[0]).toMatchObject(MORE);
  expect((await read(metaKeys.cluster)).doc).toMatchObject(MORE);
  expect((await read("future.kind")).doc).toEqual(MORE);
});

test("a request with more fields is served", async () => {
  const { collectionId, vchannel, pchannel } = await keys();
  const { nodeId } = cluster.catalog.channelOwner(pchannel)!;
  const { first: ts } = await cluster.bus.ask(allocateTimestamps, {}, { count: 1, ...MORE });
  const request = { collectionId, vchannel, throughTs: ts, ...MORE };
  expect(await cluster.bus.ask(flushShard, { nodeId }, request)).toMatchObject({ ts });
});

test("a log that a newer owner wrote into stops its channel, and the others go on", async () => {
  const { vchannel, pchannel } = await keys();
  const { term } = cluster.catalog.channelOwner(pchannel)!;
  const log = createNatsLog(connections, { prefix: "vdb", replicas: 1, maxBytes: 1 << 28 });
  const stop = new AbortController();
  const writer = await openWriter({
    ...{ log, channel: pchannel, term: term + 1, nodeId: "newer", clock: systemClock, random: systemRandom },
    timestamps: async (count) => (await cluster.bus.ask(allocateTimestamps, {}, { count })).first,
    onCommitted: () => undefined,
    signal: stop.signal,
  });
  writer.resume(newChainState());
  const entry = { vchannel, requestId: "r", operation: "truncate" as "delete", partitionId: 1, schemaVersion: 1 };
  await writer.append(entry, systemClock.monotonic() + 60_000);
  await writer.close();
  stop.abort();

  const other = "elsewhere";
  await client.createCollection({ collectionName: other, dimension: 4 });
  // The old owner is fenced, gets a new term, and meets in the log what it does not know; so does each that follows.
  await client.insert({ collectionName, data: rows(200), timeoutMs: 3_000 }).then(
    () => expect.unreachable("a write beside what was not understood"),
    (error: unknown) => expect(error).toMatchObject({ retriable: true }),
  );
  const held = () => {
    const { channels } = nodes.nodes[0]!.observe().streaming as { channels: { pchannel: number; isOpen: boolean }[] };
    return channels.find((channel) => channel.pchannel === pchannel)?.isOpen ?? false;
  };
  await expect.poll(() => cluster.catalog.channelOwner(pchannel)!.term).toBeGreaterThanOrEqual(term + 3);
  expect(held()).toBe(false);
  await client.insert({ collectionName: other, data: rows(0) });
  const [count] = await client.query({ collectionName: other, outputFields: ["count(*)"], consistencyLevel: "Strong" });
  expect(count).toEqual({ "count(*)": 20 });
});
