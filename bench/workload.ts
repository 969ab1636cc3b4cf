/** The workload of a benchmark through a database's client: load, wait for the index, search. Times in seconds and ms. */
import type { VdbClient } from "../client/client.ts";
import type { CreateCollectionOptions, SearchOptions } from "../client/types.ts";
import { type Dataset, DIMENSION, FILTERS, readTruth, recallAt } from "./dataset.ts";

const COLLECTION = "packages";
const K = 10;
/** Search effort at which recall@10 is above 0.95 on this data. */
const EF = 64;

const BATCH_ROWS = 1000;
/** Inserts under way at once: group commit gathers them. */
const WRITERS = 4;

export interface LoadResult {
  rows: number;
  insertSeconds: number;
  insertRowsPerSecond: number;
  /** From the answer to the last insert until every row is in an index that is searched. */
  indexedSeconds: number;
}

export interface SearchResult {
  clients: number;
  filter: string;
  qps: number;
  p50Ms: number;
  p99Ms: number;
  recallAt10: number;
}

const SCHEMA: CreateCollectionOptions = {
  collectionName: COLLECTION,
  schema: {
    fields: [
      { fieldName: "id", dataType: "Int64", isPrimary: true },
      { fieldName: "name", dataType: "VarChar", elementTypeParams: { max_length: 512 } },
      { fieldName: "section", dataType: "VarChar", elementTypeParams: { max_length: 64 } },
      { fieldName: "priority", dataType: "VarChar", elementTypeParams: { max_length: 64 } },
      { fieldName: "installed_kb", dataType: "Int64" },
      { fieldName: "size", dataType: "Int64" },
      { fieldName: "essential", dataType: "Bool" },
      { fieldName: "title", dataType: "VarChar", elementTypeParams: { max_length: 65_535 } },
      {
        fieldName: "tags",
        dataType: "Array",
        elementDataType: "VarChar",
        elementTypeParams: { max_capacity: 4096, max_length: 512 },
      },
      { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
    ],
  },
  indexParams: [
    { fieldName: "vector", indexType: "HNSW", metricType: "COSINE", params: { M: 16, efConstruction: 200 } },
  ],
};

export async function load(client: VdbClient, { rows }: Dataset): Promise<LoadResult> {
  await client.createCollection(SCHEMA);
  const started = performance.now();
  let next = 0;
  const writer = async () => {
    while (next < rows.length) {
      const data = rows.slice(next, next + BATCH_ROWS);
      next += BATCH_ROWS;
      await client.insert({ collectionName: COLLECTION, data });
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  const inserted = performance.now();
  await client.flush({ collectionName: COLLECTION });
  await untilIndexed(client, rows.length);
  const insertSeconds = (inserted - started) / 1000;
  return {
    rows: rows.length,
    insertSeconds,
    insertRowsPerSecond: rows.length / insertSeconds,
    indexedSeconds: (performance.now() - inserted) / 1000,
  };
}

/** Waits until the collection's rows, all flushed, are searched through the index of its field `vector`. */
export async function untilIndexed(client: VdbClient, rows: number, collectionName = COLLECTION): Promise<void> {
  for (;;) {
    const index = await client.describeIndex({ collectionName, indexName: "vector" });
    if (index.indexedRows === rows && index.pendingRows === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  await client.waitUntilLoaded({ collectionName });
  // "Loaded" means that the segment is served; the query node opens the finished index a moment later.
  await new Promise((resolve) => setTimeout(resolve, 1500));
}

/** Searches at 1 and 8 clients, then under each filter at 8. */
export async function search(client: VdbClient, dataset: Dataset, seconds: number): Promise<SearchResult[]> {
  const results: SearchResult[] = [];
  const truth = await readTruth();
  await measure(client, dataset, { clients: 8, seconds: Math.min(2, seconds), truth });
  for (const clients of [1, 8]) results.push(await measure(client, dataset, { clients, seconds, truth }));
  for (const { name, filter, truth: file } of FILTERS) {
    const filtered = await measure(client, dataset, { clients: 8, seconds, truth: await readTruth(file), filter });
    results.push({ ...filtered, filter: name });
  }
  return results;
}

async function measure(
  client: VdbClient,
  { queries }: Dataset,
  options: { clients: number; seconds: number; truth: Int32Array[]; filter?: string },
): Promise<SearchResult> {
  const { clients, seconds, truth, filter } = options;
  const latencies: number[] = [];
  let recall = 0;
  let next = 0;
  const started = performance.now();
  const end = started + seconds * 1000;
  const one = async () => {
    while (performance.now() < end) {
      const query = next++ % queries.length;
      const request: SearchOptions = {
        collectionName: COLLECTION,
        data: [queries[query]!],
        limit: K,
        searchParams: { params: { ef: EF } },
        ...(filter === undefined ? {} : { filter }),
      };
      const sent = performance.now();
      const [hits = []] = await client.search(request);
      latencies.push(performance.now() - sent);
      recall += recallAt(
        K,
        hits.map((hit) => Number(hit.id)),
        truth[query]!,
      );
    }
  };
  await Promise.all(Array.from({ length: clients }, one));
  const elapsed = (performance.now() - started) / 1000;
  latencies.sort((a, b) => a - b);
  const percentile = (p: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * p))] ?? 0;
  return {
    clients,
    filter: "none",
    qps: latencies.length / elapsed,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    recallAt10: recall / latencies.length,
  };
}
