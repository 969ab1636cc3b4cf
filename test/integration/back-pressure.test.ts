/**
 * More than a node can hold, a log that is full, and a NATS that does not answer: writes are slowed, then refused with
 * errors that say what is the matter, within their time; reads go on; and all of it passes by itself.
 */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "nats";
import { afterEach, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Row } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import type { VdbError } from "../../runtime/errors.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const COLLECTION = "c";
const DIMENSION = 256;
const MIB = 1 << 20;
/** Of an insert: a little more than 100 KiB. */
const ROWS = 100;
const INSERT_BYTES = ROWS * (DIMENSION * 4 + 8);

let cluster: TestCluster;
let client: VdbClient;
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

async function start(roles: readonly (readonly Role[])[], settings: string[]): Promise<void> {
  cluster = await startTestCluster(roles, ["cluster.walChannels=1", ...settings]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({ collectionName: COLLECTION, dimension: DIMENSION });
}

const rowsFrom = (first: number, count = ROWS): Row[] =>
  Array.from({ length: count }, (_, i) => ({ id: first + i, vector: new Float32Array(DIMENSION).fill(first + i) }));

async function count(): Promise<number> {
  const rows = await client.query({
    collectionName: COLLECTION,
    outputFields: ["count(*)"],
    consistencyLevel: "Strong",
  });
  return Number(rows[0]!["count(*)"]);
}

/** What the streaming nodes say of themselves. */
const observed = () =>
  cluster.nodes.flatMap((node) => {
    const streaming = node.observe().streaming as
      | { heldBytes: number; channels: { replayBytes: number; isOpen: boolean; recovery: { bytes: number } }[] }
      | undefined;
    return streaming === undefined ? [] : [streaming];
  });

/** Writers that go on until they have inserted so much together; `look` sees the state after every insert. */
async function insertMuch(bytes: number, look: () => void, writers = 4): Promise<number> {
  const inserts = Math.ceil(bytes / INSERT_BYTES);
  let next = 0;
  const write = async () => {
    while (next < inserts) {
      await client.insert({ collectionName: COLLECTION, data: rowsFrom(next++ * ROWS), timeoutMs: 60_000 });
      look();
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  return inserts * ROWS;
}

describe("rows that wait to be flushed and loaded", () => {
  const BYTES_MAX = 3 * MIB;
  const SETTINGS = [`streaming.growingBytesMax=${BYTES_MAX}`, "coordinator.indexRowsMin=1000000"];

  test("stay within their bound, though many times as much is inserted, and are searched all the while", async () => {
    await start([ROLES], SETTINGS);
    let heldMax = 0;
    let isDone = false;
    const searching = (async () => {
      let answered = 0;
      for (; !isDone; answered++) {
        await client.search({ collectionName: COLLECTION, data: [new Float32Array(DIMENSION)], limit: 5 });
      }
      return answered;
    })();
    const rows = await insertMuch(8 * BYTES_MAX, () => {
      heldMax = Math.max(heldMax, ...observed().map(({ heldBytes }) => heldBytes));
    });
    isDone = true;
    expect(await searching).toBeGreaterThan(0);
    expect(heldMax).toBeGreaterThan(0);
    // A segment grows in steps: it holds a little more than its rows.
    expect(heldMax).toBeLessThan(2 * BYTES_MAX);
    expect(await count()).toBe(rows);
  });

  test("are refused as retriable when nobody takes them, and taken again when somebody does", async () => {
    await start([["coordinator", "streaming", "data", "proxy"], ["query"]], SETTINGS);
    await cluster.stopNode(cluster.nodes[1]!);
    let stored = 0;
    const insertNext = (timeoutMs: number) =>
      client
        .insert({ collectionName: COLLECTION, data: rowsFrom(stored * ROWS), requestId: `r${stored}`, timeoutMs })
        .then(() => undefined)
        .catch((error: unknown) => error);
    const untilRefused = async (): Promise<VdbError> => {
      for (;;) {
        const error = (await insertNext(3_000)) as VdbError | undefined;
        // One that ends in the middle of an attempt may have heard nothing of it.
        if (error !== undefined && error.kind !== "deadline_exceeded") return error;
        if (error === undefined) stored++;
        expect(stored).toBeLessThan((10 * BYTES_MAX) / INSERT_BYTES);
      }
    };
    expect(await untilRefused()).toMatchObject({
      kind: "rate_limited",
      code: 8,
      retriable: true,
      message: expect.stringMatching(/wait to be flushed and loaded/),
    });
    // Room is made without rows: by deletes.
    await client.delete({ collectionName: COLLECTION, filter: "id in [0]" });
    await cluster.startNode(["query"]);
    expect(await insertNext(120_000)).toBeUndefined();
    expect(await count()).toBe((stored + 1) * ROWS - 1);
  });
});

test("rows that wait for the log count as held: beyond the bound they are refused at once, in a NATS that stands still", async () => {
  const boundBytes = 2 * MIB;
  await start([ROLES], [`streaming.growingBytesMax=${boundBytes}`]);
  await client.close();
  client = VdbClient.inProcess(cluster.nodes[0]!.bus);
  await client.insert({ collectionName: COLLECTION, data: rowsFrom(0, 2) });
  cluster.nats.server.kill("SIGSTOP");
  const inserts = Math.ceil((3 * boundBytes) / INSERT_BYTES);
  const outcomes = Array.from({ length: inserts }, (_, i) =>
    client.insert({ collectionName: COLLECTION, data: rowsFrom((i + 1) * ROWS), timeoutMs: 5_000 }).then(
      () => undefined,
      (error: VdbError) => error,
    ),
  );
  let isDone = false;
  const watching = (async () => {
    let heldMax = 0;
    for (; !isDone; await systemClock.sleep(5)) heldMax = Math.max(heldMax, observed()[0]!.heldBytes);
    return heldMax;
  })();
  const errors = await Promise.all(outcomes);
  isDone = true;
  const heldMax = await watching;
  cluster.nats.server.kill("SIGCONT");
  expect(heldMax).toBeGreaterThan(boundBytes / 2);
  expect(heldMax).toBeLessThan(boundBytes + 2 * INSERT_BYTES);
  expect(errors.every((error) => error?.retriable)).toBe(true);
  const refused = errors.filter((error) => error?.kind === "rate_limited");
  expect(refused.length).toBeGreaterThan(0);
  expect(refused[0]!.message).toMatch(/wait to be flushed and loaded/);
});

describe("the log behind the checkpoint", () => {
  test("stays within its bound under mixed load, whoever holds the checkpoint back, and so does a recovery", async () => {
    const bytesMax = 1 * MIB;
    await start([ROLES], [`streaming.replayBytesMax=${bytesMax}`, "coordinator.indexRowsMin=1000000"]);
    // A few rows of a shard that nothing else would ever flush, at the very beginning; and now and then a delete.
    await client.createCollection({ collectionName: "idle", dimension: 2 });
    await client.insert({ collectionName: "idle", data: { id: 1, vector: [1, 2] } });
    let behindMax = 0;
    let inserts = 0;
    const deleted: Promise<unknown>[] = [];
    const rows = await insertMuch(16 * bytesMax, () => {
      for (const { channels } of observed()) {
        for (const { replayBytes } of channels) behindMax = Math.max(behindMax, replayBytes);
      }
      if (++inserts % 10 === 0) {
        deleted.push(client.delete({ collectionName: COLLECTION, filter: `id in [${inserts}]` }));
        deleted.push(client.upsert({ collectionName: "idle", data: { id: 1, vector: [inserts, 2] } }));
      }
    });
    await Promise.all(deleted);
    console.log(`${(inserts * INSERT_BYTES) / MIB} MiB written, at most ${behindMax / MIB} MiB behind the checkpoint`);
    // What was let in just below the bound comes on top.
    const most = 2 * bytesMax + 4 * (INSERT_BYTES + 16_384);
    expect(behindMax).toBeLessThan(most);

    await cluster.stopNode(cluster.nodes[0]!);
    await cluster.startNode(ROLES);
    await expect.poll(() => observed()[0]!.channels[0]?.isOpen).toBe(true);
    expect(observed()[0]!.channels[0]!.recovery.bytes).toBeLessThan(most);
    expect(await count()).toBe(rows - deleted.length / 2);
  });

  test("a log that is full takes writes again as soon as it has been flushed and cut, by itself", async () => {
    await start([ROLES], ["cluster.walBytesMax=67108864", "coordinator.indexRowsMin=1000000"]);
    const connection = await connect({ servers: cluster.nats.url });
    try {
      // Much smaller than the node was told: nothing is flushed before it is full.
      const { streams } = await jetstreamManager(connection);
      await streams.update("vdb-wal-0", { max_bytes: 8 * MIB });
      const rows = await insertMuch(24 * MIB, () => undefined);
      expect(await count()).toBe(rows);
      const { state } = await streams.info("vdb-wal-0");
      expect(state.bytes).toBeLessThanOrEqual(8 * MIB);
    } finally {
      await connection.close();
    }
  });
});

describe("a NATS that does not answer", () => {
  test("fails inserts within their time, and what they did is settled by the same request when it is back", async () => {
    await start([["coordinator"], ["streaming"], ["query", "data"], ["proxy"]], []);
    const write = (n: number, timeoutMs: number) =>
      client.insert({ collectionName: COLLECTION, data: rowsFrom(n * 2, 2), requestId: `w${n}`, timeoutMs });
    await write(0, 120_000);
    cluster.nats.server.kill("SIGSTOP");
    const asked = performance.now();
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        write(i + 1, 1_000).then(
          () => "stored",
          (error: VdbError) => error,
        ),
      ),
    );
    const tookMs = performance.now() - asked;
    cluster.nats.server.kill("SIGCONT");
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ retriable: true });
      expect(["deadline_exceeded", "unavailable"]).toContain((outcome as VdbError).kind);
    }
    // Each has a second. As long as a client waits by itself would be a wait for something else.
    expect(tookMs).toBeLessThan(25_000);
    // Some of them may have reached the log when NATS went on: sent again they are stored once all the same.
    await Promise.all(Array.from({ length: 20 }, (_, i) => write(i + 1, 120_000)));
    expect(await count()).toBe(42);
  });
});
