/** A query node that serves more than its memory: the surplus is read from its disk cache, and every answer is right. */
import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { loadNativeAddon } from "../../runtime/ann/native-addon.ts";
import type { VdbNode } from "../../runtime/node.ts";
import { seeded } from "../../runtime/sim/seeded.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const DIMENSION = 64;
const SEGMENT_ROWS = 400;
/** Too few for an index. */
const SMALL_ROWS = 100;
/** Two segments with their indexes fit, six do not; keys and scalars of all do. */
const MEMORY_BYTES = 360_000;
const K = 10;
/** Where the system tells what is mapped. */
const MAPS = "/proc/self/maps";
const SETTLE = { interval: 100 };

const random = seeded(7, "mapped");
let cluster: TestCluster;
let node: VdbNode;
let client: VdbClient;

interface TestRow extends Record<string, unknown> {
  id: number;
  n: number;
  vector: number[];
}

beforeAll(async () => {
  cluster = await startTestCluster(
    [["coordinator", "streaming", "data", "proxy"]],
    ["coordinator.indexRowsMin=200", `query.memoryBytes=${MEMORY_BYTES}`],
  );
  node = await cluster.startNode(["query"]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
});
afterAll(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** Sealed segments of so many rows, each with its index where it gets one; loaded. */
async function createLoaded(name: string, segments: readonly number[], properties = {}): Promise<TestRow[]> {
  await client.createCollection({
    collectionName: name,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "n", dataType: "Int64" },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
      ],
    },
    properties: { "collection.autocompaction.enabled": false, ...properties },
  });
  await client.createIndex({
    collectionName: name,
    indexParams: [{ fieldName: "vector", indexType: "HNSW", metricType: "L2", params: { M: 16, efConstruction: 100 } }],
  });
  const rows: TestRow[] = [];
  for (const count of segments) {
    const data = Array.from({ length: count }, (_, i) => ({
      id: rows.length + i,
      n: random.int(10),
      vector: Array.from({ length: DIMENSION }, () => Math.fround(random.next())),
    }));
    rows.push(...data);
    await client.insert({ collectionName: name, data });
    await client.flush({ collectionName: name });
  }
  const before = Number(observed().segments);
  await client.loadCollection({ collectionName: name });
  await expect
    .poll(() => client.describeIndex({ collectionName: name, indexName: "vector" }), SETTLE)
    .toMatchObject({ pendingRows: 0 });
  await expect.poll(() => observed().segments, SETTLE).toBe(before + segments.length);
  return rows;
}

const observed = () => node.observe().query as Record<string, unknown>;
const memoryBytes = () => Number(observed().memoryBytes);
const mappedBytes = () => Number(observed().mappedBytes);
const indexesOf = (engine: "engine" | "mappedEngine") => Number((observed()[engine] as { indexes: number }).indexes);

/** This process's mappings of files in the node's cache, removed ones too. */
function mappedFiles(): string[] {
  if (!existsSync(MAPS)) return [];
  return readFileSync(MAPS, "utf8")
    .split("\n")
    .filter((line) => line.includes(`${cluster.nats.dataDir}/node-`));
}

/** The keys of the nearest rows, by looking at every one. */
function nearest(rows: readonly TestRow[], query: readonly number[]): number[] {
  const distance = ({ vector }: TestRow) => vector.reduce((sum, x, i) => sum + (x - query[i]!) ** 2, 0);
  return rows
    .map((row) => ({ id: row.id, distance: distance(row) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, K)
    .map(({ id }) => id);
}

async function expectRightAnswers(name: string, rows: readonly TestRow[]): Promise<void> {
  const read = { collectionName: name, consistencyLevel: "Strong" } as const;
  for (const filter of ["", "n < 5", "n == 3"]) {
    const matches = rows.filter(({ n }) => filter === "" || (filter === "n < 5" ? n < 5 : n === 3));
    const query = Array.from({ length: DIMENSION }, () => random.next());
    const [hits = []] = await client.search({
      ...{ ...read, filter, data: [query], limit: K, outputFields: ["vector"] },
      // As many as a segment has rows: the walk misses none.
      searchParams: { params: { ef: SEGMENT_ROWS } },
    });
    expect(hits.map(({ id }) => id)).toEqual(nearest(matches, query));
    for (const { id, vector } of hits) expect(Array.from(vector as Float32Array)).toEqual(rows[id as number]!.vector);
  }
  const some = await client.query({ ...read, filter: "n == 4", outputFields: ["vector"], limit: 1000 });
  expect(some).toHaveLength(rows.filter(({ n }) => n === 4).length);
  for (const { id, vector } of some) expect(Array.from(vector as Float32Array)).toEqual(rows[id as number]!.vector);
}

describe.skipIf(loadNativeAddon() instanceof Error)("a query node with little memory", () => {
  test("serves more than it has memory for, and copies again what was mapped when memory is given back", async () => {
    const first = await createLoaded("first", [SEGMENT_ROWS, SEGMENT_ROWS]);
    await expect.poll(() => indexesOf("engine"), SETTLE).toBe(2);
    await expectRightAnswers("first", first);
    expect(memoryBytes()).toBeGreaterThan(MEMORY_BYTES / 2);

    const second = await createLoaded("second", [SEGMENT_ROWS, SEGMENT_ROWS, SMALL_ROWS, SEGMENT_ROWS, SEGMENT_ROWS]);
    await expect.poll(() => indexesOf("engine") + indexesOf("mappedEngine"), SETTLE).toBe(6);
    expect(indexesOf("mappedEngine")).toBeGreaterThanOrEqual(4);
    expect(memoryBytes()).toBeLessThanOrEqual(MEMORY_BYTES);
    expect(memoryBytes() + mappedBytes()).toBeGreaterThan(2 * MEMORY_BYTES);
    if (existsSync(MAPS)) expect(mappedFiles().length).toBeGreaterThanOrEqual(6);
    await expectRightAnswers("second", second);
    await expectRightAnswers("first", first);

    const before = indexesOf("mappedEngine");
    await client.delete({ collectionName: "second", filter: "id < 20" });
    await client.releaseCollection({ collectionName: "first" });
    const moved = () => {
      const [copied, mapped] = [indexesOf("engine"), indexesOf("mappedEngine")];
      return { indexes: copied + mapped, isCopied: copied > 0 && mapped < before - 1 };
    };
    await expect.poll(moved, SETTLE).toEqual({ indexes: 4, isCopied: true });
    expect(memoryBytes()).toBeLessThanOrEqual(MEMORY_BYTES);
    const left = second.map((row) => (row.id < 20 ? { ...row, n: -1, vector: row.vector.map(() => 1e9) } : row));
    const [hits = []] = await client.search({
      ...{ collectionName: "second", consistencyLevel: "Strong", data: [second[0]!.vector], limit: K },
      searchParams: { params: { ef: SEGMENT_ROWS } },
    });
    expect(hits.map(({ id }) => id)).toEqual(nearest(left, second[0]!.vector));

    await client.releaseCollection({ collectionName: "second" });
    await expect.poll(() => [memoryBytes(), mappedBytes(), observed().segments], SETTLE).toEqual([0, 0, 0]);
    // Not when they are collected, which may be much later: at once.
    expect(mappedFiles()).toEqual([]);
  });

  test("maps all of a collection that asks for it, though there is room", async () => {
    const rows = await createLoaded("asks", [SEGMENT_ROWS, SMALL_ROWS], { "mmap.enabled": true });
    await expect.poll(() => indexesOf("mappedEngine"), SETTLE).toBe(1);
    await expectRightAnswers("asks", rows);
    expect(indexesOf("engine")).toBe(0);
    expect(memoryBytes()).toBeLessThan((SEGMENT_ROWS + SMALL_ROWS) * 4 * DIMENSION);
  });

  test("copies or maps a collection anew when it is loaded after its mmap.enabled was altered", async () => {
    const segments = Number(observed().segments);
    const rows = await createLoaded("altered", [SEGMENT_ROWS, SMALL_ROWS], { "mmap.enabled": false });
    await expect.poll(() => indexesOf("engine"), SETTLE).toBe(1);
    const [copied, mapped] = [memoryBytes(), indexesOf("mappedEngine")];
    const loadAltered = async (isMapped: boolean) => {
      await client.releaseCollection({ collectionName: "altered" });
      await client.alterCollectionProperties({
        collectionName: "altered",
        properties: { "mmap.enabled": isMapped },
      });
      await client.loadCollection({ collectionName: "altered" });
    };
    await loadAltered(true);
    const served = () => [indexesOf("engine"), indexesOf("mappedEngine"), observed().segments];
    await expect.poll(served, SETTLE).toEqual([0, mapped + 1, segments + 2]);
    expect(memoryBytes()).toBeLessThan(copied - (SEGMENT_ROWS + SMALL_ROWS) * 4 * DIMENSION);
    await expectRightAnswers("altered", rows);
    await loadAltered(false);
    await expect.poll(served, SETTLE).toEqual([1, mapped, segments + 2]);
    await expect.poll(memoryBytes, SETTLE).toBe(copied);
    await expectRightAnswers("altered", rows);
    await client.dropCollection({ collectionName: "altered" });
    await expect.poll(() => observed().segments, SETTLE).toBe(segments);
  });

  test("makes room for rows without vectors, of whose file nothing can stay mapped", async () => {
    const dimension = 512;
    const create = (collectionName: string) =>
      client.createCollection({
        collectionName,
        schema: {
          fields: [
            { fieldName: "id", dataType: "Int64", isPrimary: true },
            { fieldName: "text", dataType: "VarChar", elementTypeParams: { max_length: 2000 } },
            { fieldName: "vector", dataType: "FloatVector", nullable: true, elementTypeParams: { dim: dimension } },
          ],
        },
        indexParams: [{ fieldName: "vector", indexType: "FLAT", metricType: "L2" }],
      });
    const insert = async (collectionName: string, row: Record<string, unknown>) => {
      await client.insert({ collectionName, data: Array.from({ length: SMALL_ROWS }, (_, id) => ({ id, ...row })) });
      await client.flush({ collectionName });
    };
    const segments = Number(observed().segments);
    const mapped = mappedBytes();
    await create("vectors");
    await insert("vectors", { text: "", vector: new Array(dimension).fill(0.5) });
    await expect.poll(memoryBytes, SETTLE).toBeGreaterThan(SMALL_ROWS * 4 * dimension);
    await create("texts");
    await insert("texts", { text: "x".repeat(2000), vector: null });
    await expect.poll(() => observed().segments, SETTLE).toBe(segments + 2);
    await expect.poll(mappedBytes, SETTLE).toBe(mapped + SMALL_ROWS * 4 * dimension);
    expect(memoryBytes()).toBeGreaterThan(SMALL_ROWS * 2000);
    expect(memoryBytes()).toBeLessThanOrEqual(MEMORY_BYTES);
  });
});
