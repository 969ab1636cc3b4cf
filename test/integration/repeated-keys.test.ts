/** Inserts do not check keys: a key may have many rows. A search still gives as many different keys as there are. */
import { describe, expect, it } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { startTestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "repeated";
const NEAR = [0, 0, 0, 0];

describe("a key that was inserted many times", () => {
  it("takes one place in a result, growing or indexed, and its newest row wins a tie", async () => {
    await using cluster = await startTestCluster(undefined, ["coordinator.indexRowsMin=50"]);
    const client = VdbClient.inProcess(cluster.nodes[0]!.bus);
    await client.createCollection({
      collectionName: COLLECTION,
      dimension: 4,
      indexParams: [{ fieldName: "vector", indexType: "HNSW", metricType: "L2", params: { M: 8, efConstruction: 64 } }],
    });
    await client.waitUntilLoaded({ collectionName: COLLECTION });
    const copies = Array.from({ length: 70 }, (_, n) => ({ id: 1, n, vector: NEAR }));
    const others = Array.from({ length: 300 }, (_, i) => ({ id: i + 2, n: 0, vector: [1 + i, 0, 0, 0] }));
    await client.insert({ collectionName: COLLECTION, data: [...copies, ...others] });

    const expectTen = async () => {
      for (const filter of ["", "id < 200"]) {
        const [hits = []] = await client.search({
          collectionName: COLLECTION,
          data: NEAR,
          limit: 10,
          filter,
          outputFields: ["n"],
          consistencyLevel: "Strong",
        });
        expect(hits.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        expect(hits[0]?.n).toBe(69);
      }
    };
    await expectTen();
    await client.flush({ collectionName: COLLECTION });
    await expectTen();
    await untilIndexed(client);
    await expectTen();
    expect(await client.delete({ collectionName: COLLECTION, filter: "id == 1" })).toEqual({ deleteCount: 1 });
    const [hits = []] = await client.search({
      collectionName: COLLECTION,
      data: NEAR,
      limit: 1,
      consistencyLevel: "Strong",
    });
    expect(hits.map(({ id }) => id)).toEqual([2]);
  });
});

async function untilIndexed(client: VdbClient): Promise<void> {
  await expect
    .poll(() => client.describeIndex({ collectionName: COLLECTION, indexName: "vector" }))
    .toMatchObject({ pendingRows: 0 });
}
