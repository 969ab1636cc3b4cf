/** What every log must do, whatever it is stored on: the tests that an implementation of the port passes. */
import { beforeEach, describe, expect, test } from "vitest";
import type { LogKind, LogMessage, LogPort } from "./port.ts";
import { encodeFence } from "./record.ts";

export interface LogHarness {
  /** A log of its own with one channel, 0, that is empty. */
  open(options?: { maxBytes?: number }): Promise<LogPort>;
  /** Ends what the log is stored on, and starts it again. What was stored stays. */
  restart(): Promise<void>;
}

const MAX_BYTES = 64 << 20;

export function describeLog(harness: () => LogHarness): void {
  let log: LogPort;
  beforeEach(async () => {
    log = await harness().open({ maxBytes: MAX_BYTES });
  });

  /** Appends a text that is also its message id. */
  const append = (kind: LogKind, id: string, expect = {}) => log.append(0, kind, id, bytes(id), expect, 5_000);

  describe("append", () => {
    test("stores when the last sequence is as expected, and conflicts when it is not", async () => {
      expect(await append("ins", "a", { lastSeq: 0 })).toEqual({ kind: "stored", seq: 1 });
      expect(await append("mut", "b", { lastSeq: 0 })).toEqual({ kind: "conflict" });
      expect(await append("mut", "b", { lastSeq: 1 })).toEqual({ kind: "stored", seq: 2 });
      expect(await append("ins", "c", { lastSeqOfKind: 2 })).toEqual({ kind: "conflict" });
      expect(await append("ins", "c", { lastSeqOfKind: 1 })).toEqual({ kind: "stored", seq: 3 });
    });

    test("lets one of many who expect the same store", async () => {
      const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => append("ins", `m${i}`, { lastSeq: 0 })));
      expect(outcomes.filter(({ kind }) => kind === "stored")).toEqual([{ kind: "stored", seq: 1 }]);
      expect(outcomes.filter(({ kind }) => kind === "conflict")).toHaveLength(19);
    });

    test("stores a message id once", async () => {
      expect(await append("ins", "a")).toEqual({ kind: "stored", seq: 1 });
      expect(await append("ins", "a")).toEqual({ kind: "stored", seq: 1 });
      expect(await append("ins", "b", { lastSeq: 1 })).toEqual({ kind: "stored", seq: 2 });
    });

    test("is refused by a full log, and taken again after a purge", async () => {
      log = await harness().open({ maxBytes: 1 << 20 });
      const big = new Uint8Array(700_000);
      expect(await log.append(0, "ins", "a", big, {}, 5_000)).toMatchObject({ kind: "stored" });
      expect(await log.append(0, "ins", "b", big, {}, 5_000)).toMatchObject({ kind: "refused" });
      await log.purge(0, 1);
      expect(await log.append(0, "ins", "b", big, { lastSeq: 1 }, 5_000)).toEqual({ kind: "stored", seq: 2 });
    });

    test("takes a fence into a log that is full of small messages", async () => {
      log = await harness().open({ maxBytes: 1 << 20 });
      let stored = 0;
      while ((await log.append(0, "ins", `m${stored}`, new Uint8Array(10_000), {}, 5_000)).kind === "stored") stored++;
      expect(stored).toBeGreaterThan(50);
      while ((await log.append(0, "mut", `s${stored}`, bytes("x"), {}, 5_000)).kind === "stored") stored++;
      expect(await log.append(0, "ctl", "f", fence(false), {}, 5_000)).toMatchObject({ kind: "stored" });
    });

    test("fails for good with what is longer than a message, and stores what is as long", async () => {
      const longer = new Uint8Array(log.maxMessageBytes + 64_000);
      await expect(log.append(0, "ins", "a", longer, {}, 5_000)).rejects.toMatchObject({ kind: "unavailable" });
      const longest = longer.subarray(0, log.maxMessageBytes);
      expect(await log.append(0, "ins", "a", longest, { lastSeq: 0 }, 5_000)).toEqual({ kind: "stored", seq: 1 });
    });

    test("is unknown when there is no such channel to answer", async () => {
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

    test("are unavailable when there is no such channel", async () => {
      await expect(log.readAt(9, 1)).rejects.toMatchObject({ kind: "unavailable" });
    });

    test("bounds tell an empty channel from a purged one", async () => {
      expect(await log.bounds(0)).toEqual({ firstSeq: 1, lastSeq: 0 });
      await append("ins", "a");
      await append("ins", "b");
      expect(await log.bounds(0)).toEqual({ firstSeq: 1, lastSeq: 2 });
      await log.purge(0, 1);
      await log.purge(0, 1);
      expect(await log.bounds(0)).toEqual({ firstSeq: 2, lastSeq: 2 });
      expect(await log.readAt(0, 1)).toBeNull();
      await log.purge(0, 2);
      expect(await log.bounds(0)).toEqual({ firstSeq: 3, lastSeq: 2 });
      expect(await log.readLast(0, "ins")).toBeNull();
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

    test("begins with the first message stored when what it asks for was purged", async () => {
      for (const id of ["a", "b", "c"]) await append("ins", id);
      await log.purge(0, 2);
      const got = collector();
      await using _tail = await log.tail(0, ["ins"], 1, got.handler);
      await got.reached(1);
      expect(got.messages.map(({ seq }) => seq)).toEqual([3]);
    });

    test("handles one message at a time, in order", async () => {
      for (let i = 0; i < 20; i++) await append("ins", `m${i}`);
      let running = 0;
      const seqs: number[] = [];
      let finish = (): void => undefined;
      const all = new Promise<void>((done) => {
        finish = done;
      });
      await using _tail = await log.tail(0, ["ins"], 1, async ({ seq }) => {
        expect(++running).toBe(1);
        for (let i = 0; i < seq % 4; i++) await Promise.resolve();
        running--;
        seqs.push(seq);
        if (seq === 20) finish();
      });
      await all;
      expect(seqs).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
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

    test("is unavailable when there is no such channel", async () => {
      await expect(log.tail(9, ["ins"], 1, () => undefined)).rejects.toMatchObject({ kind: "unavailable" });
    });

    test("goes on over restarts of the server, each message once and in order", { timeout: 120_000 }, async () => {
      const got = collector();
      await using _tail = await log.tail(0, ["ins"], 1, got.handler);
      let last = 0;
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 20; i++) last = await appendUntilStored(log, last);
        await harness().restart();
      }
      for (let i = 0; i < 20; i++) last = await appendUntilStored(log, last);
      await got.reached(80);
      expect(got.messages.map(({ seq }) => seq)).toEqual(Array.from({ length: 80 }, (_, i) => i + 1));
    });
  });
}

const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
const text = (payload: Uint8Array): string => Buffer.from(payload).toString();

function fence(isAnchored: boolean): Uint8Array {
  return encodeFence(
    { channel: 0, term: 1, index: 0, previous: { seq: 0, crc: 0 } },
    { nodeId: "n", chain: { ins: { seq: 0, crc: 0 }, mut: { seq: 0, crc: 0 } }, isAnchored },
    0n,
  );
}

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

/** Appends after `last` with the one id that this slot can have, over unknown outcomes. Returns the new last sequence. */
async function appendUntilStored(log: LogPort, last: number): Promise<number> {
  for (;;) {
    const outcome = await log.append(0, "ins", `m${last + 1}`, bytes("x"), { lastSeq: last }, 1_000);
    if (outcome.kind === "stored") return outcome.seq;
    if (outcome.kind === "conflict") return last + 1;
  }
}
