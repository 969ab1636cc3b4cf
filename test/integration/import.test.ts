/** Bulk imports under the public API: what each format brings, what a bad file leaves behind, and who may die on the way. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import {
  Field,
  FixedSizeList,
  Float32,
  Float64,
  Int64,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { CreateCollectionOptions, ImportJob } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { openCluster } from "../../runtime/backup/cluster.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-import-"));
  await mkdir(join(folder, "in"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function start(nodes: readonly (readonly Role[])[], settings: string[] = []): Promise<TestCluster> {
  return startTestCluster(nodes, [`data.importDir=${join(folder, "in")}`, "coordinator.indexRowsMin=50", ...settings]);
}

async function put(name: string, content: string | Uint8Array): Promise<void> {
  await writeFile(join(folder, "in", name), content);
}

async function ended(client: VdbClient, jobId: string): Promise<ImportJob> {
  const state = async () => (await client.describeImportJob({ jobId })).state;
  await expect.poll(state, { timeout: 120_000, interval: 200 }).toMatch(/Completed|Failed/);
  return client.describeImportJob({ jobId });
}

async function importFiles(client: VdbClient, collectionName: string, ...files: string[]): Promise<ImportJob> {
  return ended(client, (await client.createImportJob({ collectionName, files: files.map((file) => [file]) })).jobId);
}

async function count(client: VdbClient, collectionName: string): Promise<number> {
  const [row] = await client.query({ collectionName, outputFields: ["count(*)"], consistencyLevel: "Strong" });
  return Number(row!["count(*)"]);
}

interface TestRow {
  id: number;
  text: string | null;
  score: number;
  tags: string[];
  vector: number[];
  extra?: number;
}

const ROWS = Array.from(
  { length: 2500 },
  (_, id): TestRow => ({
    id,
    text: id % 5 === 0 ? null : `text, "${id}" é`,
    score: id / 4,
    tags: Array.from({ length: id % 3 }, (_, n) => `t${n}`),
    vector: [id, id % 7, 0.5, 1 - id],
    ...(id % 2 === 0 ? { extra: id } : {}),
  }),
);

/** The dynamic key as a column of its own. */
const META = ROWS.map(({ extra }) => (extra === undefined ? "{}" : JSON.stringify({ extra })));

function csv(): string {
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const lines = ROWS.map(({ id, text, score, tags, vector }, i) =>
    [id, text === null ? "" : quoted(text), score, quoted(JSON.stringify(tags)), quoted(JSON.stringify(vector))]
      .concat(quoted(META[i]!))
      .join(","),
  );
  return ["id,text,score,tags,vector,$meta", ...lines].join("\n");
}

function parquet(): Uint8Array {
  const list = (name: string, element: object) => [
    { name, converted_type: "LIST", repetition_type: "OPTIONAL", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    { name: "element", repetition_type: "OPTIONAL", ...element },
  ];
  const text = { type: "BYTE_ARRAY", converted_type: "UTF8" };
  return new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        { name: "id", data: ROWS.map(({ id }) => BigInt(id)) },
        { name: "text", data: ROWS.map((row) => row.text) },
        { name: "score", data: ROWS.map(({ score }) => score) },
        { name: "tags", data: ROWS.map(({ tags }) => tags) },
        { name: "vector", data: ROWS.map(({ vector }) => vector) },
        { name: "$meta", data: META },
      ],
      schema: [
        { name: "root", num_children: 6 },
        { name: "id", type: "INT64", repetition_type: "REQUIRED" },
        { name: "text", repetition_type: "OPTIONAL", ...text },
        { name: "score", type: "DOUBLE", repetition_type: "REQUIRED" },
        ...list("tags", text),
        ...list("vector", { type: "FLOAT" }),
        { name: "$meta", repetition_type: "REQUIRED", ...text },
      ],
      rowGroupSize: 1100,
      pageSize: 4096,
    } as never),
  );
}

function arrow(): Uint8Array {
  const vectors = new FixedSizeList(4, new Field("item", new Float32(), false));
  const fields = [
    new Field("id", new Int64(), false),
    new Field("text", new Utf8(), true),
    new Field("score", new Float64(), false),
    new Field("tags", new List(new Field("item", new Utf8(), false)), false),
    new Field("vector", vectors, false),
    new Field("$meta", new Utf8(), false),
  ];
  const schema = new Schema(fields);
  const batches = [ROWS.slice(0, 1000), ROWS.slice(1000)].map((rows, b) => {
    const items = makeData({ type: new Float32(), data: Float32Array.from(rows.flatMap(({ vector }) => vector)) });
    const of = (values: unknown[], field: number) => vectorFromArray(values as never, fields[field]!.type).data[0]!;
    const children = [
      makeData({ type: new Int64(), data: BigInt64Array.from(rows, ({ id }) => BigInt(id)) }),
      of(
        rows.map((row) => row.text),
        1,
      ),
      makeData({ type: new Float64(), data: Float64Array.from(rows, ({ score }) => score) }),
      of(
        rows.map(({ tags }) => tags),
        3,
      ),
      makeData({ type: vectors, length: rows.length, nullCount: 0, child: items }),
      of(META.slice(b * 1000, b * 1000 + rows.length), 5),
    ];
    const struct = makeData({ type: new Struct(fields), length: rows.length, nullCount: 0, children });
    return new RecordBatch(schema, struct as never);
  });
  return tableToIPC(new Table(batches), "file");
}

const COLLECTION: Omit<CreateCollectionOptions, "collectionName"> = {
  schema: {
    enableDynamicField: true,
    fields: [
      { fieldName: "id", dataType: "Int64", isPrimary: true },
      { fieldName: "text", dataType: "VarChar", nullable: true, elementTypeParams: { max_length: 100 } },
      { fieldName: "score", dataType: "Double" },
      {
        ...{ fieldName: "tags", dataType: "Array", elementDataType: "VarChar" },
        elementTypeParams: { max_capacity: 10, max_length: 10 },
      },
      { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 4 } },
    ],
  },
  indexParams: [{ fieldName: "vector", metricType: "L2", indexType: "HNSW" }],
  params: { shardsNum: 2 },
} as Omit<CreateCollectionOptions, "collectionName">;

describe("on one node", () => {
  let cluster: TestCluster;
  let client: VdbClient;
  beforeAll(async () => {
    cluster = await start([ROLES], ["coordinator.garbageIntervalMs=1000", "data.concurrentJobs=2"]);
    client = await VdbClient.connect({ servers: cluster.nats.url });
  });
  afterAll(async () => {
    await client?.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  const json = () => ROWS.map((row) => JSON.stringify(row));
  test.concurrent.each([
    ["wrapped.json.gz", () => gzipSync(`{"rows": [${json().join(",")}]}`)],
    ["rows.csv", csv],
    ["rows.parquet", parquet],
    ["rows.arrow", arrow],
  ])("every row of %s is there as it was written, indexed, and found", async (name, content) => {
    const collectionName = `c_${name.replaceAll(".", "_")}`;
    await client.createCollection({ collectionName, ...COLLECTION });
    await put(name, content());
    const job = await importFiles(client, collectionName, name);
    expect(job).toMatchObject({ state: "Completed", progress: 100, importedRows: ROWS.length });
    expect(job.details).toMatchObject([{ fileName: name, state: "Completed", totalRows: ROWS.length, progress: 100 }]);
    const read = { collectionName, consistencyLevel: "Strong" } as const;
    const rows = await client.query({ ...read, filter: "id >= 0", outputFields: ["*"], limit: 5000 });
    const plain = rows.map((row) => ({ ...row, vector: Array.from(row.vector as Float32Array) }));
    expect(plain).toEqual(ROWS);
    expect(await count(client, collectionName)).toBe(ROWS.length);
    expect(await client.collectionStats({ collectionName })).toEqual({ rowCount: ROWS.length });
    const hits = await client.search({
      ...read,
      data: [[1234, 1234 % 7, 0.5, -1233]],
      limit: 1,
      filter: "extra == 1234",
    });
    expect(hits[0]).toMatchObject([{ id: 1234, distance: 0 }]);
    await client.dropCollection({ collectionName });
  });

  test("a bad row fails the job, which names file and row, and nothing of any file is seen", async () => {
    const collectionName = "bad";
    await client.createCollection({ collectionName, ...COLLECTION });
    await put("good.ndjson", json().join("\n"));
    await put(
      "bad.ndjson",
      ROWS.map((row) => JSON.stringify(row.id === 1777 ? { ...row, score: "x" } : row)).join("\n"),
    );
    const job = await importFiles(client, collectionName, "good.ndjson", "bad.ndjson");
    const reason = expect.stringMatching(/file bad\.ndjson: row 1777: field score: expected Double/);
    expect(job).toMatchObject({ state: "Failed", importedRows: 0, reason });
    expect(job.details[1]).toMatchObject({ fileName: "bad.ndjson", state: "Failed", reason });
    expect(await count(client, collectionName)).toBe(0);
    // The same again, without the bad row: nothing of the first attempt is in the way.
    expect(await importFiles(client, collectionName, "good.ndjson")).toMatchObject({ state: "Completed" });
    expect(await count(client, collectionName)).toBe(ROWS.length);
    expect((await client.listImportJobs({ collectionName })).map(({ state }) => state)).toEqual([
      "Failed",
      "Completed",
    ]);
  });

  test("deletes and upserts hit imported rows when they come after them, and only then", async () => {
    const collectionName = "deletes";
    await client.createCollection({ collectionName, ...COLLECTION });
    await client.insert({ collectionName, data: ROWS.slice(0, 10) as never });
    await client.delete({ collectionName, filter: "id < 20" });
    await put("rows.ndjson", json().join("\n"));
    expect(await importFiles(client, collectionName, "rows.ndjson")).toMatchObject({ state: "Completed" });
    expect(await count(client, collectionName)).toBe(ROWS.length);
    await client.delete({ collectionName, filter: "id in [3, 700]" });
    await client.upsert({ collectionName, data: [{ ...ROWS[5]!, text: "new" }] as never });
    expect(await count(client, collectionName)).toBe(ROWS.length - 2);
    const query = { collectionName, filter: "id in [3, 4, 5, 700]", consistencyLevel: "Strong" } as const;
    const expected = [
      { id: 4, text: ROWS[4]!.text },
      { id: 5, text: "new" },
    ];
    expect(await client.query({ ...query, outputFields: ["text"] })).toEqual(expected);
    // What becomes of them in compaction is the same.
    await client.flush({ collectionName });
    expect(await client.query({ ...query, outputFields: ["text"] })).toEqual(expected);
  });

  test("an upload is read, with generated keys into the partitions of a key, and goes when it has been", async () => {
    const collectionName = "uploaded";
    await client.createCollection({
      collectionName,
      schema: {
        autoID: true,
        enableDynamicField: false,
        fields: [
          { fieldName: "id", dataType: "VarChar", isPrimary: true, elementTypeParams: { max_length: 40 } },
          { fieldName: "tenant", dataType: "VarChar", isPartitionKey: true, elementTypeParams: { max_length: 40 } },
          { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 2 } },
        ],
      },
      indexParams: [{ fieldName: "vector", metricType: "L2", indexType: "FLAT" }],
      params: { shardsNum: 2, partitionsNum: 4 },
    } as CreateCollectionOptions);
    const rows = Array.from({ length: 400 }, (_, i) => ({ tenant: `t${i % 10}`, vector: [i, 1] }));
    await using store = await openCluster({ servers: [cluster.nats.url], name: "test" }, "vdb");
    await store.blobs.put("upload/one/rows.json", [Buffer.from(JSON.stringify(rows))]);
    const file = "upload://one/rows.json";
    expect(await importFiles(client, collectionName, file)).toMatchObject({ state: "Completed", importedRows: 400 });
    const of = { collectionName, filter: 'tenant == "t3"', consistencyLevel: "Strong" } as const;
    const found = await client.query({ ...of, outputFields: ["tenant", "vector"], limit: 100 });
    expect(found).toHaveLength(40);
    expect(new Set(found.map(({ id }) => id)).size).toBe(40);
    expect(await count(client, collectionName)).toBe(400);
    const uploads = async () => (await store.blobs.list()).filter(({ name }) => name.startsWith("upload/")).length;
    await expect.poll(uploads).toBe(0);
  });

  test("the same request sent twice, at once and later, is one job", async () => {
    const collectionName = "once";
    await client.createCollection({ collectionName, dimension: 2, idType: "Int64" });
    await put("once.json", JSON.stringify([{ id: 1, vector: [1, 2] }]));
    const ask = () => client.createImportJob({ collectionName, files: ["once.json"], requestId: "r1" });
    const [first, second] = await Promise.all([ask(), ask()]);
    expect(await ended(client, first.jobId)).toMatchObject({ state: "Completed", importedRows: 1 });
    expect([second, await ask()]).toEqual([first, first]);
    expect(await client.listImportJobs({ collectionName })).toHaveLength(1);
    expect(await count(client, collectionName)).toBe(1);
    const other = await client.createImportJob({ collectionName, files: ["once.json"], requestId: "r2" });
    expect(other.jobId).not.toBe(first.jobId);
    await ended(client, other.jobId);
  });

  test("only files below the folder are read, links followed", async () => {
    await client.createCollection({ collectionName: "paths", ...COLLECTION });
    await writeFile(join(folder, "secret.json"), "[]");
    await symlink(join(folder, "secret.json"), join(folder, "in", "link.json"));
    const outside = /outside of data\.importDir/;
    for (const path of ["link.json", join(folder, "secret.json")]) {
      expect(await importFiles(client, "paths", path)).toMatchObject({
        state: "Failed",
        reason: expect.stringMatching(outside),
      });
    }
    expect(await importFiles(client, "paths", "none.json")).toMatchObject({
      state: "Failed",
      reason: expect.stringContaining("there is no such file"),
    });
  });
});

describe("while nodes go", () => {
  let cluster: TestCluster | undefined;
  let client: VdbClient | undefined;
  afterEach(async () => {
    await client?.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  const FILES = 2;
  const OF_FILE = 3000;

  /** Begins an import of several files, and gives the job once one of them has been read. */
  async function begun(nodes: readonly (readonly Role[])[]): Promise<{ client: VdbClient; jobId: string }> {
    cluster = await start(nodes);
    const connected = await VdbClient.connect({ servers: cluster.nats.url });
    client = connected;
    await connected.createCollection({ collectionName: "c", ...COLLECTION });
    const files = await Promise.all(
      Array.from({ length: FILES }, async (_, f) => {
        const rows = Array.from({ length: OF_FILE }, (_, i) => ({ ...ROWS[i % ROWS.length]!, id: f * OF_FILE + i }));
        await put(`part-${f}.ndjson`, rows.map((row) => JSON.stringify(row)).join("\n"));
        return [`part-${f}.ndjson`];
      }),
    );
    const { jobId } = await connected.createImportJob({ collectionName: "c", files });
    await expect
      .poll(async () => (await connected.describeImportJob({ jobId })).importedRows, {
        timeout: 120_000,
        interval: 100,
      })
      .toBeGreaterThanOrEqual(OF_FILE);
    return { client: connected, jobId };
  }

  async function expectWhole(of: VdbClient, jobId: string): Promise<void> {
    expect(await ended(of, jobId)).toMatchObject({ state: "Completed", importedRows: FILES * OF_FILE });
    expect(await count(of, "c")).toBe(FILES * OF_FILE);
    const ends = {
      collectionName: "c",
      filter: `id in [0, ${FILES * OF_FILE - 1}]`,
      consistencyLevel: "Strong",
    } as const;
    expect(await of.query({ ...ends, outputFields: ["id"] })).toHaveLength(2);
  }

  test("a data node that stops has its files read by another: every row is there once, also after a restart", async () => {
    const others: Role[] = ["proxy", "coordinator", "streaming", "query"];
    const { client: connected, jobId } = await begun([others, ["data"]]);
    const [, data] = cluster!.nodes;
    await cluster!.startNode(["data"]);
    await cluster!.stopNode(data!);
    await expectWhole(connected, jobId);
    await cluster!.stopNode(cluster!.nodes[0]!);
    await cluster!.startNode(others);
    await connected.waitUntilLoaded({ collectionName: "c" });
    await expectWhole(connected, jobId);
  });

  test("the next coordinator goes on with what has been read", async () => {
    const { client: connected, jobId } = await begun([["coordinator"], ["proxy", "streaming", "query"], ["data"]]);
    await cluster!.startNode(["coordinator"]);
    await cluster!.stopNode(cluster!.nodes[0]!);
    await expectWhole(connected, jobId);
  });

  test("what becomes of a collection before its files are read decides the job", async () => {
    cluster = await start([["proxy", "coordinator", "streaming", "query"]]);
    client = await VdbClient.connect({ servers: cluster.nats.url });
    await put("rows.ndjson", ROWS.map((row) => JSON.stringify(row)).join("\n"));
    const files = [["rows.ndjson"]];
    const jobs: Record<string, string> = {};
    for (const collectionName of ["dropped", "parted", "renamed"]) {
      await client.createCollection({ collectionName, ...COLLECTION });
      await client.createPartition({ collectionName, partitionName: "p" });
      const partitionName = collectionName === "parted" ? { partitionName: "p" } : {};
      jobs[collectionName] = (await client.createImportJob({ collectionName, files, ...partitionName })).jobId;
    }
    await client.dropCollection({ collectionName: "dropped" });
    await client.releasePartitions({ collectionName: "parted", partitionNames: ["p"] });
    await client.dropPartition({ collectionName: "parted", partitionName: "p" });
    await client.renameCollection({ collectionName: "renamed", newCollectionName: "other" });
    await cluster.startNode(["data"]);
    expect(await ended(client, jobs.dropped!)).toMatchObject({
      state: "Failed",
      reason: expect.stringContaining("collection has been dropped"),
    });
    expect(await ended(client, jobs.parted!)).toMatchObject({
      state: "Failed",
      reason: expect.stringContaining("partition has been dropped"),
    });
    expect(await ended(client, jobs.renamed!)).toMatchObject({ state: "Completed" });
    expect(await count(client, "other")).toBe(ROWS.length);
    expect(await count(client, "parted")).toBe(0);
  });
});
