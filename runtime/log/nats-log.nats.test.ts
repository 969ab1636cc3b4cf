import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { startTestNats, type TestNats } from "../testing/nats-server.ts";
import { createNatsLog, type NatsLog } from "./nats-log.ts";
import type { LogMessage } from "./port.ts";
import { encodeFence } from "./record.ts";

let nats: TestNats;
let connections: NatsConnections;
beforeAll(async () => {
  nats = await startTestNats();
  connections = await connectNats({ servers: nats.url, name: "test" });
});
afterAll(async () => {
  await connections.close();
  await nats[Symbol.asyncDispose]();
});

let log: NatsLog;
let tests = 0;
beforeEach(async () => {
  log = createNatsLog(connections, { prefix: `t${++tests}`, replicas: 1, maxBytes: 64 << 20 });
  await log.ensureChannels(1);
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (payload: Uint8Array): string => Buffer.from(payload).toString();

/** Appends a text that is also its message id. */
const append = (kind: "ins" | "mut" | "ctl", id: string, expect = {}) =>
  log.append(0, kind, id, bytes(id), expect, 5_000);

const fence = (isAnchored: boolean): Uint8Array =>
  encodeFence(
    { channel: 0, term: 1, index: 0, previous: { seq: 0, crc: 0 } },
    { nodeId: "n", chain: { ins: { seq: 0, crc: 0 }, mut: { seq: 0, crc: 0 } }, isAnchored },
    0n,
  );

describe("append", () => {
  test("stores when the last sequence is as expected, and conflicts when it is not", async () => {
    expect(await append("ins", "a", { lastSeq: 0 })).toEqual({ kind: "stored", seq: 1 });
    expect(await append("mut", "b", { lastSeq: 0 })).toEqual({ kind: "conflict" });
    expect(await append("mut", "b", { lastSeq: 1 })).toEqual({ kind: "stored", seq: 2 });
    expect(await append("ins", "c", { lastSeqOfKind: 2 })).toEqual({ kind: "conflict" });
    expect(await append("ins", "c", { lastSeqOfKind: 1 })).toEqual({ kind: "stored", seq: 3 });
  });

  test("is refused by a full log, and taken again after a purge", async () => {
    log = createNatsLog(connections, { prefix: `full${tests}`, replicas: 1, maxBytes: 1 << 20 });
    await log.ensureChannels(1);
    const big = new Uint8Array(700_000);
    expect(await log.append(0, "ins", "a", big, {}, 5_000)).toMatchObject({ kind: "stored" });
    expect(await log.append(0, "ins", "b", big, {}, 5_000)).toMatchObject({ kind: "refused" });
    await log.purge(0, 1);
    expect(await log.append(0, "ins", "b", big, { lastSeq: 1 }, 5_000)).toEqual({ kind: "stored", seq: 2 });
  });

  test("takes a fence into a log that is full of small messages", async () => {
    log = createNatsLog(connections, { prefix: `brim${tests}`, replicas: 1, maxBytes: 1 << 20 });
    await log.ensureChannels(1);
    let stored = 0;
    while ((await log.append(0, "ins", `m${stored}`, new Uint8Array(10_000), {}, 5_000)).kind === "stored") stored++;
    expect(stored).toBeGreaterThan(50);
    while ((await log.append(0, "mut", `s${stored}`, bytes("x"), {}, 5_000)).kind === "stored") stored++;
    expect(await log.append(0, "ctl", "f", fence(false), {}, 5_000)).toMatchObject({ kind: "stored" });
  });

  test("is unknown when no stream answers", async () => {
    expect(await log.append(9, "ins", "a", bytes("a"), {}, 500)).toMatchObject({ kind: "unknown" });
  });
});

describe("reads", () => {
  test("find a slot, the newest of a kind, and nothing", async () => {
    await append("ins", "a");
    await append("mut", "b");
    await append("ins", "c");
    const at2 = await log.readAt(0, 2);
    expect(at2).toMatchObject({ seq: 2, kind: "mut", messageId: "b" });
    expect(text(at2!.payload)).toBe("b");
    expect(await log.readLast(0, "ins")).toMatchObject({ seq: 3, kind: "ins", messageId: "c" });
    expect(await log.readAt(0, 4)).toBeNull();
    expect(await log.readLast(0, "ctl")).toBeNull();
  });

  test("are unavailable when the stream is not there", async () => {
    await expect(log.readAt(9, 1)).rejects.toMatchObject({ kind: "unavailable" });
  });

  test("bounds tell an empty stream from a purged one", async () => {
    expect(await log.bounds(0)).toEqual({ firstSeq: 1, lastSeq: 0 });
    await append("ins", "a");
    await append("ins", "b");
    expect(await log.bounds(0)).toEqual({ firstSeq: 1, lastSeq: 2 });
    await log.purge(0, 1);
    await log.purge(0, 1);
    expect(await log.bounds(0)).toEqual({ firstSeq: 2, lastSeq: 2 });
    await log.purge(0, 2);
    expect(await log.bounds(0)).toEqual({ firstSeq: 3, lastSeq: 2 });
  });
});

describe("purge", () => {
  test("keeps the newest fence", async () => {
    await append("ins", "a");
    await log.append(0, "ctl", "f", fence(true), {}, 5_000);
    await append("ins", "b");
    await log.purge(0, 3);
    expect(await log.bounds(0)).toEqual({ firstSeq: 2, lastSeq: 3 });
  });

  test("waits for a fence that knows the chains", async () => {
    await append("ins", "a");
    await log.append(0, "ctl", "f", fence(false), {}, 5_000);
    await log.purge(0, 1);
    expect(await log.bounds(0)).toEqual({ firstSeq: 1, lastSeq: 2 });
  });
});

describe("ensureChannels", () => {
  test("accepts what it made before, and refuses a stream of another shape", async () => {
    await log.ensureChannels(2);
    await log.ensureChannels(2);
    const { streams } = await jetstreamManager(connections.control);
    await streams.add({ name: `t${tests}-wal-2`, subjects: [`t${tests}.wal.2.*`] });
    await expect(log.ensureChannels(3)).rejects.toMatchObject({ kind: "schema_mismatch" });
  });
});

/** Collects what a tail delivers, and resolves when `count` messages are there. */
function collector() {
  const messages: LogMessage[] = [];
  const waiters: { count: number; done: () => void }[] = [];
  return {
    messages,
    handler: (message: LogMessage): void => {
      messages.push(message);
      for (const waiter of waiters) if (messages.length >= waiter.count) waiter.done();
    },
    reached: (count: number): Promise<void> =>
      new Promise((done) => {
        if (messages.length >= count) done();
        else waiters.push({ count, done });
      }),
  };
}

describe("tail", () => {
  test("delivers what is there and what comes, of the kinds asked for, from a sequence on", async () => {
    for (const id of ["a", "b", "c"]) await append(id === "b" ? "mut" : "ins", id);
    const all = collector();
    const inserts = collector();
    await using _one = await log.tail(0, ["ins", "mut", "ctl"], 2, all.handler);
    await using _two = await log.tail(0, ["ins", "ctl"], 1, inserts.handler);
    await append("mut", "d");
    await append("ins", "e");
    await all.reached(4);
    await inserts.reached(3);
    expect(all.messages.map(({ seq, kind, payload }) => [seq, kind, text(payload)])).toEqual([
      [2, "mut", "b"],
      [3, "ins", "c"],
      [4, "mut", "d"],
      [5, "ins", "e"],
    ]);
    expect(inserts.messages.map(({ seq, messageId }) => [seq, messageId])).toEqual([
      [1, "a"],
      [3, "c"],
      [5, "e"],
    ]);
  });

  test("waits at a sequence that is not given yet", async () => {
    await append("ins", "a");
    const got = collector();
    await using _tail = await log.tail(0, ["ins"], 3, got.handler);
    await append("ins", "b");
    await append("ins", "c");
    await got.reached(1);
    expect(got.messages.map(({ seq }) => seq)).toEqual([3]);
  });

  test("handles one message at a time, and holds the server back meanwhile", async () => {
    const megabyte = new Uint8Array(1 << 20);
    for (let i = 0; i < 48; i++) await log.append(0, "ins", `m${i}`, megabyte, {}, 5_000);
    let running = 0;
    let release: () => void = () => undefined;
    const first = new Promise<void>((done) => {
      release = done;
    });
    const seqs: number[] = [];
    let finish: () => void = () => undefined;
    const all = new Promise<void>((done) => {
      finish = done;
    });
    await using _tail = await log.tail(0, ["ins"], 1, async ({ seq }) => {
      expect(++running).toBe(1);
      if (seq === 1) await first;
      else await Promise.resolve();
      running--;
      seqs.push(seq);
      if (seq === 48) finish();
    });
    const consumers = await (await jetstreamManager(connections.control)).consumers.list(`t${tests}-wal-0`).next();
    // Flow control: the server stops at its window instead of sending all 48 MB.
    expect(consumers[0]!.num_pending).toBeGreaterThan(0);
    release();
    await all;
    expect(seqs).toEqual(Array.from({ length: 48 }, (_, i) => i + 1));
  });

  test("fails when its handler throws, and delivers no more", async () => {
    await append("ins", "a");
    await append("ins", "b");
    let calls = 0;
    await using tail = await log.tail(0, ["ins"], 1, () => {
      calls++;
      throw new Error("enough");
    });
    await expect(tail.failed).rejects.toThrow("enough");
    expect(calls).toBe(1);
  });

  test("is unavailable on a stream that is not there", async () => {
    await expect(log.tail(9, ["ins"], 1, () => undefined)).rejects.toMatchObject({ kind: "unavailable" });
  });

  test("goes on over restarts of the server, each message once and in order", { timeout: 120_000 }, async () => {
    const got = collector();
    await using _tail = await log.tail(0, ["ins"], 1, got.handler);
    let last = 0;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) last = await appendUntilStored(last);
      await nats.restart();
    }
    for (let i = 0; i < 20; i++) last = await appendUntilStored(last);
    await got.reached(80);
    expect(got.messages.map(({ seq }) => seq)).toEqual(Array.from({ length: 80 }, (_, i) => i + 1));
  });
});

/** Appends after `last` with the one id that this slot can have, over unknown outcomes. Returns the new last sequence. */
async function appendUntilStored(last: number): Promise<number> {
  for (;;) {
    const outcome = await log.append(0, "ins", `m${last + 1}`, bytes("x"), { lastSeq: last }, 1_000);
    if (outcome.kind === "stored") return outcome.seq;
    if (outcome.kind === "conflict") return last + 1;
  }
}
