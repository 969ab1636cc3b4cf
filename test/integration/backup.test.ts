/** Backup and restore through a cluster that is being written to: what comes back is the state at one timestamp. */
import { EventEmitter, once } from "node:events";
import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { FieldDefinition, Row } from "../../client/types.ts";
import { type Cluster, openCluster, syncCatalog } from "../../runtime/backup/cluster.ts";
import { BACKUP_FILE, objectPath, readBackup, shardObjects } from "../../runtime/backup/format.ts";
import { restoreBackup } from "../../runtime/backup/restore-backup.ts";
import { takeBackup } from "../../runtime/backup/take-backup.ts";
import type { Bus } from "../../runtime/bus/bus.ts";
import { createNatsMeta } from "../../runtime/meta/nats-meta.ts";
import type { MetaOp, MetaPort } from "../../runtime/meta/port.ts";
import { connectNats } from "../../runtime/nats/connect.ts";
import { isHeld, takePin } from "../../runtime/pins.ts";
import { decodeDoc, encodeDoc, type ManifestDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import { allocateTimestamps, restoreCollection, restoredFolder } from "../../runtime/protocol/coordinator.ts";
import * as api from "../../runtime/protocol/public.ts";
import { flushShard } from "../../runtime/protocol/streaming.ts";
import { readSegmentFile } from "../../runtime/segment/arrow-file.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { seededNumbers } from "../../runtime/testing/vectors.ts";

const SETTINGS = [
  ...["coordinator.garbageIntervalMs=1000", "coordinator.indexRowsMin=200"],
  // Less than any segment has: they stay several, and those with many deleted rows are written anew while a backup is under way.
  "coordinator.compactionBytes=1024",
];
const DIMENSION = 4;
const EVERYTHING = 16_384;
const SMALL_FIELDS: FieldDefinition[] = [
  { fieldName: "id", dataType: "Int64", isPrimary: true },
  { fieldName: "version", dataType: "Int64" },
  { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
];
const INDEX = { fieldName: "vector", indexType: "HNSW" as const, metricType: "L2" as const };

let source: TestCluster;
let other: TestCluster;
let client: VdbClient;
let otherClient: VdbClient;
let cluster: Cluster & AsyncDisposable;
let otherCluster: Cluster & AsyncDisposable;
let folder: string;
let folders = 0;

beforeAll(async () => {
  [source, other] = await Promise.all([startTestCluster(undefined, SETTINGS), startTestCluster(undefined, SETTINGS)]);
  client = VdbClient.inProcess(source.nodes[0]!.bus);
  otherClient = VdbClient.inProcess(other.nodes[0]!.bus);
  [cluster, otherCluster] = (await Promise.all(
    [source, other].map(({ nats }) => openCluster({ servers: nats.url, name: "vdb-test" }, "vdb")),
  )) as [typeof cluster, typeof cluster];
  folder = await mkdtemp(join(tmpdir(), "vdb-backup-"));
});
afterAll(async () => {
  await Promise.all([cluster, otherCluster, source, other].map((each) => each?.[Symbol.asyncDispose]()));
  await rm(folder, { recursive: true, force: true });
});

/** The source's meta store, to be changed behind its coordinator's back. */
async function openMeta(): Promise<{ meta: MetaPort } & AsyncDisposable> {
  const connections = await connectNats({ servers: source.nats.url, name: "vdb-test" });
  const meta = createNatsMeta(connections.control, { prefix: "vdb", clock: systemClock, random: systemRandom });
  return { meta, [Symbol.asyncDispose]: () => connections.close() };
}

const newFolder = () => join(folder, `b${folders++}`);
const named = (...names: string[]) => names.map((name) => ({ database: "default", name }));
const backUp = (to: string, ...names: string[]) =>
  takeBackup(cluster, { folder: to, collections: named(...names), holder: "test" });
const restore = (from: string, into = otherCluster) => restoreBackup(into, { folder: from, holder: "test" });

async function createSmall(collectionName: string, shardsNum = 2): Promise<void> {
  await client.createCollection({
    collectionName,
    schema: { fields: SMALL_FIELDS },
    indexParams: [INDEX],
    params: { shardsNum },
  });
}

function rowOf(id: number, version: number): Row {
  return { id, version, vector: Float32Array.of(id % 7, version % 5, 1, id % 3) };
}

function vectorOf(i: number): Float32Array {
  return Float32Array.from({ length: DIMENSION }, (_, d) => Math.sin(i * (d + 1.3)));
}

async function rowsIn(of: VdbClient, collectionName: string): Promise<Row[]> {
  await of.waitUntilLoaded({ collectionName });
  const all = { collectionName, filter: "id >= 0", limit: EVERYTHING, consistencyLevel: "Strong" } as const;
  return of.query({ ...all, outputFields: ["*"] });
}

async function versionsIn(of: VdbClient, collectionName: string): Promise<Map<number, number>> {
  return new Map((await rowsIn(of, collectionName)).map(({ id, version }) => [Number(id), Number(version)]));
}

/** An acknowledged write of one row, which is on one shard: it has one timestamp. */
interface Write {
  collectionName: string;
  id: number;
  /** null: deleted. */
  version: number | null;
  ts: bigint;
}

/** Writes single rows, again and again, until it is stopped. */
async function writeSteadily(
  writes: Write[],
  options: { collectionName: string; firstId: number; seed: number; signal: AbortSignal },
): Promise<void> {
  const { collectionName, firstId, signal } = options;
  const random = seededNumbers(options.seed);
  const { bus } = source.nodes[0]!;
  const present = new Set<number>();
  let next = firstId;
  for (let version = 1; !signal.aborted; version++) {
    const existing = [...present][Math.floor(random() * present.size)];
    const choice = existing === undefined ? 0 : random();
    const id = choice < 0.5 ? next++ : existing!;
    const body = { collectionName, data: [rowOf(id, version)], requestId: systemRandom.ulid() };
    const isDelete = choice >= 0.8;
    const reply = isDelete
      ? await bus.ask(api.deleteEntities, {}, { collectionName, filter: `id in [${id}]` })
      : await bus.ask(choice < 0.5 ? api.insertEntities : api.upsertEntities, {}, body);
    expect(reply).toMatchObject({ code: 0 });
    writes.push({ collectionName, id, version: isDelete ? null : version, ts: BigInt(reply.sessionTs as string) });
    if (isDelete) present.delete(id);
    else present.add(id);
  }
}

/** What the writes up to a timestamp leave. */
function stateAt(writes: readonly Write[], collectionName: string, ts: bigint): Map<number, number> {
  const state = new Map<number, number>();
  for (const write of writes.filter((each) => each.collectionName === collectionName && each.ts <= ts)) {
    if (write.version === null) state.delete(write.id);
    else state.set(write.id, write.version);
  }
  return new Map([...state].sort(([a], [b]) => a - b));
}

describe("a backup under writes", () => {
  test("is the state at one timestamp, over shards and collections, restored in another cluster", async () => {
    const names = ["busy_one", "busy_two"];
    const writes: Write[] = [];
    const stop = new AbortController();
    for (const name of names) await createSmall(name);
    const writers = names.flatMap((collectionName, c) =>
      [0, 1, 2].map((w) =>
        writeSteadily(writes, { collectionName, firstId: w * 100_000, seed: 10 * c + w, signal: stop.signal }),
      ),
    );
    const untilWritten = (count: number) => expect.poll(() => writes.length).toBeGreaterThan(count);
    // Several segments a shard, with deletes of their rows in each later one.
    for (let flushes = 1; flushes <= 3; flushes++) {
      await untilWritten(150 * flushes);
      for (const collectionName of names) await client.flush({ collectionName });
    }
    await untilWritten(600);
    const to = newFolder();
    const { timestamp } = await backUp(to, ...names);
    await untilWritten(writes.length + 100);
    stop.abort();
    await Promise.all(writers);

    const backup = await readBackup(to);
    for (const { shards } of backup.collections) {
      expect(shards).toHaveLength(2);
      for (const { segments } of shards) expect(segments.length).toBeGreaterThan(2);
    }
    expect(await restore(to)).toMatchObject({ timestamp, collections: 2 });
    for (const collectionName of names) {
      const expected = stateAt(writes, collectionName, timestamp);
      expect(expected).not.toEqual(stateAt(writes, collectionName, 2n ** 63n));
      expect(await versionsIn(otherClient, collectionName)).toEqual(expected);
      const [count] = await otherClient.query({
        collectionName,
        outputFields: ["count(*)"],
        consistencyLevel: "Strong",
      });
      expect(count).toEqual({ "count(*)": expected.size });
    }
    // It goes on as any other collection does.
    const [collectionName = ""] = names;
    await otherClient.upsert({ collectionName, data: [rowOf(0, 77)] });
    await otherClient.delete({ collectionName, filter: "id in [1]" });
    const after = await versionsIn(otherClient, collectionName);
    expect([after.get(0), after.get(1)]).toEqual([77, undefined]);
  });
});

test("a flush through a timestamp has every write up to it, and later writes get greater ones", async () => {
  const collectionName = "flushed_through";
  const { bus } = source.nodes[0]!;
  const { catalog } = cluster;
  await createSmall(collectionName, 1);
  const stop = new AbortController();
  const acknowledged: bigint[] = [];
  const writers = Array.from({ length: 8 }, async (_, w) => {
    for (let id = w * 100_000; !stop.signal.aborted; id++) {
      const reply = await bus.ask(api.insertEntities, {}, { collectionName, data: [rowOf(id, 1)] });
      acknowledged.push(BigInt(reply.sessionTs as string));
    }
  });
  await syncCatalog(cluster);
  const collection = catalog.collectionByName("default", collectionName)!;
  const [shard] = collection.shards as [(typeof collection.shards)[number]];
  const { vchannel } = shard;
  const { nodeId } = catalog.channelOwner(shard.pchannel)!;
  const captured: { ts: bigint; manifest: ManifestDoc }[] = [];
  await using _pin = await takePin(cluster, "test");
  for (let round = 0; round < 25; round++) {
    // At once, and in the same process: what was being written when the timestamp was given is still under way.
    const { first: ts } = await bus.ask(allocateTimestamps, {}, { count: 1 });
    await bus.ask(flushShard, { nodeId }, { collectionId: collection.collectionId, vchannel, throughTs: ts });
    await syncCatalog(cluster);
    captured.push({ ts, manifest: catalog.manifest(vchannel)! });
  }
  stop.abort();
  await Promise.all(writers);
  const stored = new Map<string, BigInt64Array>();
  for (const { ts, manifest } of captured) {
    expect(manifest.settledTs).toBe(ts);
    let rows = 0;
    for (const { segmentId, object } of manifest.segments) {
      const chunks = stored.has(segmentId) ? [] : readSegmentFile(await cluster.blobs.get(object));
      if (chunks.length > 0) stored.set(segmentId, chunks[0]!.timestamps);
      rows += stored.get(segmentId)!.filter((each) => each <= ts).length;
    }
    expect(rows).toBe(acknowledged.filter((each) => each <= ts).length);
  }
});

describe("a restored collection", () => {
  test("brings its database along where there is none of that name", async () => {
    await client.createDatabase({ dbName: "archive" });
    const there = VdbClient.inProcess(source.nodes[0]!.bus, { database: "archive" });
    await there.createCollection({ collectionName: "kept", dimension: DIMENSION });
    await there.insert({ collectionName: "kept", data: [{ id: 1, vector: [1, 2, 3, 4] }] });
    const to = newFolder();
    await takeBackup(cluster, { folder: to, collections: [{ database: "archive", name: "kept" }], holder: "test" });
    await restore(to);
    expect(await otherClient.listDatabases()).toContain("archive");
    expect(await otherClient.hasCollection({ collectionName: "kept" })).toBe(false);
    const restored = VdbClient.inProcess(other.nodes[0]!.bus, { database: "archive" });
    expect((await rowsIn(restored, "kept")).map(({ id }) => id)).toEqual([1]);
  });

  test("has every kind of field, the schema, shards, indexes and properties of the first", async () => {
    const collectionName = "every_type";
    const fields: FieldDefinition[] = [
      { fieldName: "id", dataType: "VarChar", isPrimary: true, elementTypeParams: { max_length: 32 } },
      { fieldName: "flag", dataType: "Bool", nullable: true },
      { fieldName: "tiny", dataType: "Int8" },
      { fieldName: "small", dataType: "Int16" },
      { fieldName: "medium", dataType: "Int32", nullable: true },
      { fieldName: "large", dataType: "Int64", defaultValue: 2n ** 62n + 1n },
      { fieldName: "single", dataType: "Float" },
      { fieldName: "double", dataType: "Double" },
      { fieldName: "text", dataType: "VarChar", defaultValue: "unset", elementTypeParams: { max_length: 64 } },
      { fieldName: "document", dataType: "JSON", nullable: true },
      {
        fieldName: "tags",
        dataType: "Array",
        elementDataType: "VarChar",
        elementTypeParams: { max_capacity: 8, max_length: 32 },
      },
      { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
    ];
    await client.createCollection({
      collectionName,
      description: "all of them",
      schema: { enableDynamicField: true, fields },
      indexParams: [INDEX],
      params: { shardsNum: 2, consistencyLevel: "Session" },
    });
    const data = Array.from(
      { length: 600 },
      (_, i): Row => ({
        id: `k${String(i).padStart(4, "0")}`,
        flag: i % 5 === 0 ? null : i % 2 === 0,
        tiny: (i % 256) - 128,
        small: i,
        medium: i % 4 === 0 ? null : i * 1000,
        ...(i % 3 === 0 ? {} : { large: 2n ** 61n + BigInt(i), text: `row ${i}` }),
        single: i / 8,
        double: i / 7,
        document: i % 6 === 0 ? null : JSON.stringify({ size: i }),
        tags: Array.from({ length: i % 4 }, (_, tag) => `t${i + tag}`),
        ...(i % 7 === 0 ? { extra: i } : {}),
        vector: vectorOf(i),
      }),
    );
    await client.insert({ collectionName, data });
    await client.delete({ collectionName, filter: 'id in ["k0001", "k0599"]' });
    const to = newFolder();
    await backUp(to, collectionName);
    await restore(to);

    const all = { collectionName, filter: 'id >= ""', limit: EVERYTHING, outputFields: ["*"] };
    await otherClient.waitUntilLoaded({ collectionName });
    const [was, is] = await Promise.all([client, otherClient].map((each) => each.query({ ...all })));
    expect(was).toHaveLength(598);
    expect(is).toEqual(was);
    const about = async (of: VdbClient) => {
      const described: Record<string, unknown> = { ...(await of.describeCollection({ collectionName })) };
      // Of the place that it has in its cluster.
      for (const key of ["collectionID", "load", "createdTimestamp", "updateTimestamp"]) delete described[key];
      for (const key of ["virtualChannelNames", "physicalChannelNames"]) delete described[key];
      const { indexType, metricType, indexName } = await of.describeIndex({ collectionName, indexName: "vector" });
      return { described, index: { indexType, metricType, indexName } };
    };
    expect(await about(otherClient)).toEqual(await about(client));
    await expect
      .poll(() => otherClient.describeIndex({ collectionName, indexName: "vector" }))
      .toMatchObject({ indexState: "Finished", pendingRows: 0, totalRows: 598 });
    const nearest = { collectionName, data: [vectorOf(7)], limit: 10 };
    expect((await otherClient.search(nearest))[0]?.[0]).toMatchObject({ id: "k0007", distance: 0 });
  });

  test("has its aliases, but for those that are taken", async () => {
    await createSmall("aliased", 1);
    await client.createAlias({ collectionName: "aliased", aliasName: "free" });
    await client.createAlias({ collectionName: "aliased", aliasName: "taken" });
    const to = newFolder();
    await backUp(to, "aliased");
    await otherClient.createCollection({ collectionName: "taken", dimension: DIMENSION });
    await restore(to);
    expect(await otherClient.listAliases({ collectionName: "aliased" })).toEqual(["free"]);
    expect((await otherClient.describeCollection({ collectionName: "free" })).collectionName).toBe("aliased");
    expect((await otherClient.describeCollection({ collectionName: "taken" })).collectionName).toBe("taken");
  });

  test("beside the first one has another name, and is not overwritten", async () => {
    await createSmall("original", 1);
    await client.insert({ collectionName: "original", data: [rowOf(1, 1), rowOf(2, 1)] });
    const to = newFolder();
    await backUp(to, "original");
    await client.upsert({ collectionName: "original", data: [rowOf(1, 2)] });

    await expect(restore(to, cluster)).rejects.toThrow(/original exists already and is not overwritten/);
    const [from] = named("original") as [{ database: string; name: string }];
    const renames = [{ from, to: { ...from, name: "copied" } }];
    await restoreBackup(cluster, { folder: to, holder: "test", renames });
    expect(await versionsIn(client, "copied")).toEqual(
      new Map([
        [1, 1],
        [2, 1],
      ]),
    );
    expect(await versionsIn(client, "original")).toEqual(
      new Map([
        [1, 2],
        [2, 1],
      ]),
    );
    await expect(restoreBackup(cluster, { folder: to, holder: "test", renames })).rejects.toThrow(
      /copied exists already/,
    );
  });

  test("that makes its own keys makes none that it has", async () => {
    const collectionName = "own_keys";
    await client.createCollection({ collectionName, dimension: DIMENSION, autoID: true });
    const vector = Float32Array.of(1, 2, 3, 4);
    // So many that the other cluster has handed out none of them.
    for (let i = 0; i < 3; i++)
      await client.insert({ collectionName, data: Array.from({ length: 1000 }, () => ({ vector })) });
    const to = newFolder();
    await backUp(to, collectionName);
    await restore(to);
    await otherClient.waitUntilLoaded({ collectionName });
    const restored = await otherClient.query({
      collectionName,
      filter: "id > 0",
      limit: EVERYTHING,
      outputFields: ["id"],
    });
    expect(restored).toHaveLength(3000);
    const keys = new Set(restored.map(({ id }) => id));
    const { insertIds } = await otherClient.insert({
      collectionName,
      data: Array.from({ length: 100 }, () => ({ vector })),
    });
    expect(insertIds.filter((id) => keys.has(id))).toEqual([]);
  });
});

describe("a backup's folder", () => {
  let to: string;
  beforeAll(async () => {
    await createSmall("kept", 1);
    await client.insert({ collectionName: "kept", data: Array.from({ length: 50 }, (_, i) => rowOf(i, 1)) });
    await client.flush({ collectionName: "kept" });
    await client.insert({ collectionName: "kept", data: Array.from({ length: 50 }, (_, i) => rowOf(50 + i, 1)) });
    to = newFolder();
    // Named twice, it is there once.
    expect(await backUp(to, "kept", "kept")).toMatchObject({ collections: 1, rows: 100 });
  });

  const objects = async () => (await readBackup(to)).collections.flatMap(({ shards }) => shards.flatMap(shardObjects));

  test("is not written over", async () => {
    await expect(backUp(to, "kept")).rejects.toThrow(/holds a finished backup/);
  });

  test("that is not finished is none, and is finished by another run, which copies only what is missing", async () => {
    const description = await readFile(join(to, BACKUP_FILE));
    await rm(join(to, BACKUP_FILE));
    await expect(restore(to)).rejects.toThrow(/holds no finished backup: backup.json/);

    const [first, second] = await objects().catch(async () => {
      await writeFile(join(to, BACKUP_FILE), description);
      const all = await objects();
      await rm(join(to, BACKUP_FILE));
      return all;
    });
    await truncate(objectPath(to, first!), 10);
    await writeFile(
      objectPath(to, { name: "segment/gone/1/other.arrow" }).replace("gone/1/other", "stray"),
      "left over",
    );
    const again = await backUp(to, "kept");
    expect(again).toMatchObject({ copiedBytes: first!.bytes, bytes: first!.bytes + second!.bytes, rows: 100 });
    const files = await readdir(join(to, "objects"), { recursive: true, withFileTypes: true });
    expect(files.filter((entry) => entry.isFile())).toHaveLength(2);
  });

  test("with a damaged, missing or newer file is refused, and nothing of it appears", async () => {
    const [object] = await objects();
    const path = objectPath(to, object!);
    const whole = await readFile(path);
    const description = await readFile(join(to, BACKUP_FILE), "utf8");

    const flipped = Buffer.from(whole);
    flipped[whole.length >> 1]! ^= 1;
    await writeFile(path, flipped);
    await expect(restore(to)).rejects.toMatchObject({ kind: "corrupt", message: expect.stringContaining(path) });
    await appendFile(path, "more");
    await expect(restore(to)).rejects.toThrow(/is damaged: .* bytes, expected/);
    await rm(path);
    await expect(restore(to)).rejects.toThrow(`the backup lacks ${path}`);
    await writeFile(path, whole);

    await writeFile(join(to, BACKUP_FILE), description.replace('"format": 1', '"format": 2'));
    await expect(restore(to)).rejects.toMatchObject({
      kind: "newer_version",
      message: expect.stringMatching(/format 2/),
    });
    await writeFile(join(to, BACKUP_FILE), description.replaceAll('"segment/', '"../segment/'));
    await expect(restore(to)).rejects.toMatchObject({ kind: "corrupt" });
    await writeFile(join(to, BACKUP_FILE), description.slice(0, -20));
    await expect(restore(to)).rejects.toThrow(/backup.json is not JSON/);
    await writeFile(join(to, BACKUP_FILE), description);

    expect(await otherClient.hasCollection({ collectionName: "kept" })).toBe(false);
    await restore(to);
    expect((await versionsIn(otherClient, "kept")).size).toBe(100);
  });
});

describe("a pin", () => {
  const objectsOf = async (collectionId: number) =>
    (await cluster.blobs.list()).filter(({ name }) => name.split("/")[1]?.startsWith(`${collectionId}v`));

  test("keeps garbage until it is given back", async () => {
    await createSmall("dropped", 1);
    const { collectionID } = await client.describeCollection({ collectionName: "dropped" });
    await client.insert({ collectionName: "dropped", data: [rowOf(1, 1)] });
    await client.flush({ collectionName: "dropped" });
    const before = (await objectsOf(collectionID)).length;
    expect(before).toBeGreaterThan(0);
    {
      await using pin = await takePin(cluster, "test");
      await client.dropCollection({ collectionName: "dropped" });
      // Two rounds of the collector: garbage of another kind would have gone in the first.
      await systemClock.sleep(2_500);
      expect(await objectsOf(collectionID)).toHaveLength(before);
      expect(await isHeld(cluster.leases, pin.ref)).toBe(true);
    }
    await expect.poll(() => objectsOf(collectionID)).toEqual([]);
  });

  test("that was lost lets no restored objects be named, and they are collected", async () => {
    const pin = await takePin(cluster, "test");
    const collectionId = 900_000;
    const object = await cluster.blobs.put(`${restoredFolder(collectionId, 0)}x.arrow`, [Buffer.from("rows")]);
    await pin[Symbol.asyncDispose]();
    const segment = {
      ...{ segmentId: systemRandom.ulid(), partitionId: 900_001, rowCount: 1, minTs: 1n, maxTs: 1n },
      ...{ object, indexes: {}, deletesSeq: 0 },
    };
    const request = {
      ...{ collectionId, database: "default", name: "late", description: "", indexes: [], loaded: undefined },
      schema: { version: 1, fields: [], autoId: false, enableDynamicField: false },
      partitions: [{ partitionId: 900_001, name: "_default" }],
      consistencyLevel: "Bounded" as const,
      properties: {},
      ...{ shards: [{ segments: [segment] }], ts: 1n, pin: pin.ref },
    };
    await expect(cluster.bus.ask(restoreCollection, {}, request)).rejects.toThrow(/lost its hold/);
    expect(await client.hasCollection({ collectionName: "late" })).toBe(false);
    await expect.poll(() => objectsOf(collectionId)).toEqual([]);
  });
});

test("what comes into all shards by one commit is in a backup of all of them, or of none", async () => {
  const collectionName = "at_once";
  await createSmall(collectionName, 2);
  // Segments are counted below.
  const properties = { "collection.autocompaction.enabled": false };
  await client.alterCollectionProperties({ collectionName, properties });
  await client.insert({ collectionName, data: Array.from({ length: 20 }, (_, id) => rowOf(id, 1)) });
  await client.flush({ collectionName });
  const { collectionID } = await client.describeCollection({ collectionName });
  const keys = [0, 1].map((n) => metaKeys.manifest(`${collectionID}v${n}`));
  await using store = await openMeta();
  const { meta } = store;
  // As an import does: a segment more in every shard.
  const addSegments = async () => {
    const ops = await Promise.all(
      keys.map(async (key): Promise<MetaOp> => {
        const { value, revision } = (await meta.get(key))!;
        const manifest = decodeDoc(key, value) as ManifestDoc;
        const added = { ...manifest.segments[0]!, segmentId: systemRandom.ulid() };
        return {
          op: "put",
          key,
          revision,
          value: encodeDoc(key, { ...manifest, segments: [...manifest.segments, added] }),
        };
      }),
    );
    expect(await meta.commit(ops)).not.toBeNull();
  };
  // It happens when one shard has been flushed, and the other has not.
  let flushes = 0;
  const flushed = new EventEmitter();
  const isFlushed = once(flushed, "flushed");
  const bus = {
    ask: async (...asked: Parameters<Bus["ask"]>) => {
      if (asked[0].subject !== flushShard.subject) return cluster.bus.ask(...asked);
      if (++flushes === 2) {
        await isFlushed;
        for (let n = 0; n < 3; n++) await syncCatalog(cluster);
        await addSegments();
      }
      const reply = await cluster.bus.ask(...asked);
      flushed.emit("flushed");
      return reply;
    },
  } as unknown as Bus;
  const to = newFolder();
  await takeBackup({ ...cluster, bus }, { folder: to, collections: named(collectionName), holder: "test" });
  const { collections } = await readBackup(to);
  const counts = collections[0]!.shards.map(({ segments }) => segments.length);
  expect(new Set(counts).size).toBe(1);
  await client.dropCollection({ collectionName });
});

test("a backup that a compaction has overtaken begins again", async () => {
  await createSmall("compacted", 1);
  await client.insert({ collectionName: "compacted", data: [rowOf(1, 1)] });
  await client.flush({ collectionName: "compacted" });
  const { collectionID } = await client.describeCollection({ collectionName: "compacted" });
  await using store = await openMeta();
  const key = metaKeys.manifest(`${collectionID}v0`);
  /** As a compaction leaves the manifest that left out rows deleted at that time. */
  const purge = async (purgedTs: bigint): Promise<void> => {
    const { value, revision } = (await store.meta.get(key))!;
    const purged = encodeDoc(key, { ...(decodeDoc(key, value) as ManifestDoc), purgedTs });
    if ((await store.meta.commit([{ op: "put", key, value: purged, revision }])) === null) await purge(purgedTs);
  };
  // It ends when the first attempt has its timestamp.
  let firstTs: bigint | undefined;
  const bus = {
    ask: async (...asked: Parameters<Bus["ask"]>) => {
      const reply = await cluster.bus.ask(...asked);
      if (firstTs === undefined && asked[0].subject === allocateTimestamps.subject) {
        firstTs = (reply as { first: bigint }).first;
        await purge(firstTs + 1n);
      }
      return reply;
    },
  } as unknown as Bus;
  const reasons: string[] = [];
  const onRepeat = (reason: string) => reasons.push(reason);
  const options = { folder: newFolder(), collections: named("compacted"), holder: "test", onRepeat };
  const { timestamp } = await takeBackup({ ...cluster, bus }, options);
  expect(reasons).toEqual([expect.stringMatching(/compaction of compacted/)]);
  expect(timestamp).toBeGreaterThan(firstTs! + 1n);
});
