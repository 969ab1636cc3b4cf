/** How many of the true neighbours a search finds: 50,000 real records with 256-d embeddings, HNSW, one process. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Dataset, DIMENSION, FILTERS, readDataset, readTruth, recallAt } from "../../bench/dataset.ts";
import { VdbClient } from "../../client/client.ts";
import { ROLES } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "packages";
const BATCH_ROWS = 1000;
const K = 10;
const RECALL_MIN = 0.95;

/** Queries sent together. */
const QUERIES_A_REQUEST = 50;

let cluster: TestCluster;
let client: VdbClient;
let dataset: Dataset;

beforeAll(async () => {
  [cluster, dataset] = await Promise.all([startTestCluster([ROLES]), readDataset()]);
  client = VdbClient.inProcess(cluster.nodes[0]!.bus);
  await client.createCollection({
    collectionName: COLLECTION,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "section", dataType: "VarChar", elementTypeParams: { max_length: 64 } },
        { fieldName: "installed_kb", dataType: "Int64" },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
      ],
    },
    indexParams: [
      { fieldName: "vector", indexType: "HNSW", metricType: "COSINE", params: { M: 16, efConstruction: 200 } },
    ],
  });
  for (let start = 0; start < dataset.rows.length; start += BATCH_ROWS) {
    const data = dataset.rows
      .slice(start, start + BATCH_ROWS)
      .map(({ id, section, installed_kb, vector }) => ({ id, section, installed_kb, vector }));
    await client.insert({ collectionName: COLLECTION, data });
  }
  await client.flush({ collectionName: COLLECTION });
  // Nothing is scanned: query nodes have all rows, each segment with its index.
  await vi.waitFor(
    async () => {
      const index = await client.describeIndex({ collectionName: COLLECTION, indexName: "vector" });
      expect(index).toMatchObject({ totalRows: dataset.rows.length, indexedRows: dataset.rows.length });
      expect(cluster.placement()).toEqual({ heldBytes: 0, segments: 1, indexes: 1 });
    },
    { timeout: 500_000, interval: 250 },
  );
}, 600_000);
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

async function recallOf(truth: Int32Array[], filter = ""): Promise<number> {
  let recall = 0;
  for (let start = 0; start < dataset.queries.length; start += QUERIES_A_REQUEST) {
    const data = dataset.queries.slice(start, start + QUERIES_A_REQUEST);
    const found = await client.search({
      collectionName: COLLECTION,
      data,
      filter,
      limit: K,
      searchParams: { params: { ef: 64 } },
    });
    found.forEach((hits, i) => {
      expect(hits).toHaveLength(K);
      recall += recallAt(
        K,
        hits.map(({ id }) => id as number),
        truth[start + i]!,
      );
    });
  }
  return recall / dataset.queries.length;
}

describe("recall@10 over 1,000 queries at ef 64", () => {
  test("without a filter", async () => {
    const recall = await recallOf(await readTruth());
    console.log(`recall@10 without a filter: ${recall.toFixed(4)}`);
    expect(recall).toBeGreaterThanOrEqual(RECALL_MIN);
  });

  test.each(FILTERS)("with a filter that keeps $name of the rows", async ({ filter, truth }) => {
    const recall = await recallOf(await readTruth(truth), filter);
    console.log(`recall@10 with ${filter}: ${recall.toFixed(4)}`);
    expect(recall).toBeGreaterThanOrEqual(RECALL_MIN);
  });
});
