/**
 * What bulk import gains over inserts: the same rows into one node with all roles, first by inserts, then by an import of
 * each format. Files are written beforehand, `--rows` of `--dimension` numbers.
 *
 *   node dist/bench/import.js [--rows 50000] [--dimension 256] [--indexed]
 *
 * Rows per second count from the request to the last row being visible; CPU time is that of the node, the NATS server, and the
 * processes that read files. Without `--indexed` no index is built.
 */

import { once } from "node:events";
import { createWriteStream, mkdirSync } from "node:fs";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  Field,
  FixedSizeList,
  Float32,
  Int64,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from "apache-arrow";
import { VdbClient } from "../client/client.ts";
import { ROLES } from "../runtime/actor.ts";
import { runImport } from "../runtime/commands/import/run-import.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { startTestCluster } from "../runtime/testing/cluster.ts";
import { seededNumbers } from "../runtime/testing/vectors.ts";
import { cpuSeconds } from "./cpu-time.ts";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "50000" },
    dimension: { type: "string", default: "256" },
    indexed: { type: "boolean", default: false },
  },
});
const rowCount = Number(values.rows);
const dimension = Number(values.dimension);

const next = seededNumbers(7);
const vectors = Float32Array.from({ length: rowCount * dimension }, () => next());
const vectorOf = (row: number) => vectors.subarray(row * dimension, (row + 1) * dimension);
const textOf = (row: number) => `row number ${row}`;

async function writeLines(path: string, head: string[], lineOf: (row: number) => string): Promise<void> {
  const stream = createWriteStream(path);
  for (const line of head) stream.write(`${line}\n`);
  for (let row = 0; row < rowCount; row++) {
    if (!stream.write(`${lineOf(row)}\n`)) await once(stream, "drain");
  }
  stream.end();
  await once(stream, "close");
}

async function writeParquet(path: string): Promise<void> {
  // A development dependency: missing if only the program is installed.
  const { parquetWriteBuffer } = await import("hyparquet-writer");
  const list = { converted_type: "LIST", repetition_type: "REQUIRED", num_children: 1 };
  const buffer = parquetWriteBuffer({
    columnData: [
      { name: "id", data: BigInt64Array.from({ length: rowCount }, (_, row) => BigInt(row)) },
      { name: "text", data: Array.from({ length: rowCount }, (_, row) => textOf(row)) },
      { name: "vector", data: Array.from({ length: rowCount }, (_, row) => Array.from(vectorOf(row))) },
    ],
    schema: [
      { name: "root", num_children: 3 },
      { name: "id", type: "INT64", repetition_type: "REQUIRED" },
      { name: "text", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
      { name: "vector", ...list },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      { name: "element", type: "FLOAT", repetition_type: "REQUIRED" },
    ],
    rowGroupSize: 10_000,
  } as never);
  await writeFile(path, new Uint8Array(buffer));
}

async function writeArrow(path: string): Promise<void> {
  const list = new FixedSizeList(dimension, new Field("item", new Float32(), false));
  const fields = [
    new Field("id", new Int64(), false),
    new Field("text", new Utf8(), false),
    new Field("vector", list, false),
  ];
  const schema = new Schema(fields);
  const batches: RecordBatch[] = [];
  for (let start = 0; start < rowCount; start += 10_000) {
    const length = Math.min(10_000, rowCount - start);
    const numbers = makeData({
      type: new Float32(),
      data: vectors.subarray(start * dimension, (start + length) * dimension),
    });
    const ids = BigInt64Array.from({ length }, (_, i) => BigInt(start + i));
    const texts = vectorFromArray(
      Array.from({ length }, (_, i) => textOf(start + i)),
      new Utf8(),
    );
    const children = [
      makeData({ type: new Int64(), data: ids }),
      texts.data[0]!,
      makeData({ type: list, length, nullCount: 0, child: numbers }),
    ];
    batches.push(
      new RecordBatch(schema, makeData({ type: new Struct(fields), length, nullCount: 0, children }) as never),
    );
  }
  await writeFile(path, tableToIPC(new Table(batches), "file"));
}

const folder = await mkdtemp(join(tmpdir(), "vdb-bench-import-"));
const inFolder = join(folder, "in");
mkdirSync(inFolder);
const lineOf = (row: number) => JSON.stringify({ id: row, text: textOf(row), vector: Array.from(vectorOf(row)) });
await writeLines(join(inFolder, "rows.ndjson"), [], lineOf);
await writeLines(
  join(inFolder, "rows.csv"),
  ["id,text,vector"],
  (row) => `${row},${textOf(row)},"[${vectorOf(row).join(",")}]"`,
);
await writeParquet(join(inFolder, "rows.parquet"));
await writeArrow(join(inFolder, "rows.arrow"));

const settings = [`data.importDir=${inFolder}`, ...(values.indexed ? [] : ["coordinator.indexRowsMin=10000000"])];
const cluster = await startTestCluster([ROLES], settings);
const client = await VdbClient.connect({ servers: cluster.nats.url });

async function newCollection(collectionName: string): Promise<void> {
  await client.createCollection({
    collectionName,
    schema: {
      autoID: false,
      enableDynamicField: false,
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "text", dataType: "VarChar", elementTypeParams: { max_length: 100 } },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: dimension } },
      ],
    },
    indexParams: [{ fieldName: "vector", metricType: "L2", indexType: "HNSW" }],
  });
}

async function report(name: string, bytes: number, run: (collectionName: string) => Promise<void>): Promise<void> {
  const collectionName = name.replace(/\W/g, "_");
  await newCollection(collectionName);
  const cpuBefore = cpuSeconds(process.pid);
  const began = performance.now();
  await run(collectionName);
  const seconds = (performance.now() - began) / 1000;
  const cpu = cpuSeconds(process.pid) - cpuBefore;
  const [row] = await client.query({ collectionName, outputFields: ["count(*)"], consistencyLevel: "Strong" });
  const found = Number(row?.["count(*)"]);
  if (found !== rowCount) throw new Error(`${name}: ${found} rows of ${rowCount}`);
  const mib = bytes / 1024 ** 2;
  console.log(
    `${name.padEnd(24)} ${Math.round(rowCount / seconds)
      .toString()
      .padStart(
        8,
      )} rows/s  ${seconds.toFixed(2).padStart(6)} s  ${mib.toFixed(0).padStart(5)} MiB  ${cpu.toFixed(2).padStart(6)} s of CPU`,
  );
  await client.dropCollection({ collectionName });
}

try {
  await report("inserts of vectors", vectors.byteLength, async (collectionName) => {
    const batches = Array.from({ length: Math.ceil(rowCount / 500) }, (_, batch) => batch * 500);
    const workers = Array.from({ length: 4 }, async () => {
      for (let start = batches.shift(); start !== undefined; start = batches.shift()) {
        const first = start;
        const data = Array.from({ length: Math.min(500, rowCount - first) }, (_, i) => ({
          ...{ id: first + i, text: textOf(first + i), vector: vectorOf(first + i) },
        }));
        await client.insert({ collectionName, data });
      }
    });
    await Promise.all(workers);
  });
  const lines = join(inFolder, "rows.ndjson");
  await report("inserts of ndjson", (await stat(lines)).size, async (collection) => {
    await runImport(
      { client, clock: systemClock, random: systemRandom },
      {
        ...{ recordsFile: lines, collection, primaryKey: "id", vectorField: "vector", metric: "L2", index: "HNSW" },
        ...{ indexParams: {}, shards: 1, batchRows: 500, truncate: false, concurrency: 4, flush: false },
        onProgress: () => undefined,
      },
    );
  });
  for (const file of ["rows.ndjson", "rows.csv", "rows.parquet", "rows.arrow"]) {
    await report(`import of ${file}`, (await stat(join(inFolder, file))).size, async (collectionName) => {
      const { jobId } = await client.createImportJob({ collectionName, files: [[file]] });
      for (;;) {
        const { state, reason } = await client.describeImportJob({ jobId });
        if (state === "Failed") throw new Error(reason);
        if (state === "Completed") return;
        await systemClock.sleep(5);
      }
    });
  }
} finally {
  await client.close();
  await cluster[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
}
