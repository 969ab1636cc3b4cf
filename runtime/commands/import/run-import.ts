/**
 * Imports files into a collection, which is created when it is absent, by batches, several in flight.
 *
 * Memory holds the batches in flight and nothing else. A batch is sent again under its own request id until it is
 * stored, so an import that ends well has stored every row once; one that fails has stored some of its batches.
 */
import { statSync } from "node:fs";
import type { VdbClient } from "../../../client/client.ts";
import type { CollectionDescription, IndexParams, IndexTypeName, Metric } from "../../../client/types.ts";
import type { Clock } from "../../clock.ts";
import { asVdbError, VdbError } from "../../errors.ts";
import type { Random } from "../../random.ts";
import { inferFields } from "./infer-schema.ts";
import { countLines, type ImportRecord, type RecordReader, readRecords } from "./read-records.ts";
import { countBytes, readVectors, type VectorReader } from "./read-vectors.ts";

export interface ImportOptions {
  recordsFile: string;
  vectorsFile?: string | undefined;
  collection: string;
  primaryKey: string;
  vectorField: string;
  /** Of the vectors' file; known from the collection, or else from the sizes of the two files, when not given. */
  dimension?: number | undefined;
  metric: Metric;
  index: IndexTypeName;
  indexParams: Record<string, string | number | boolean>;
  shards: number;
  batchRows: number;
  /** Cuts strings at the field's max_length, where the cluster would refuse the row. */
  truncate: boolean;
  /** Rows at most. */
  limit?: number | undefined;
  /** Batches in flight. */
  concurrency: number;
  flush: boolean;
  onProgress: (rows: number, fraction: number) => void;
}

export interface ImportResult {
  rows: number;
  /** From the first batch's start to the last one's acknowledgement. */
  seconds: number;
  flushSeconds: number | null;
  /** Strings that were cut. */
  truncated: number;
}

export interface ImportTools {
  client: VdbClient;
  clock: Clock;
  random: Random;
}

/** Records that the schema is inferred from. */
const SAMPLE_RECORDS = 1_000;

/** A batch waits for a streaming node's successor, or for a log that is full until a flush. */
const INSERT_TIMEOUT_MS = 120_000;
const FLUSH_TIMEOUT_MS = 600_000;

/** @throws VdbError of the cluster; Error that names file and line for what is wrong with the files */
export async function runImport(tools: ImportTools, options: ImportOptions): Promise<ImportResult> {
  const { client, clock } = tools;
  const { collection: collectionName } = options;
  const records = readRecords(options.recordsFile);
  let vectors: VectorReader | undefined;
  try {
    const limit = options.limit ?? Number.POSITIVE_INFINITY;
    const sample = await records.take(Math.min(SAMPLE_RECORDS, limit));
    if (sample.length === 0) throw new Error(`${options.recordsFile} has no records`);
    await prepareCollection(client, options, sample);
    const { fields } = await client.describeCollection({ collectionName });
    const dimension = dimensionIn(fields, options);
    if (options.vectorsFile !== undefined) vectors = readVectors(options.vectorsFile, dimension);
    const cutter = options.truncate ? new StringCutter(fields) : undefined;

    const startedMs = clock.monotonic();
    const rows = await insertAll(tools, options, { records, vectors, sample, limit, cutter });
    const seconds = (clock.monotonic() - startedMs) / 1000;
    if (vectors !== undefined && rows < limit && !(await vectors.isAtEnd())) {
      throw new Error(`${options.vectorsFile} has more vectors than ${options.recordsFile} has lines (${rows})`);
    }
    const flushSeconds = options.flush ? await flush(client, collectionName, clock) : null;
    return { rows, seconds, flushSeconds, truncated: cutter?.count ?? 0 };
  } finally {
    records.close();
    vectors?.close();
  }
}

async function flush(client: VdbClient, collectionName: string, clock: Clock): Promise<number> {
  const startedMs = clock.monotonic();
  await client.flush({ collectionName, timeoutMs: FLUSH_TIMEOUT_MS });
  return (clock.monotonic() - startedMs) / 1000;
}

/** Makes sure that the collection is there, indexed, and loaded or about to be. */
async function prepareCollection(client: VdbClient, options: ImportOptions, sample: ImportRecord[]): Promise<void> {
  const { collection: collectionName, vectorField, vectorsFile } = options;
  if (await client.hasCollection({ collectionName })) {
    const { indexes } = await client.describeCollection({ collectionName });
    if (!indexes.some(({ fieldName }) => fieldName === vectorField)) {
      await client.createIndex({ collectionName, indexParams: [indexOf(options)] });
    }
    await client.loadCollection({ collectionName, wait: false });
    return;
  }
  const dimension = vectorsFile === undefined ? undefined : await dimensionOf(options, vectorsFile);
  const fields = inferFields(sample, { primaryKey: options.primaryKey, vectorField, dimension });
  await client.createCollection({
    collectionName,
    schema: { autoID: false, enableDynamicField: true, fields },
    indexParams: [indexOf(options)],
    params: { shardsNum: options.shards },
  });
}

type Fields = CollectionDescription["fields"];

function dimensionIn(fields: Fields, options: ImportOptions): number {
  const { collection, vectorField } = options;
  const vectors = fields.filter(({ type }) => type === "FloatVector");
  const field = vectors.find(({ name }) => name === vectorField);
  if (field === undefined) {
    const known = vectors.map(({ name }) => name).join(", ");
    throw new Error(`the collection has no vector field ${vectorField}: choose with --vector-field from ${known}`);
  }
  const dimension = typeParam(field, "dim");
  if (options.dimension === undefined || options.dimension === dimension) return dimension;
  throw new Error(`--dimension is ${options.dimension}, but ${collection}.${vectorField} has ${dimension}`);
}

function typeParam(field: Fields[number], name: string): number {
  return Number(field.params.find(({ key }) => key === name)?.value);
}

function indexOf(options: ImportOptions): IndexParams {
  const { vectorField: fieldName, metric: metricType, index: indexType, indexParams: params } = options;
  return { fieldName, metricType, indexType, params };
}

async function dimensionOf(options: ImportOptions, vectorsFile: string): Promise<number> {
  if (options.dimension !== undefined) return options.dimension;
  const [lines, bytes] = await Promise.all([
    countLines(options.recordsFile),
    vectorsFile.endsWith(".gz") ? countBytes(vectorsFile) : statSync(vectorsFile).size,
  ]);
  const dimension = bytes / lines / Float32Array.BYTES_PER_ELEMENT;
  if (Number.isInteger(dimension) && dimension > 0) return dimension;
  throw new Error(
    `${vectorsFile} has ${bytes} bytes, which is no whole number of float32 values for each of the ${lines} lines of ` +
      `${options.recordsFile}: give the number of values with --dimension`,
  );
}

interface Sources {
  records: RecordReader;
  vectors: VectorReader | undefined;
  /** Records that have been read already. */
  sample: ImportRecord[];
  limit: number;
  cutter: StringCutter | undefined;
}

/** Cuts what is too long for its VarChar field, at a character's end. */
class StringCutter {
  count = 0;
  readonly #fields: { name: string; bytesMax: number }[];

  constructor(fields: Fields) {
    const texts = fields.filter(({ type, primaryKey }) => type === "VarChar" && !primaryKey);
    this.#fields = texts.map((field) => ({ name: field.name, bytesMax: typeParam(field, "max_length") }));
  }

  cut(record: ImportRecord): void {
    for (const { name, bytesMax } of this.#fields) {
      const value = record[name];
      if (typeof value !== "string" || Buffer.byteLength(value) <= bytesMax) continue;
      const bytes = Buffer.from(value);
      let end = bytesMax;
      while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--;
      record[name] = bytes.toString("utf8", 0, end);
      this.count++;
    }
  }
}

async function insertAll(tools: ImportTools, options: ImportOptions, sources: Sources): Promise<number> {
  const { batchRows, concurrency } = options;
  const { records, sample, limit } = sources;
  const runId = tools.random.ulid();
  const inFlight = new Set<Promise<void>>();
  const outcome = { stored: 0, failure: undefined as Error | undefined };
  for (let read = 0; read < limit && outcome.failure === undefined; ) {
    const count = Math.min(batchRows, limit - read);
    const rows = sample.splice(0, count);
    if (rows.length < count) rows.push(...(await records.take(count - rows.length)));
    if (rows.length === 0) break;
    await addVectors(rows, options.vectorField, sources.vectors);
    if (sources.cutter !== undefined) for (const row of rows) sources.cutter.cut(row);
    const sending = insertBatch(tools.client, options.collection, {
      rows,
      firstLine: read + 1,
      requestId: `${runId}-${read}`,
    })
      .then(
        () => {
          outcome.stored += rows.length;
          options.onProgress(outcome.stored, Number.isFinite(limit) ? outcome.stored / limit : records.fraction());
        },
        (error: Error) => {
          outcome.failure ??= error;
        },
      )
      .finally(() => inFlight.delete(sending));
    inFlight.add(sending);
    read += rows.length;
    if (inFlight.size >= concurrency) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  if (outcome.failure !== undefined) throw outcome.failure;
  return outcome.stored;
}

async function addVectors(rows: ImportRecord[], name: string, vectors: VectorReader | undefined): Promise<void> {
  if (vectors === undefined) return;
  const values = await vectors.take(rows.length);
  const dimension = values.length / rows.length;
  rows.forEach((row, i) => {
    row[name] = values.subarray(i * dimension, (i + 1) * dimension);
  });
}

interface Batch {
  rows: ImportRecord[];
  firstLine: number;
  requestId: string;
}

async function insertBatch(client: VdbClient, collectionName: string, batch: Batch): Promise<void> {
  const { rows: data, firstLine, requestId } = batch;
  try {
    await client.insert({ collectionName, data, requestId, timeoutMs: INSERT_TIMEOUT_MS });
  } catch (error) {
    const known = asVdbError(error);
    const row = known.details?.row;
    const isOneLine = typeof row === "number";
    const lines = isOneLine ? `line ${firstLine + row}` : `lines ${firstLine} to ${firstLine + data.length - 1}`;
    // The cluster counts the rows of a request, which mean nothing to who wrote the file.
    const message = isOneLine ? known.message.replace(`row ${row}: `, "") : known.message;
    const advice = message.includes("exceeds max length") ? "; --truncate cuts such strings" : "";
    throw new VdbError(known.kind, `${lines}: ${message}${advice}`, { cause: error });
  }
}
