/** What meets while deletes are followed: shards that join in the middle of a record, tails that end while others begin. */
import { beforeEach, expect, it } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { LogMessage } from "../../runtime/log/port.ts";
import { encodeEntry, encodeRecord, recordCrc } from "../../runtime/log/record.ts";
import type { MetaCache } from "../../runtime/meta/cache.ts";
import { createCatalog } from "../../runtime/meta/catalog.ts";
import { type ManifestDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import { keysOf } from "../../runtime/segment/keys.ts";
import { Segment } from "../../runtime/segment/segment.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { DeleteFollowers } from "./follow-deletes.ts";
import type { FollowingSegment } from "./shard-deletes.ts";

/** Every piece of work waits for the event loop, and that for the test when it says so. */
class GatedClock extends ManualClock {
  gate: Promise<void> = Promise.resolve();
  open: () => void = () => undefined;
  #turns = 0;

  override monotonic(): number {
    return super.now() + ++this.#turns * 10;
  }

  override async yield(): Promise<void> {
    await this.gate;
    await super.yield();
  }

  /** The event loop itself goes on. */
  override async settle(): Promise<void> {
    for (let i = 0; i < 10; i++) await super.yield();
  }

  shut(): void {
    this.gate = new Promise((resolve) => {
      this.open = resolve;
    });
  }
}

interface FakeTail {
  fromSeq: number;
  fail: (error: Error) => void;
}

/** A log of delete records, each delivered when the one before has been handled. */
class FakeLog {
  readonly messages: LogMessage[] = [];
  readonly tails: FakeTail[] = [];
  #wake = new Set<() => void>();

  appendRotten(): number {
    const seq = this.messages.length + 1;
    this.messages.push({ seq, kind: "mut", messageId: "", payload: new Uint8Array(100) });
    for (const wake of this.#wake) wake();
    return seq;
  }

  append(...deletes: { vchannel: string; key: bigint }[]): number {
    const before = this.messages.at(-1);
    const previous = { seq: before?.seq ?? 0, crc: before === undefined ? 0 : recordCrc(before.payload) };
    const seq = this.messages.length + 1;
    const entries = deletes.map(({ vchannel, key }, i) => {
      const body = { vchannel, requestId: "", operation: "delete" as const, partitionId: 1, schemaVersion: 1 };
      return { ts: BigInt(seq * 100 + i), ...encodeEntry({ ...body, keys: keysOf("int64", [key]) }) };
    });
    const payload = encodeRecord({ channel: 0, kind: "mut", term: 1, index: seq, previous }, entries);
    this.messages.push({ seq, kind: "mut", messageId: "", payload });
    for (const wake of this.#wake) wake();
    return seq;
  }

  bounds = async () => ({ firstSeq: 1, lastSeq: this.messages.length });
  readLast = async () => this.messages.at(-1) ?? null;

  tail = async (_: number, __: unknown, fromSeq: number, handler: (message: LogMessage) => unknown) => {
    let fail: (error: Error) => void = () => undefined;
    const failed = new Promise<never>((_resolve, reject) => {
      fail = reject;
    });
    failed.catch(() => undefined);
    let isStopped = false;
    let wake = () => {};
    const onAppend = () => wake();
    this.#wake.add(onAppend);
    const pumped = (async () => {
      for (let next = fromSeq; !isStopped; ) {
        const message = this.messages[next - 1];
        if (message === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        await handler(message);
        next++;
      }
    })();
    pumped.catch(fail);
    this.tails.push({ fromSeq, fail });
    return {
      failed,
      [Symbol.asyncDispose]: async () => {
        isStopped = true;
        this.#wake.delete(onAppend);
        wake();
        await pumped.catch(() => undefined);
      },
    };
  };
}

let clock: GatedClock;
let log: FakeLog;
let followers: DeleteFollowers;
let docs: Map<string, unknown>;

beforeEach(() => {
  clock = new GatedClock();
  log = new FakeLog();
  docs = new Map();
  for (const collectionId of [1, 2]) {
    const vchannel = `${collectionId}v0`;
    const manifest: ManifestDoc = {
      ...{ collectionId, vchannel, pchannel: 0, segments: [], staged: [], flushed: {}, flushedSeq: 0 },
      ...{ deltaSeq: 0, deltas: [] },
    };
    docs.set(metaKeys.manifest(vchannel), manifest);
    docs.set(metaKeys.collection(collectionId), { schema: { fields: [{ fieldId: 100, isPrimary: true }] } });
  }
  const cache = {
    get: (key: string) => docs.get(key),
    subscribe: () => ({ [Symbol.dispose]: () => undefined }),
    sync: async () => undefined,
  };
  const blobs = {
    get: async () => {
      throw new VdbError("corrupt", "it is not what it was");
    },
  };
  const ctx = {
    ...{ log, clock, blobs, catalog: createCatalog(cache as unknown as MetaCache) },
    logger: { warn: () => undefined, error: () => undefined },
    signal: new AbortController().signal,
    scope: { use: <T>(resource: T) => resource, spawn: (_: string, task: () => Promise<void>) => void task() },
  } as unknown as ActorContext;
  followers = new DeleteFollowers(ctx);
});

function following(): FollowingSegment {
  const segment = new Segment({ segmentId: "s", partitionId: 1, keyFieldId: 100, keyKind: "int64" });
  segment.append({ rowCount: 2, columns: { 100: keysOf("int64", [7n, 8n]) } }, 1n);
  return { segment, deletesSeq: 0, refresh: async () => undefined, lost: () => undefined };
}

const shardOf = (collectionId: number) => ({ collectionId, vchannel: `${collectionId}v0`, pchannel: 0 });

it("brings a shard that joins while a record is being applied to others the deletes that it has there", async () => {
  const [first, second] = [following(), following()];
  await followers.add(shardOf(1), first);
  clock.shut();
  const seq = log.append({ vchannel: "2v0", key: 7n }, { vchannel: "1v0", key: 8n });
  await clock.settle();
  const joined = followers.add(shardOf(2), second);
  // It has looked where the follower is by now.
  await clock.settle();
  clock.open();
  await joined;
  await followers.applied(0, seq, Number.POSITIVE_INFINITY);
  expect([...first.segment.deletedRows().rows]).toEqual([1]);
  expect([...second.segment.deletedRows().rows]).toEqual([0]);
  await followers.close();
});

it("follows again when what it had begun again with ends, too, before all segments have joined", async () => {
  const one = following();
  await followers.add(shardOf(1), one);
  const seq = log.append({ vchannel: "1v0", key: 7n });
  await followers.applied(0, seq, Number.POSITIVE_INFINITY);
  log.tails[0]!.fail(new VdbError("unavailable", "the connection was lost"));
  await clock.settle();
  clock.shut();
  await clock.advance(1_000);
  expect(log.tails).toHaveLength(2);
  log.tails[1]!.fail(new VdbError("log_truncated", "it was cut"));
  clock.open();
  await clock.advance(2_000);
  expect(log.tails).toHaveLength(3);
  const last = log.append({ vchannel: "1v0", key: 8n });
  await followers.applied(0, last, Number.POSITIVE_INFINITY);
  expect([...one.segment.deletedRows().rows]).toEqual([0, 1]);
  await followers.close();
});

it("has the log kept for it as long as it reads it, and not behind a message that it cannot read", async () => {
  const one = following();
  await followers.add(shardOf(1), one);
  const seq = log.append({ vchannel: "1v0", key: 7n });
  await followers.applied(0, seq, Number.POSITIVE_INFINITY);
  expect(followers.positions()).toEqual({ 0: seq });
  log.appendRotten();
  await clock.settle();
  await expect(followers.applied(0, seq, Number.POSITIVE_INFINITY)).rejects.toMatchObject({ kind: "corrupt" });
  expect(followers.positions()).toEqual({});
  await followers.close();
});

it("goes on for the other shards of a channel where a delta is damaged, and for the other segments where one's own deletes are", async () => {
  const lost: string[] = [];
  const named = (name: string) => ({ ...following(), lost: () => void lost.push(name) });
  const [first, second] = [named("of a damaged delta"), named("sound")];
  const third = { ...named("of damaged deletes"), refresh: () => Promise.reject(new VdbError("corrupt", "damaged")) };
  await followers.add(shardOf(1), first);
  await followers.add(shardOf(2), third);
  await followers.add(shardOf(2), second);
  const change = (collectionId: number, changed: object) => {
    const key = metaKeys.manifest(`${collectionId}v0`);
    docs.set(key, { ...(docs.get(key) as ManifestDoc), ...changed });
  };
  change(1, { deltas: [{ object: { name: "delta/1v0/1/0" }, throughSeq: 1 }] });
  // Nothing up to here is kept: each segment is to read its own.
  change(2, { deltaSeq: 1 });
  second.refresh = async () => {
    second.deletesSeq = 1;
  };
  log.tails[0]!.fail(new VdbError("log_truncated", "it was cut"));
  await clock.settle();
  await clock.advance(1_000);
  expect(new Set(lost)).toEqual(new Set(["of a damaged delta", "of damaged deletes"]));
  log.append({ vchannel: "1v0", key: 7n }, { vchannel: "2v0", key: 7n });
  const seq = log.append({ vchannel: "2v0", key: 8n });
  await followers.applied(0, seq, Number.POSITIVE_INFINITY);
  expect([...second.segment.deletedRows().rows]).toEqual([1]);
  await followers.close();
});
