/** Actors of one process call each other: a search there sends nothing, whatever roles it passes through. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { ConsistencyLevel } from "../../client/types.ts";
import { ROLES } from "../../runtime/actor.ts";
import type { VdbNode } from "../../runtime/node.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { clusteredVectors } from "../../runtime/testing/vectors.ts";

const DIMENSION = 16;
const ROWS = 1000;
const SEARCHES = 100;
const VECTORS = clusteredVectors(ROWS, DIMENSION, 3);

let cluster: TestCluster;
let node: VdbNode;
let client: VdbClient;
beforeAll(async () => {
  cluster = await startTestCluster([ROLES], ["coordinator.indexRowsMin=100"]);
  node = cluster.nodes[0]!;
  client = VdbClient.inProcess(node.bus);
  await client.createCollection({ collectionName: "here", dimension: DIMENSION, params: { shardsNum: 2 } });
  const data = Array.from({ length: ROWS }, (_, id) => ({ id, n: id % 10, vector: vectorOf(id) }));
  await client.insert({ collectionName: "here", data });
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

function vectorOf(id: number): Float32Array {
  return VECTORS.subarray(id * DIMENSION, (id + 1) * DIMENSION);
}

async function searchALot(by: VdbClient, consistencyLevel: ConsistencyLevel): Promise<void> {
  for (let id = 0; id < SEARCHES; id++) {
    const [hits = []] = await by.search({
      collectionName: "here",
      data: [vectorOf(id)],
      filter: "n < 9",
      limit: 5,
      outputFields: ["n", "vector"],
      consistencyLevel,
    });
    expect(hits).toHaveLength(5);
  }
}

const LEVELS: ConsistencyLevel[] = ["Strong", "Session", "Bounded", "Eventually"];

test.each(LEVELS)("a %s search of fresh rows moves no bytes on the request connection", async (level) => {
  expect(cluster.placement()).toMatchObject({ segments: 0 });
  const before = node.traffic();
  await searchALot(client, level);
  expect(node.traffic()).toEqual(before);
});

test("the same search by a client of its own connection does", async () => {
  const remote = await VdbClient.connect({ servers: cluster.nats.url });
  try {
    const { sentBytes, receivedBytes } = node.traffic();
    await searchALot(remote, "Eventually");
    expect(node.traffic().sentBytes).toBeGreaterThan(sentBytes + SEARCHES * 5 * DIMENSION * 4);
    expect(node.traffic().receivedBytes).toBeGreaterThan(receivedBytes + SEARCHES * DIMENSION * 4);
  } finally {
    await remote.close();
  }
});

test("nor does a search of sealed rows through their indexes", async () => {
  await client.flush({ collectionName: "here" });
  await expect.poll(() => cluster.placement()).toEqual({ heldBytes: 0, segments: 2, indexes: 2 });
  for (const level of LEVELS) {
    const before = node.traffic();
    await searchALot(client, level);
    expect(node.traffic()).toEqual(before);
  }
});
