/** The other search engine, faiss-node, which has no filter: searches still find as many rows as match. */
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { seeded } from "../../runtime/sim/seeded.ts";
import { startTestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "faiss";
const DIMENSION = 16;
const ROWS = 3000;
const K = 10;

function hasFaiss(): boolean {
  try {
    createRequire(import.meta.url).resolve("faiss-node");
    return true;
  } catch {
    return false;
  }
}

test.skipIf(!hasFaiss())("with faiss-node a filter finds the nearest of what matches, few rows or many", async () => {
  await using cluster = await startTestCluster(undefined, ["node.engine=faiss"]);
  const client = VdbClient.inProcess(cluster.nodes[0]!.bus);
  await client.createCollection({
    collectionName: COLLECTION,
    dimension: DIMENSION,
    indexParams: [{ fieldName: "vector", indexType: "HNSW", metricType: "L2", params: { M: 16, efConstruction: 100 } }],
  });
  const random = seeded(3, "faiss");
  const rows = Array.from({ length: ROWS }, (_, id) => ({
    ...{ id, n: random.int(1000) },
    vector: Array.from({ length: DIMENSION }, () => random.next()),
  }));
  await client.insert({ collectionName: COLLECTION, data: rows });
  await client.flush({ collectionName: COLLECTION });
  await expect.poll(() => cluster.placement()).toMatchObject({ indexes: 1 });
  for (const below of [1000, 900, 300, 10]) {
    const matches = rows.filter(({ n }) => n < below);
    let found = 0;
    for (let i = 0; i < 10; i++) {
      const query = Array.from({ length: DIMENSION }, () => random.next());
      const [hits = []] = await client.search({
        ...{ collectionName: COLLECTION, data: [query], limit: K, consistencyLevel: "Strong", filter: `n < ${below}` },
        searchParams: { params: { ef: 200 } },
      });
      const distance = (vector: number[]) => vector.reduce((sum, x, at) => sum + (x - query[at]!) ** 2, 0);
      const near = [...matches].sort((a, b) => distance(a.vector) - distance(b.vector)).slice(0, K);
      expect(hits).toHaveLength(near.length);
      const ids = new Set(near.map(({ id }) => id));
      found += hits.filter(({ id }) => ids.has(Number(id))).length / near.length;
    }
    expect(found / 10).toBeGreaterThan(0.95);
  }
});
