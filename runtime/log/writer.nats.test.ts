import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { beforeEach, describe, expect, test } from "vitest";
import { isVdbError } from "../errors.ts";
import { systemClock } from "../system-clock.ts";
import {
  deleteOf,
  insertOf,
  noDeadline,
  openResumedWriter,
  readWholeLog,
  timestampSource,
  type WriterSettings,
} from "../testing/log-fixture.ts";
import { TEST_REPLICAS } from "../testing/nats-server.ts";
import { useNats } from "../testing/use-nats.ts";
import { createNatsLog, type NatsLog } from "./nats-log.ts";
import type { LogPort } from "./port.ts";
import type { LogEntry } from "./record.ts";
import type { LogWriter } from "./writer.ts";

const nats = useNats();

let log: NatsLog;
let prefix: string;
let tests = 0;
let timestamps: (count: number) => Promise<bigint>;
beforeEach(async () => {
  prefix = `t${++tests}`;
  log = createNatsLog(nats.connections, { prefix, replicas: TEST_REPLICAS, maxBytes: 1 << 30 });
  await log.ensureChannels(1);
  timestamps = timestampSource();
});

const open = (term: number, settings: Partial<WriterSettings> = {}): Promise<LogWriter> =>
  openResumedWriter({ log, term, timestamps, ...settings });

/** The log, with some of its functions replaced. */
const logWith = (changes: Partial<LogPort>): LogPort => ({ ...log, ...changes });

/** A promise and the way to resolve it. */
function gate(): { passed: Promise<void>; open: () => void } {
  let pass: () => void = () => undefined;
  const passed = new Promise<void>((resolve) => {
    pass = resolve;
  });
  return { passed, open: () => pass() };
}

const isRowMessage = (kind: string): boolean => kind !== "ctl";

describe("append", () => {
  test("answers, and stores the next one, when what the owner does with an entry has ended", async () => {
    const handling = gate();
    const committed: string[] = [];
    const writer = await open(1, {
      onCommitted: async (_seq, _kind, entries) => {
        committed.push(...entries.map(({ requestId }) => requestId));
        await handling.passed;
      },
    });
    let answered = 0;
    const count = () => answered++;
    const first = writer.append(insertOf("first"), noDeadline()).then(count);
    await expect.poll(() => committed).toEqual(["first"]);
    const second = writer.append(insertOf("second"), noDeadline()).then(count);
    const settled = writer.settled(2n ** 62n).then(() => answered);
    expect((await readWholeLog(log)).requestIds).toEqual(["first"]);
    expect(answered).toBe(0);
    handling.open();
    await Promise.all([first, second]);
    expect(await settled).toBeGreaterThan(0);
    expect(committed).toEqual(["first", "second"]);
    await writer.close();
  });

  test("stores entries in order, with growing timestamps, and tells the owner before the caller", async () => {
    const committed: LogEntry[] = [];
    const writer = await open(1, {
      onCommitted: (_seq, _kind, entries) => void committed.push(...entries),
    });
    const ids = Array.from({ length: 200 }, (_, i) => `r${i}`);
    const acks = await Promise.all(
      ids.map(async (id) => {
        const ack = await writer.append(insertOf(id), noDeadline());
        expect(committed.some((entry) => entry.requestId === id && entry.ts === ack.ts)).toBe(true);
        return ack;
      }),
    );
    const { requestIds, records } = await readWholeLog(log);
    expect(requestIds).toEqual(ids);
    expect(committed.map((entry) => entry.requestId)).toEqual(ids);
    for (let i = 1; i < acks.length; i++) expect(acks[i]!.ts).toBeGreaterThan(acks[i - 1]!.ts);
    // Group commit: two fences, the first append, and all that came while it was stored.
    expect(records.length).toBeLessThan(10);
    await writer.close();
  });

  test("keeps inserts and deletes apart, and starves neither", async () => {
    const writer = await open(1);
    const big = insertOf("x", 60_000);
    const appends = Array.from({ length: 12 }, (_, i) => writer.append({ ...big, requestId: `i${i}` }, noDeadline()));
    const deleted = await writer.append(deleteOf("d"), noDeadline());
    const inserted = await Promise.all(appends);
    expect(deleted.seq).toBeLessThan(inserted.at(-1)!.seq);
    const { records } = await readWholeLog(log);
    expect(records.find(({ seq }) => seq === deleted.seq)?.record.kind).toBe("mut");
    await writer.close();
  });

  test("refuses an entry that no message can hold, naming the limit", async () => {
    const writer = await open(1);
    const huge = insertOf("x", 1_100_000);
    await expect(writer.append(huge, noDeadline())).rejects.toMatchObject({
      kind: "parameter_too_large",
      message: expect.stringContaining(String(log.maxMessageBytes)),
    });
    await writer.append(insertOf("y", 1_000_000), noDeadline());
    await writer.close();
  });

  test("drops what is past its deadline before it is sent", async () => {
    const held = gate();
    const writer = await open(1, { timestamps: (count) => held.passed.then(() => timestamps(count)) });
    const first = writer.append(insertOf("first"), systemClock.monotonic() + 1);
    const late = writer.append(insertOf("late"), systemClock.monotonic() + 2);
    const patient = writer.append(insertOf("patient"), noDeadline());
    const dropped = Promise.all(
      [first, late].map((append) => expect(append).rejects.toMatchObject({ kind: "deadline_exceeded" })),
    );
    await systemClock.sleep(5);
    held.open();
    await dropped;
    await patient;
    expect((await readWholeLog(log)).requestIds).toEqual(["patient"]);
    await writer.close();
  });

  test("says why nothing could be written in time", async () => {
    let isAway: boolean = false;
    const writer = await open(1, {
      timestamps: (count) => (isAway ? Promise.reject(new Error("the coordinator is away")) : timestamps(count)),
    });
    // The writer's own fence is stored by now: an append that waits for that does not ask for timestamps.
    await writer.append(insertOf("first"), noDeadline());
    isAway = true;
    const append = writer.append(insertOf("a"), systemClock.monotonic() + 100);
    await expect(append).rejects.toThrow(/the coordinator is away/);
    await writer.close();
  });

  test("never uses a timestamp that is not above the last one, nor above the floor", async () => {
    const given = [50n, 40n, 50n, 51n, 60n, 71n];
    const writer = await open(1, { timestamps: () => Promise.resolve(given.shift()!) });
    expect((await writer.append(insertOf("a"), noDeadline())).ts).toBe(50n);
    expect((await writer.append(insertOf("b"), noDeadline())).ts).toBe(51n);
    writer.raiseFloor(70n);
    expect((await writer.append(insertOf("c"), noDeadline())).ts).toBe(71n);
    await writer.close();
    const next = await open(2, { timestamps: timestampSource(70n) });
    expect((await next.append(insertOf("d"), noDeadline())).ts).toBe(72n);
    await next.close();
  });
});

describe("an unknown outcome", () => {
  test("of a message that was stored is settled by reading its slot", async () => {
    let lost = 2;
    const losingAcks = logWith({
      async append(channel, kind, ...rest) {
        const outcome = await log.append(channel, kind, ...rest);
        return isRowMessage(kind) && lost-- > 0 ? { kind: "unknown", error: new Error("timeout") } : outcome;
      },
    });
    const writer = await open(1, { log: losingAcks });
    for (const id of ["a", "b", "c"]) await writer.append(insertOf(id), noDeadline());
    expect((await readWholeLog(log)).requestIds).toEqual(["a", "b", "c"]);
    await writer.close();
  });

  test("of a message that arrives late, after its slot was read empty, is stored once", async () => {
    let late: (() => Promise<unknown>) | null = null;
    let isFirst: boolean = true;
    const delaying = logWith({
      async append(channel, kind, ...rest) {
        if (isRowMessage(kind) && isFirst) {
          isFirst = false;
          late = () => log.append(channel, kind, ...rest);
          return { kind: "unknown", error: new Error("timeout") };
        }
        await late?.();
        late = null;
        return log.append(channel, kind, ...rest);
      },
    });
    const writer = await open(1, { log: delaying });
    for (const id of ["a", "b"]) await writer.append(insertOf(id), noDeadline());
    expect((await readWholeLog(log)).requestIds).toEqual(["a", "b"]);
    await writer.close();
  });

  test("after kill -9 and restart of the server loses nothing and stores nothing twice", async () => {
    const writer = await open(1);
    const acked: string[] = [];
    let isDone: boolean = false;
    const appender = async (name: number): Promise<void> => {
      for (let i = 0; !isDone; i++) {
        const id = `${name}.${i}`;
        await writer.append(insertOf(id, 50), noDeadline());
        acked.push(id);
      }
    };
    const appenders = Array.from({ length: 16 }, (_, name) => appender(name));
    for (let round = 0; round < 3; round++) {
      const target = acked.length + 500;
      while (acked.length < target) await systemClock.sleep(5);
      await nats.restart();
    }
    const target = acked.length + 200;
    while (acked.length < target) await systemClock.sleep(5);
    isDone = true;
    await Promise.all(appenders);
    const { requestIds } = await readWholeLog(log);
    expect(new Set(requestIds).size).toBe(requestIds.length);
    expect(new Set(requestIds)).toEqual(new Set(acked));
    await writer.close();
  });
});

describe("taking over", () => {
  test("needs a higher term, and ends the older owner at its next append", async () => {
    const first = await open(5);
    await first.append(insertOf("a"), noDeadline());
    await expect(open(5, { nodeId: "other" })).rejects.toMatchObject({ kind: "channel_fenced" });
    await expect(open(5)).rejects.toMatchObject({ kind: "channel_fenced" });
    await expect(open(4)).rejects.toMatchObject({ kind: "channel_fenced" });
    await first.append(insertOf("b"), noDeadline());

    const second = await open(6);
    const refused = [first.append(insertOf("c"), noDeadline()), first.append(deleteOf("d"), noDeadline())];
    for (const append of refused) await expect(append).rejects.toMatchObject({ kind: "channel_fenced" });
    expect(await first.closed).toMatchObject({ kind: "channel_fenced" });
    await expect(first.append(insertOf("e"), noDeadline())).rejects.toMatchObject({ kind: "channel_fenced" });
    await second.append(insertOf("f"), noDeadline());
    expect((await readWholeLog(log)).requestIds).toEqual(["a", "b", "f"]);
    await second.close();
  });

  test("works when the fence's own outcome is unknown", async () => {
    let isLost: boolean = false;
    const losing = logWith({
      async append(...args) {
        const outcome = await log.append(...args);
        if (isLost) return outcome;
        isLost = true;
        return { kind: "unknown", error: new Error("timeout") };
      },
    });
    const writer = await open(1, { log: losing });
    await writer.append(insertOf("a"), noDeadline());
    expect((await readWholeLog(log)).records.filter(({ record }) => record.index === 0)).toHaveLength(1);
    await writer.close();
  });

  test("gives way to exactly one of many at once", async () => {
    const settled = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => open(3, { nodeId: `n${i}` })));
    const winners = settled.filter((result) => result.status === "fulfilled").map((result) => result.value);
    expect(winners).toHaveLength(1);
    await winners[0]!.append(insertOf("a"), noDeadline());
    await winners[0]!.close();
  });

  test("chains on to what the log ends with, also when the replay saw none of it", async () => {
    const first = await open(1);
    await first.append(insertOf("a"), noDeadline());
    await first.append(deleteOf("b"), noDeadline());
    await first.close();
    const second = await open(2);
    await second.close();
    const third = await open(3);
    await third.append(deleteOf("c"), noDeadline());
    await third.append(insertOf("d"), noDeadline());
    expect((await readWholeLog(log)).requestIds).toEqual(["a", "b", "c", "d"]);
    await third.close();
  });

  test("lets nothing of a zombie in that does not stop at errors", async () => {
    // Goal: no interleaving, whatever an old owner does. Method: owners take over from each other in the middle of load;
    // each goes on for ever, several times at once, with the message that met the fence.
    let isDone: boolean = false;
    let attempts = 0;
    const zombies: Promise<void>[] = [];
    const hammer = async (args: Parameters<LogPort["append"]>): Promise<void> => {
      while (!isDone) {
        attempts++;
        // Of one that was not answered in time, the log tells in the end.
        expect((await log.append(...args)).kind).not.toBe("stored");
      }
    };
    const buggy = logWith({
      async append(...args) {
        const outcome = await log.append(...args);
        if (isRowMessage(args[1]) && outcome.kind === "conflict") {
          for (let i = 0; i < 4; i++) zombies.push(hammer(args));
        }
        return outcome;
      },
    });
    const acked: string[][] = [];
    const load = async (writer: LogWriter, term: number, name: number): Promise<void> => {
      try {
        for (let i = 0; !isDone; i++) {
          await writer.append(insertOf(`${term}.${name}.${i}`, 20), noDeadline());
          acked[term]!.push(`${term}.${name}.${i}`);
        }
      } catch (error) {
        if (!isVdbError(error, "channel_fenced")) throw error;
      }
    };
    const loads: Promise<void>[] = [];
    let writer: LogWriter | null = null;
    for (let term = 0; term < 6; term++) {
      acked.push([]);
      const current = await open(term + 1, { log: buggy });
      writer = current;
      for (let name = 0; name < 8; name++) loads.push(load(current, term, name));
      while (acked[term]!.length < 300) await systemClock.yield();
    }
    isDone = true;
    await Promise.all(loads);
    await Promise.all(zombies);
    expect(attempts).toBeGreaterThan(100);
    // Reading verifies that no sequence is missing, that chains hold and terms do not go back.
    const { requestIds } = await readWholeLog(log);
    expect(new Set(requestIds).size).toBe(requestIds.length);
    expect(new Set(requestIds)).toEqual(new Set(acked.flat()));
    await writer!.close();
  });

  test("ends an owner that was frozen meanwhile at its first append, with nothing of it stored", async () => {
    const child = spawn(
      process.execPath,
      ["--import", "tsx", new URL("../testing/appending-process.ts", import.meta.url).pathname, nats.url, prefix, "1"],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    try {
      const exited = once(child, "exit");
      const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
      const acked: string[] = [];
      for (let i = 0; i < 50; i++) acked.push((await lines.next()).value as string);
      child.kill("SIGSTOP");

      const writer = await open(2, { timestamps: timestampSource(1n << 40n) });
      const mine: string[] = [];
      for (let i = 0; i < 50; i++) {
        await writer.append(insertOf(`second.${i}`), noDeadline());
        mine.push(`second.${i}`);
      }
      child.kill("SIGCONT");
      let end = "";
      for (let line = await lines.next(); line.done !== true; line = await lines.next()) {
        if (line.value.startsWith("closed ")) end = line.value;
        else acked.push(line.value);
      }
      expect(end).toBe("closed channel_fenced");
      await exited;
      await writer.append(insertOf("last"), noDeadline());
      await writer.close();

      const { records } = await readWholeLog(log);
      const after = records.filter(({ seq }) => seq > writer.fenceSeq).flatMap(({ record }) => record.entries);
      expect(after.map((entry) => entry.requestId)).toEqual([...mine, "last"]);
      const before = records.filter(({ seq }) => seq < writer.fenceSeq).flatMap(({ record }) => record.entries);
      // The one in flight when it froze may be stored without its acknowledgement having been printed.
      expect(before.map((entry) => entry.requestId).slice(0, acked.length)).toEqual(acked);
      expect(before.length).toBeLessThanOrEqual(acked.length + 1);
    } finally {
      child.kill("SIGKILL");
    }
  });
});

describe("prove", () => {
  test("holds until somebody else fences", async () => {
    const first = await open(1);
    await first.prove();
    const second = await open(2);
    await expect(first.prove()).rejects.toMatchObject({ kind: "channel_fenced" });
    expect(await first.closed).toMatchObject({ kind: "channel_fenced" });
    await expect(first.append(insertOf("a"), noDeadline())).rejects.toMatchObject({ kind: "channel_fenced" });
    await second.prove();
    await second.close();
  });

  test("shares a read among calls that came before it was sent, not with those after", async () => {
    const held = gate();
    const isSent = gate();
    let reads = 0;
    let isCounting: boolean = false;
    const counting = logWith({
      async readLast(channel, kind) {
        if (isCounting) {
          reads++;
          isSent.open();
          await held.passed;
        }
        return log.readLast(channel, kind);
      },
    });
    const writer = await open(1, { log: counting });
    isCounting = true;
    const early = [writer.prove(), writer.prove(), writer.prove()];
    await isSent.passed;
    expect(reads).toBe(1);
    const later = [writer.prove(), writer.prove()];
    held.open();
    await Promise.all([...early, ...later]);
    expect(reads).toBe(2);
    await writer.close();
  });

  test("does not disown an append that was stored before the new fence", async () => {
    const held = gate();
    const isStored = gate();
    const slowAck = logWith({
      async append(channel, kind, ...rest) {
        const outcome = await log.append(channel, kind, ...rest);
        if (isRowMessage(kind)) {
          isStored.open();
          await held.passed;
        }
        return outcome;
      },
    });
    const first = await open(1, { log: slowAck });
    const append = first.append(insertOf("a"), noDeadline());
    const queued = expect(first.append(deleteOf("b"), noDeadline())).rejects.toMatchObject({ kind: "channel_fenced" });
    await isStored.passed;
    const second = await open(2);
    await expect(first.prove()).rejects.toMatchObject({ kind: "channel_fenced" });
    await queued;
    held.open();
    expect((await append).seq).toBeLessThan(second.fenceSeq);
    expect(await first.closed).toMatchObject({ kind: "channel_fenced" });
    expect((await readWholeLog(log)).requestIds).toEqual(["a"]);
    await second.close();
  });
});

describe("settled", () => {
  test("waits for what may have a timestamp up to the one asked for, and for nothing else", async () => {
    const heldTs = gate();
    const isAsking = gate();
    const heldStore = gate();
    const isSending = gate();
    let isStored: boolean = false;
    const slow = logWith({
      async append(channel, kind, ...rest) {
        if (isRowMessage(kind)) {
          isSending.open();
          await heldStore.passed;
        }
        return log.append(channel, kind, ...rest);
      },
    });
    const writer = await open(1, {
      log: slow,
      timestamps: () => {
        isAsking.open();
        return heldTs.passed.then(() => 100n);
      },
    });
    await writer.settled(1_000n);
    const append = writer.append(insertOf("a"), noDeadline()).then(() => {
      isStored = true;
    });
    await isAsking.passed;
    const early = writer.settled(99n);
    const late = writer.settled(100n).then(() => expect(isStored).toBe(true));
    heldTs.open();
    await early;
    expect(isStored).toBe(false);
    await isSending.passed;
    await writer.settled(99n);
    heldStore.open();
    await Promise.all([append, late]);
    await writer.close();
  });
});

describe("close", () => {
  test("settles what is in flight, and turns away what is not", async () => {
    const held = gate();
    const isSending = gate();
    const slow = logWith({
      async append(channel, kind, ...rest) {
        if (isRowMessage(kind)) {
          isSending.open();
          await held.passed;
        }
        return log.append(channel, kind, ...rest);
      },
    });
    const writer = await open(1, { log: slow });
    const inFlight = writer.append(insertOf("a"), noDeadline());
    await isSending.passed;
    const queued = writer.append(insertOf("b"), noDeadline());
    const closed = writer.close();
    await expect(queued).rejects.toMatchObject({ kind: "channel_not_owned" });
    await expect(writer.append(insertOf("c"), noDeadline())).rejects.toMatchObject({ kind: "channel_not_owned" });
    held.open();
    await inFlight;
    await closed;
    expect(isVdbError(await writer.closed, "channel_not_owned")).toBe(true);
    expect((await readWholeLog(log)).requestIds).toEqual(["a"]);
  });

  test("an aborted writer ends at once, whatever is in flight", async () => {
    const stopping = new AbortController();
    const held = gate();
    const isSending = gate();
    const stuck = logWith({
      async append(channel, kind, ...rest) {
        if (isRowMessage(kind)) {
          isSending.open();
          await held.passed;
        }
        return log.append(channel, kind, ...rest);
      },
    });
    const committed: LogEntry[] = [];
    const writer = await open(1, {
      log: stuck,
      signal: stopping.signal,
      onCommitted: (_seq, _kind, entries) => void committed.push(...entries),
    });
    const inFlight = writer.append(insertOf("a"), noDeadline());
    await isSending.passed;
    stopping.abort();
    await expect(inFlight).rejects.toMatchObject({ kind: "channel_not_owned" });
    expect(isVdbError(await writer.closed, "channel_not_owned")).toBe(true);
    held.open();
    await log.readLast(0, "ctl");
    expect(committed).toEqual([]);
  });
});

describe("a log that is not what it was", () => {
  test("ends the writer as corrupt when acknowledged messages are gone", async () => {
    const writer = await open(1);
    await writer.append(insertOf("a"), noDeadline());
    const shorter = logWith({
      append: () => Promise.resolve({ kind: "conflict" as const }),
      readAt: () => Promise.resolve(null),
      bounds: async (channel) => ({ ...(await log.bounds(channel)), lastSeq: 1 }),
    });
    let isBroken: boolean = false;
    const breaking = new Proxy(log, {
      get: (target, name) => Reflect.get(isBroken ? shorter : target, name),
    });
    const next = await open(2, { log: breaking });
    await next.append(insertOf("b"), noDeadline());
    isBroken = true;
    await expect(next.append(insertOf("c"), noDeadline())).rejects.toMatchObject({ kind: "corrupt" });
    expect(await next.closed).toMatchObject({ kind: "corrupt" });
    await writer.close();
  });
});

describe("the repeated fence", () => {
  test("lets a long term's log be purged, and the next owner still knows its chains", async () => {
    const first = await open(1);
    const deleted = await first.append(deleteOf("d"), noDeadline());
    for (let i = 0; i < 10; i++) await first.append(insertOf(`i${i}`, 1_000_000), noDeadline());
    const newest = await log.readLast(0, "ctl");
    expect(newest!.seq).toBeGreaterThan(deleted.seq + 1);
    await log.purge(0, newest!.seq + 100);
    expect((await log.bounds(0)).firstSeq).toBe(newest!.seq);
    await first.close();

    const second = await open(2);
    const next = await second.append(deleteOf("e"), noDeadline());
    const { records } = await readWholeLog(log);
    expect(records.find(({ seq }) => seq === next.seq)?.record.previousSeq).toBe(deleted.seq);
    await second.close();
  });
});
