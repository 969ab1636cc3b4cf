/** Vectors that some rows do not have, through the life of a row: imported, growing, sealed, indexed, compacted, restored. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Field, FixedSizeList, Float32, Int64, Table, tableToIPC, vectorFromArray } from "apache-arrow";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { FieldDefinition } from "../../client/types.ts";
import { ROLES } from "../../runtime/actor.ts";
import { openCluster } from "../../runtime/backup/cluster.ts";
import { restoreBackup } from "../../runtime/backup/restore-backup.ts";
import { takeBackup } from "../../runtime/backup/take-backup.ts";
import * as api from "../../runtime/protocol/public.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "sometimes";
const FIELDS: FieldDefinition[] = [
  { fieldName: "id", dataType: "Int64", isPrimary: true },
  { fieldName: "vec", dataType: "FloatVector", nullable: true, elementTypeParams: { dim: 2 } },
  { fieldName: "codes", dataType: "Int8Vector", nullable: true, elementTypeParams: { dim: 2 } },
];
const INDEXES = [
  { fieldName: "vec", metricType: "L2" as const, indexType: "HNSW" as const, params: { M: 16, efConstruction: 100 } },
  { fieldName: "codes", metricType: "IP" as const, indexType: "AUTOINDEX" as const },
];

type TestRow = {
  id: number;
  vec: number[] | null;
  codes: number[] | null;
};

/** Ids of one stretch after the other; a third has no vector. */
function rowsFrom(first: number, count: number): TestRow[] {
  return Array.from({ length: count }, (_, i) => {
    const id = first + i;
    return { id, vec: id % 3 === 0 ? null : [id, 1], codes: id % 2 === 0 ? null : [id % 100, 1] };
  });
}

let folder: string;
let cluster: TestCluster;
let client: VdbClient;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-null-vectors-"));
});
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Exactly these rows are there, and a search finds the nearest of those that have a vector. */
async function check(collectionName: string, rows: readonly TestRow[]): Promise<void> {
  const read = { collectionName, consistencyLevel: "Strong" } as const;
  const found = await client.query({ ...read, outputFields: ["vec", "codes"], limit: 16_384 });
  const list = (bytes: unknown) => (bytes === null ? null : [...(bytes as Uint8Array)]);
  expect(found.map(({ id, vec, codes }) => ({ id, vec: list(vec), codes: list(codes) }))).toEqual(rows);
  const withVector = rows.filter(({ vec }) => vec !== null);
  for (const at of [0, 333, 600.2, 5_000]) {
    for (const filter of ["", "id > 300", "id in [3, 6, 400, 403]"]) {
      const kept = withVector.filter(({ id }) =>
        filter === "" ? true : filter === "id > 300" ? id > 300 : [3, 6, 400, 403].includes(id),
      );
      const expected = kept.map(({ vec }) => Math.fround((vec![0]! - at) ** 2)).sort((a, b) => a - b);
      const [hits] = await client.search({ ...read, annsField: "vec", data: [[at, 1]], filter, limit: 10 });
      expect(hits!.length).toBe(Math.min(10, kept.length));
      hits!.forEach(({ distance }, i) => {
        expect(distance).toBeCloseTo(expected[i]!, 0);
      });
    }
  }
  const iterated: number[] = [];
  const all = client.searchIterator({ ...read, annsField: "vec", data: [0, 1], batchSize: 300 });
  for await (const batch of all) iterated.push(...batch.map(({ id }) => Number(id)));
  expect(iterated).toEqual(withVector.map(({ id }) => id));
  const [best] = await client.search({ ...read, annsField: "codes", data: Int8Array.of(1, 0) as never, limit: 5 });
  const products = rows.flatMap(({ codes }) => (codes === null ? [] : [codes[0]!])).sort((a, b) => b - a);
  expect(best!.map(({ distance }) => distance)).toEqual(products.slice(0, 5));
}

function ndjson(rows: readonly TestRow[]): string {
  // A field that is left out is null as well.
  return rows.map(({ id, vec, codes }) => JSON.stringify({ id, ...(vec && { vec }), codes })).join("\n");
}

function csv(rows: readonly TestRow[]): string {
  const cell = (value: number[] | null) => (value === null ? "" : `"${JSON.stringify(value)}"`);
  return ["id,vec,codes", ...rows.map(({ id, vec, codes }) => `${id},${cell(vec)},${cell(codes)}`)].join("\n");
}

function parquet(rows: readonly TestRow[]): Uint8Array {
  const list = (name: string, type: string) => [
    { name, converted_type: "LIST", repetition_type: "OPTIONAL", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", repetition_type: "OPTIONAL", type },
  ];
  const columnData = [
    { name: "id", data: rows.map(({ id }) => BigInt(id)) },
    { name: "vec", data: rows.map(({ vec }) => vec) },
    { name: "codes", data: rows.map(({ codes }) => codes) },
  ];
  const id = { name: "id", type: "INT64", repetition_type: "REQUIRED" };
  const schema = [{ name: "root", num_children: 3 }, id, ...list("vec", "FLOAT"), ...list("codes", "INT32")];
  return new Uint8Array(parquetWriteBuffer({ columnData, schema } as never));
}

function arrow(rows: readonly TestRow[]): Uint8Array {
  const lists = new FixedSizeList(2, new Field("item", new Float32(), false));
  const table = new Table({
    id: vectorFromArray(
      rows.map(({ id }) => BigInt(id)),
      new Int64(),
    ),
    vec: vectorFromArray(rows.map(({ vec }) => vec) as never, lists),
    codes: vectorFromArray(rows.map(({ codes }) => codes) as never, lists),
  });
  return tableToIPC(table, "file");
}

test("rows without a vector stay so and are not found, however they come and are kept", async () => {
  const settings = ["coordinator.indexRowsMin=50", `data.importDir=${folder}`];
  cluster = await startTestCluster([ROLES], settings);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: COLLECTION,
    schema: { fields: FIELDS },
    indexParams: INDEXES,
    properties: { "collection.autocompaction.enabled": false },
  });

  const files = { "a.json": ndjson, "b.csv": csv, "c.parquet": parquet, "d.arrow": arrow };
  for (const [i, [name, write]] of Object.entries(files).entries()) {
    await writeFile(join(folder, name), write(rowsFrom(i * 100, 100)));
  }
  const names = Object.keys(files).map((name) => [name]);
  const { jobId } = await client.createImportJob({ collectionName: COLLECTION, files: names });
  const state = async () => (await client.describeImportJob({ jobId })).state;
  await expect.poll(state, { interval: 100 }).toMatch(/Completed|Failed/);
  expect(await client.describeImportJob({ jobId })).toMatchObject({ state: "Completed" });
  const rows = rowsFrom(0, 400);
  await check(COLLECTION, rows);

  // Growing rows; some of them as columns, of which the vectors are those of the rows that have one.
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(400, 500) });
  const more = rowsFrom(900, 60);
  const flags = (name: "vec" | "codes") => Uint8Array.from(more, (row) => Number(row[name] !== null));
  const columns = [
    { name: "id", column: { kind: "int64", values: BigInt64Array.from(more, ({ id }) => BigInt(id)) } },
    {
      name: "vec",
      column: { kind: "floatVector", dimension: 2, values: Float32Array.from(more.flatMap(({ vec }) => vec ?? [])) },
      valid: flags("vec"),
    },
    {
      name: "codes",
      column: { kind: "int8Vector", dimension: 2, values: Uint8Array.from(more.flatMap(({ codes }) => codes ?? [])) },
      valid: flags("codes"),
    },
  ];
  const { bus } = cluster.nodes[0]!;
  expect(await bus.ask(api.insertEntities, {}, { collectionName: COLLECTION, columns })).toMatchObject({ code: 0 });
  rows.push(...rowsFrom(400, 500), ...more);
  await check(COLLECTION, rows);

  // Of a reply's columns, as they are.
  const reply = await bus.ask(
    api.queryEntities,
    {},
    {
      ...{ collectionName: COLLECTION, filter: "id < 2", outputFields: ["*"], resultFormat: "columns" },
    },
  );
  const { columns: shown } = reply.data as unknown as { columns: object[] };
  const again = { collectionName: COLLECTION, columns: shown };
  expect(await bus.ask(api.upsertEntities, {}, again)).toMatchObject({ code: 0, data: { upsertCount: 2 } });
  await check(COLLECTION, rows);

  await cluster.stopNode(cluster.nodes[0]!);
  await cluster.startNode(ROLES);
  await check(COLLECTION, rows);

  await client.flush({ collectionName: COLLECTION });
  await client.delete({ collectionName: COLLECTION, filter: "id in [1, 2, 3, 601]" });
  const left = rows.filter(({ id }) => ![1, 2, 3, 601].includes(id));
  const indexed = async () =>
    (await client.describeIndex({ collectionName: COLLECTION, indexName: "vec" })).pendingRows;
  await expect.poll(indexed).toBeLessThan(60);
  await check(COLLECTION, left);
  await client.compact({ collectionName: COLLECTION });
  await check(COLLECTION, left);

  await using backups = await openCluster({ servers: cluster.nats.url, name: "vdb-test" }, "vdb");
  const to = join(folder, "backup");
  const name = { database: "default", name: COLLECTION };
  await takeBackup(backups, { folder: to, collections: [name], holder: "test" });
  const renames = [{ from: name, to: { database: "default", name: "restored" } }];
  await restoreBackup(backups, { folder: to, holder: "test", renames });
  await client.waitUntilLoaded({ collectionName: "restored" });
  await check("restored", left);
});
