/** What survives: nodes that stop and start, a nats-server that is killed, owners that change. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "nats";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { PrimaryKey, Row } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "kept";
const STRONG = { collectionName: COLLECTION, consistencyLevel: "Strong" } as const;

let cluster: TestCluster;
let client: VdbClient;

async function start(nodes: readonly (readonly Role[])[], settings: string[] = []): Promise<void> {
  cluster = await startTestCluster(nodes, ["coordinator.indexRowsMin=50", ...settings]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: COLLECTION,
    dimension: 2,
    metricType: "L2",
    params: { shardsNum: 2 },
  });
}
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

function rowsFrom(first: number, count: number, n = 0): (Row & { id: number })[] {
  return Array.from({ length: count }, (_, i) => ({ id: first + i, vector: [first + i, 1], n }));
}

async function storedRows(): Promise<Row[]> {
  return client.query({ ...STRONG, filter: "", outputFields: ["n"], limit: 16_384 });
}

async function count(): Promise<number> {
  const [row] = await client.query({ ...STRONG, outputFields: ["count(*)"] });
  return Number(row!["count(*)"]);
}

describe("one process", () => {
  // One channel, so that collections share a log.
  beforeEach(() => start([ROLES], ["coordinator.garbageIntervalMs=1000", "cluster.walChannels=1"]));

  async function restartNode(): Promise<void> {
    await cluster.stopNode(cluster.nodes[0]!);
    await cluster.startNode(ROLES);
  }

  test("rows, deletes and upserts survive a stop and a start, flushed or not", async () => {
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(0, 200) });
    await client.flush({ collectionName: COLLECTION });
    await client.delete({ collectionName: COLLECTION, filter: "id in [0, 1, 2]" });
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(200, 20) });
    await client.upsert({ collectionName: COLLECTION, data: rowsFrom(190, 20, 1) });
    await client.delete({ collectionName: COLLECTION, filter: "id >= 215" });
    const expected = [...rowsFrom(3, 187), ...rowsFrom(190, 20, 1), ...rowsFrom(210, 5)].map(({ id, n }) => ({
      id,
      n,
    }));
    expect(await storedRows()).toEqual(expected);
    for (let life = 0; life < 2; life++) {
      await restartNode();
      expect(await storedRows()).toEqual(expected);
      expect(await count()).toBe(expected.length);
      const [hits = []] = await client.search({ ...STRONG, data: [[195, 1]], limit: 1, outputFields: ["n"] });
      expect(hits).toEqual([{ id: 195, distance: 0, n: 1 }]);
      await client.flush({ collectionName: COLLECTION });
    }
  });

  test("a delete of many rows takes them all, rows that are flushed and written beside it too, and does so again in a replay", async () => {
    for (const first of [0, 8_000]) await client.insert({ collectionName: COLLECTION, data: rowsFrom(first, 8_000) });
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(16_000, 4_000) });
    await Promise.all([
      client.delete({ collectionName: COLLECTION, filter: "id < 19990" }),
      client.flush({ collectionName: COLLECTION }),
      client.insert({ collectionName: COLLECTION, data: rowsFrom(20_000, 5) }),
      client.upsert({ collectionName: COLLECTION, data: rowsFrom(19_995, 5, 1) }),
    ]);
    const expected = [...rowsFrom(19_990, 5), ...rowsFrom(19_995, 5, 1), ...rowsFrom(20_000, 5)];
    const kept = expected.map(({ id, n }) => ({ id, n }));
    expect(await storedRows()).toEqual(kept);
    await client.delete({ collectionName: COLLECTION, filter: "id == 20004" });
    await restartNode();
    expect(await storedRows()).toEqual(kept.slice(0, -1));
  });

  test("recovery needs only what the log has after the checkpoint, and applies nothing twice", async () => {
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(0, 300) });
    await client.delete({ collectionName: COLLECTION, filter: "id in [5]" });
    await client.flush({ collectionName: COLLECTION });
    // The log is cut up to the newest fence at most, and the next owner's comes after all of this.
    expect(await insertsInLog()).toBeGreaterThan(0);
    await restartNode();
    // All of them are in objects, and it has been cut behind them.
    await expect.poll(insertsInLog, { interval: 250 }).toBe(0);
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(300, 30) });
    await restartNode();
    expect(await count()).toBe(329);
    // Rows in segments and fresh ones: had replay brought a row that is in a segment, it would count twice here.
    expect(await client.collectionStats({ collectionName: COLLECTION })).toEqual({ rowCount: 329 });
  });

  test("rows in objects are not replayed, though another collection's rows hold the checkpoint back", async () => {
    await client.createCollection({ collectionName: "other", dimension: 2 });
    await client.insert({ collectionName: "other", data: rowsFrom(0, 10) });
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(0, 50) });
    await client.delete({ collectionName: COLLECTION, filter: "id in [1]" });
    await client.flush({ collectionName: COLLECTION });
    await client.insert({ collectionName: COLLECTION, data: rowsFrom(50, 5) });
    for (let life = 0; life < 2; life++) {
      await restartNode();
      expect((await storedRows()).map(({ id }) => id)).toEqual([0, ...rowsFrom(2, 53).map(({ id }) => id)]);
      expect(await count()).toBe(54);
      expect(await client.collectionStats({ collectionName: COLLECTION })).toEqual({ rowCount: 54 });
      expect(await client.collectionStats({ collectionName: "other" })).toEqual({ rowCount: 10 });
    }
  });

  async function insertsInLog(): Promise<number> {
    const connection = await connect({ servers: cluster.nats.url });
    try {
      const { streams } = await jetstreamManager(connection);
      const { state } = await streams.info("vdb-wal-0", { subjects_filter: "vdb.wal.0.ins" });
      return state.subjects?.["vdb.wal.0.ins"] ?? 0;
    } finally {
      await connection.close();
    }
  }
});

describe("five nodes", () => {
  beforeEach(() => start([["coordinator"], ["streaming"], ["query"], ["data"], ["proxy"]]));

  test("a nats-server that is killed in the middle of inserts loses nothing that was acknowledged", async () => {
    const acknowledged: number[] = [];
    const write = async (writer: number) => {
      for (let batch = 0; batch < 40; batch++) {
        const data = rowsFrom(writer * 10_000 + batch * 10, 10);
        await client.insert({ collectionName: COLLECTION, data });
        acknowledged.push(...data.map(({ id }) => id));
      }
    };
    const writing = Promise.all([0, 1, 2, 3].map(write));
    for (const share of [300, 900]) {
      await expect.poll(() => acknowledged.length, { interval: 5 }).toBeGreaterThan(share);
      await cluster.nats.restart();
    }
    await writing;
    acknowledged.sort((a, b) => a - b);
    expect((await storedRows()).map(({ id }) => id)).toEqual(acknowledged);
    expect(await count()).toBe(1600);
    await client.flush({ collectionName: COLLECTION });
    expect(await count()).toBe(1600);
  });

  test("rows with generated keys are stored once each, though nats-server is killed under them", async () => {
    await client.createCollection({ collectionName: "auto", dimension: 2, autoID: true });
    const acknowledged: number[] = [];
    const idOf = new Map<number, PrimaryKey>();
    const write = async (writer: number) => {
      for (let batch = 0; batch < 40; batch++) {
        const n = writer * 1000 + batch;
        const { insertIds } = await client.insert({ collectionName: "auto", data: { vector: [1, 2], n } });
        acknowledged.push(n);
        idOf.set(n, insertIds[0]!);
      }
    };
    const writing = Promise.all([0, 1, 2, 3].map(write));
    await expect.poll(() => acknowledged.length, { interval: 5 }).toBeGreaterThan(40);
    await cluster.nats.restart();
    await writing;
    const rows = await client.query({
      collectionName: "auto",
      outputFields: ["n", "id"],
      limit: 16_384,
      consistencyLevel: "Strong",
    });
    // An insert whose answer got lost was sent again, with the ids that it had the first time.
    expect(acknowledged.length).toBe(160);
    expect(rows.length).toBe(160);
    expect(new Map(rows.map(({ n, id }) => [n, id]))).toEqual(idOf);
  });

  /** Another node owns the channels: of the one before only the log and the objects are left. */
  async function changeOwner(): Promise<void> {
    const owner = cluster.nodes.find((node) => "streaming" in node.observe())!;
    await cluster.startNode(["streaming"]);
    await cluster.stopNode(owner);
  }

  test.each([
    { when: "at once", between: () => Promise.resolve() },
    { when: "after a flush", between: () => client.flush({ collectionName: COLLECTION }) },
    { when: "after its owner changed", between: changeOwner },
    {
      when: "after a flush and two changes of its owner",
      async between() {
        await client.flush({ collectionName: COLLECTION });
        await changeOwner();
        await client.insert({ collectionName: COLLECTION, data: rowsFrom(5000, 20) });
        await client.flush({ collectionName: COLLECTION });
        await changeOwner();
        await client.delete({ collectionName: COLLECTION, filter: "id >= 5000" });
      },
    },
  ])("an insert sent again $when is stored once, and brings nothing back that was deleted", async ({ between }) => {
    const request = { collectionName: COLLECTION, data: rowsFrom(0, 40), requestId: "once" };
    const answer = await client.insert(request);
    await client.delete({ collectionName: COLLECTION, filter: "id in [7]" });
    await between();
    expect(await client.insert(request)).toEqual(answer);
    expect(await count()).toBe(39);
    expect((await storedRows()).map(({ id }) => id)).not.toContain(7);
    // The same rows under another name are another insert.
    await client.insert({ ...request, requestId: "twice" });
    expect(await count()).toBe(79);
  });
});
