import { connect, createServer, type Socket } from "node:net";
import { jetstreamManager } from "@nats-io/jetstream";
import { beforeEach, describe, expect, test } from "vitest";
import { connectNats } from "../nats/connect.ts";
import { systemClock } from "../system-clock.ts";
import {
  deleteOf,
  insertOf,
  noDeadline,
  openResumedWriter,
  readWholeLog,
  timestampSource,
} from "../testing/log-fixture.ts";
import { TEST_REPLICAS } from "../testing/nats-server.ts";
import { useNats } from "../testing/use-nats.ts";
import { createNatsLog, type NatsLog } from "./nats-log.ts";
import type { LogKind, LogPort } from "./port.ts";
import { followDeletes, replay } from "./reader.ts";
import { type ChainLink, encodeEntry, encodeRecord, recordCrc } from "./record.ts";
import type { LogWriter } from "./writer.ts";

const nats = useNats();

let log: NatsLog;
let prefix: string;
let tests = 0;
beforeEach(async () => {
  prefix = `t${++tests}`;
  log = createNatsLog(nats.connections, { prefix, replicas: TEST_REPLICAS, maxBytes: 1 << 30 });
});

const timestamps = timestampSource();
const open = (term: number): Promise<LogWriter> => openResumedWriter({ log, term, timestamps });

/** A stream like those of the log, but one that lets messages be deleted, as damage does. */
async function makeFragileChannel(): Promise<void> {
  const { streams } = await jetstreamManager(nats.connections.control);
  const subjects = ["ins", "mut", "ctl"].map((kind) => `${prefix}.wal.0.${kind}`);
  await streams.add({ name: `${prefix}-wal-0`, subjects });
}

async function lose(seq: number): Promise<void> {
  await (await jetstreamManager(nats.connections.control)).streams.deleteMessage(`${prefix}-wal-0`, seq);
}

/** Stores one record of one entry; what is not given follows what is there. Returns its link. */
async function put(seq: number, kind: LogKind, previous: ChainLink, term = 1): Promise<ChainLink> {
  const entries = [{ ts: BigInt(seq), ...encodeEntry(deleteOf(`r${seq}`)) }];
  const payload = encodeRecord({ channel: 0, kind, term, index: seq, previous }, entries);
  await log.append(0, kind, `m${seq}`, payload, { lastSeq: seq - 1 }, 5_000);
  return { seq, crc: recordCrc(payload) };
}

const NONE: ChainLink = { seq: 0, crc: 0 };

const read = (fromSeq: number, toSeq: number, signal = new AbortController().signal) =>
  replay(log, 0, { fromSeq, toSeq, onRecord: () => undefined, clock: systemClock, signal });

describe("replay", () => {
  test("hands over every record from a sequence to another, and what follows must chain to", async () => {
    await log.ensureChannels(1);
    const writer = await open(1);
    await writer.append(insertOf("a"), noDeadline());
    await writer.append(deleteOf("b"), noDeadline());
    const last = await writer.append(insertOf("c"), noDeadline());
    await writer.close();
    const seqs: number[] = [];
    const state = await replay(log, 0, {
      fromSeq: 3,
      toSeq: last.seq,
      onRecord: (_record, seq) => void seqs.push(seq),
      clock: systemClock,
      signal: new AbortController().signal,
    });
    expect(seqs).toEqual([3, 4, 5]);
    const newest = await log.readAt(0, 5);
    expect(state).toMatchObject({
      lastSeqOfKind: { ins: 5, mut: 4, ctl: 0 },
      lastCrcOfKind: { ins: recordCrc(newest!.payload), ctl: 0 },
      lastTs: last.ts,
      term: 1,
    });
  });

  test("of nothing is nothing", async () => {
    await log.ensureChannels(1);
    expect(await read(1, 0)).toMatchObject({ lastTs: 0n, term: 0 });
  });

  test("finds a message missing in the middle", async () => {
    await makeFragileChannel();
    const writer = await open(1);
    for (const id of ["a", "b", "c", "d"]) await writer.append(insertOf(id), noDeadline());
    await writer.close();
    await lose(4);
    await expect(readWholeLog(log)).rejects.toMatchObject({ kind: "corrupt", details: { channel: 0, seq: 4 } });
  });

  test("finds the last message missing", async () => {
    await makeFragileChannel();
    const writer = await open(1);
    for (const id of ["a", "b"]) await writer.append(insertOf(id), noDeadline());
    await writer.close();
    await lose(4);
    await expect(read(1, 4)).rejects.toMatchObject({ kind: "corrupt", details: { seq: 4 } });
    await expect(read(1, 9)).rejects.toMatchObject({ kind: "corrupt", details: { seq: 9 } });
  });

  test("finds bytes that are not a record", async () => {
    await makeFragileChannel();
    await log.append(0, "ins", "m1", new Uint8Array(100), {}, 5_000);
    await expect(read(1, 1)).rejects.toMatchObject({ kind: "corrupt", details: { seq: 1 } });
  });

  test.each([
    ["a record that points to another predecessor", { seq: 9, crc: 0 }, 1],
    ["a record that points to other bytes of its predecessor", { seq: 1, crc: 1 }, 1],
    ["a term that goes back", null, 4],
    ["a term without a fence", null, 6],
  ])("finds %s", async (_what, previous, term) => {
    await makeFragileChannel();
    const first = await put(1, "ins", NONE, 5);
    await put(2, "ins", previous ?? first, term);
    await expect(read(1, 2)).rejects.toMatchObject({ kind: "corrupt", details: { seq: 2 } });
  });

  test("finds a first record whose predecessor should have been read", async () => {
    await makeFragileChannel();
    await put(1, "mut", NONE);
    await put(2, "ins", { seq: 1, crc: 0 });
    await expect(read(1, 2)).rejects.toMatchObject({ kind: "corrupt", details: { seq: 2 } });
    expect(await read(2, 2)).toMatchObject({ lastSeqOfKind: { ins: 2 } });
  });

  test("tells a purged beginning from a lost one", async () => {
    await log.ensureChannels(1);
    for (let seq = 1, previous = NONE; seq <= 4; seq++) previous = await put(seq, "ins", previous);
    await log.purge(0, 2);
    await expect(read(2, 4)).rejects.toMatchObject({ kind: "log_truncated" });
    expect(await read(3, 4)).toMatchObject({ lastSeqOfKind: { ins: 4 } });
  });

  test("stops when it is told to", async () => {
    await log.ensureChannels(1);
    await put(1, "ins", NONE);
    await put(2, "ins", { seq: 1, crc: 0 });
    const stopping = new AbortController();
    const replayed = replay(log, 0, {
      fromSeq: 1,
      toSeq: 2,
      onRecord: () => {
        stopping.abort();
        return systemClock.sleep(0);
      },
      clock: systemClock,
      signal: stopping.signal,
    });
    await expect(replayed).rejects.toMatchObject({ kind: "canceled" });
  });
});

/** A way to the port that can be cut. */
async function relay(port: number) {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((socket) => {
    if (isCut) return void socket.destroy();
    const onward = connect(port, "127.0.0.1");
    socket.pipe(onward).pipe(socket);
    for (const end of [socket, onward]) sockets.add(end.on("error", () => undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  return {
    ...{ port: (server.address() as { port: number }).port, cut },
    mend: () => {
      isCut = false;
    },
    [Symbol.asyncDispose]: async () => {
      cut();
      server.close();
    },
  };
}

/** Follows, and tells what it got. */
async function follow(fromSeq: number, ofLog: LogPort = log) {
  const requestIds: string[] = [];
  const waiters: { id: string; done: () => void }[] = [];
  let fail: (error: Error) => void = () => undefined;
  const failure = new Promise<Error>((resolve) => {
    fail = resolve;
  });
  const tail = await followDeletes(ofLog, 0, {
    fromSeq,
    onRecord: (record) => {
      for (const { requestId } of record.entries) requestIds.push(requestId);
      for (const { id, done } of waiters) if (requestIds.includes(id)) done();
    },
    onError: fail,
    clock: systemClock,
  });
  const reached = (id: string): Promise<void> =>
    new Promise((done) => {
      if (requestIds.includes(id)) done();
      else waiters.push({ id, done });
    });
  return { tail, requestIds, failure, reached };
}

describe("followDeletes", () => {
  test("gets the deletes alone, those that are there and those that come, over owners", async () => {
    await log.ensureChannels(1);
    const first = await open(1);
    await first.append(deleteOf("a"), noDeadline());
    await first.append(insertOf("b"), noDeadline());
    const followed = await follow(1);
    await using tail = followed.tail;
    await first.append(deleteOf("c"), noDeadline());
    await first.close();
    const second = await open(2);
    await second.append(insertOf("d"), noDeadline());
    const last = await second.append(deleteOf("e"), noDeadline());
    await followed.reached("e");
    expect(followed.requestIds).toEqual(["a", "c", "e"]);
    expect(tail.position).toBe(last.seq);
    await second.close();
  });

  test("from beyond the first delete on needs not have read it", async () => {
    await log.ensureChannels(1);
    const writer = await open(1);
    const { seq } = await writer.append(deleteOf("a"), noDeadline());
    const followed = await follow(seq + 1);
    await using _tail = followed.tail;
    await writer.append(deleteOf("b"), noDeadline());
    await followed.reached("b");
    expect(followed.requestIds).toEqual(["b"]);
    await writer.close();
  });

  test("finds a delete missing", async () => {
    await makeFragileChannel();
    const writer = await open(1);
    await writer.append(deleteOf("a"), noDeadline());
    const { seq } = await writer.append(deleteOf("b"), noDeadline());
    await writer.append(deleteOf("c"), noDeadline());
    await writer.close();
    await lose(seq);
    const followed = await follow(1);
    await using _tail = followed.tail;
    expect(await followed.failure).toMatchObject({ kind: "corrupt", details: { seq: seq + 1 } });
    expect(followed.requestIds).toEqual(["a"]);
  });

  test("is told when deletes were purged before it read them, and not bothered when none were", async () => {
    await log.ensureChannels(1);
    const first = await open(1);
    const { seq } = await first.append(deleteOf("a"), noDeadline());
    const { seq: insertSeq } = await first.append(insertOf("b"), noDeadline());
    await first.close();
    const second = await open(2);
    // The second fence of a term knows the chains; it is in place once something follows it.
    await second.append(insertOf("c"), noDeadline());
    await log.purge(0, insertSeq);
    expect((await log.bounds(0)).firstSeq).toBe(insertSeq + 1);
    await expect(follow(seq)).rejects.toMatchObject({ kind: "log_truncated" });
    const followed = await follow(seq + 1);
    await using _tail = followed.tail;
    await second.append(deleteOf("d"), noDeadline());
    await followed.reached("d");
    await second.close();
  });

  test("is told when deletes were purged while it was cut off, though none comes afterwards", async () => {
    await log.ensureChannels(1);
    const first = await open(1);
    await first.append(deleteOf("a"), noDeadline());
    await using wire = await relay(Number(new URL(nats.url).port));
    const connections = await connectNats({ servers: `nats://127.0.0.1:${wire.port}`, name: "cut off" });
    await using _close = { [Symbol.asyncDispose]: () => connections.close() };
    const followed = await follow(
      1,
      createNatsLog(connections, { prefix, replicas: TEST_REPLICAS, maxBytes: 1 << 30 }),
    );
    await using _tail = followed.tail;
    await followed.reached("a");
    wire.cut();
    await first.append(deleteOf("b"), noDeadline());
    const { seq } = await first.append(insertOf("c"), noDeadline());
    await first.close();
    const second = await open(2);
    await second.append(insertOf("d"), noDeadline());
    await log.purge(0, seq);
    expect((await log.bounds(0)).firstSeq).toBe(seq + 1);
    wire.mend();
    expect(await followed.failure).toMatchObject({ kind: "log_truncated" });
    expect(followed.requestIds).toEqual(["a"]);
    await second.close();
  });

  test("is told of purged deletes by the first one that is left", async () => {
    await log.ensureChannels(1);
    let previous = NONE;
    for (let seq = 1; seq <= 3; seq++) previous = await put(seq, "mut", previous);
    await log.purge(0, 2);
    const fence = await log.readLast(0, "ctl");
    expect(fence).toBeNull();
    await expect(follow(1)).rejects.toMatchObject({ kind: "log_truncated" });
  });

  test("hands the error of its handler on", async () => {
    await log.ensureChannels(1);
    const writer = await open(1);
    await writer.append(deleteOf("a"), noDeadline());
    const failure = new Promise<Error>((resolve, reject) => {
      followDeletes(log, 0, {
        fromSeq: 1,
        onRecord: () => {
          throw new Error("enough");
        },
        onError: resolve,
        clock: systemClock,
      }).catch(reject);
    });
    expect((await failure).message).toBe("enough");
    await writer.close();
  });
});
