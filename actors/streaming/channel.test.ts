/** Channels over the simulator's log and a catalogue of given documents. */
import { afterAll, expect, it } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import type { LogPort } from "../../runtime/log/port.ts";
import type { LogOperation } from "../../runtime/log/record.ts";
import { createLogger } from "../../runtime/logger.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import type { AppendRows } from "../../runtime/protocol/streaming.ts";
import { keysOf } from "../../runtime/segment/keys.ts";
import { driveLive } from "../../runtime/sim/live.ts";
import { Process, processClock } from "../../runtime/sim/process.ts";
import { Scheduler } from "../../runtime/sim/scheduler.ts";
import { SimServer } from "../../runtime/sim/server.ts";
import { systemRandom } from "../../runtime/system-clock.ts";
import { catalogOfDocs } from "../../runtime/testing/catalog-of-docs.ts";
import { timestampOfMs } from "../../runtime/timestamps.ts";
import { Channel } from "./channel.ts";
import { COLLECTION, EMPTY_MANIFEST, NEVER, VCHANNEL } from "./shard-world.ts";

const scheduler = new Scheduler(1);
const driving = driveLive(scheduler);
afterAll(() => driving[Symbol.dispose]());

/** One channel with one shard, and its owners one after the other. */
class World {
  readonly log: LogPort;
  readonly #catalog = catalogOfDocs();
  readonly #ctx: ActorContext;
  #term = 0;
  #requests = 0;
  /** Turns that were waited for. */
  yields = 0;
  /** The next timestamp that the coordinator gives. */
  nextTs: bigint;

  constructor() {
    const server = new SimServer(scheduler, {
      ...{ walChannels: 1, logBytesMax: 64 << 20, messageBytesMax: 1 << 20, isReplicated: false, haste: 1 },
    });
    const process = new Process(scheduler, "owner");
    const clock = processClock(process);
    const { log, blobs } = server.connect(process, clock, new Map());
    this.log = log;
    this.nextTs = timestampOfMs(clock.now());
    const { docs, catalog, apply } = this.#catalog;
    docs.set(metaKeys.collection(1), COLLECTION);
    docs.set(metaKeys.manifest(VCHANNEL), EMPTY_MANIFEST);
    const cache = {
      sync: async () => undefined,
      waitFor: async () => undefined,
      subscribe: () => ({ [Symbol.dispose]: () => undefined }),
    };
    Object.assign(catalog.cache, cache);
    const yieldNow = () => {
      this.yields++;
      return clock.yield();
    };
    this.#ctx = {
      nodeId: "node",
      log,
      clock: { ...clock, yield: yieldNow },
      catalog,
      random: systemRandom,
      signal: new AbortController().signal,
      scope: { spawn: () => undefined },
      logger: createLogger({ level: "silent" }),
      config: {
        cluster: { walBytesMax: 1 << 30 },
        streaming: { ...NEVER, deleteRows: 1e9, deleteBytes: 1e9, replayBytesMax: 1 << 30 },
      },
      bus: { ask: async (_operation: unknown, _params: unknown, { count }: { count: number }) => this.#take(count) },
      blobs,
      meta: {
        commit: async (ops: MetaOp[]) => {
          apply(ops);
          return 1;
        },
      },
    } as unknown as ActorContext;
  }

  /** The next owner, open. */
  async takeOver(): Promise<Channel> {
    const term = ++this.#term;
    this.#catalog.docs.set(metaKeys.channel(0), { nodeId: "node", term });
    const rows = { insert: 0, upsert: 0, delete: 0 };
    const channel = new Channel(this.#ctx, { pchannel: 0, term, tally: { rows, flushes: { done: 0, failed: 0 } } });
    await channel.open(new AbortController().signal);
    return channel;
  }

  async write(
    channel: Channel,
    operation: LogOperation,
    keys: readonly number[],
  ): Promise<{ seq: number; ts: bigint }> {
    const column = keysOf("int64", keys);
    const batch = { rowCount: keys.length, columns: { 100: column } };
    const request = {
      ...{ collectionId: 1, vchannel: VCHANNEL, requestId: `r${++this.#requests}`, partitionId: 1, schemaVersion: 1 },
      ...(operation === "delete" ? { operation, keys: column } : { operation, batch }),
    };
    return channel.append(request as AppendRows, Number.POSITIVE_INFINITY);
  }

  #take(count: number): { first: bigint } {
    const first = this.nextTs;
    this.nextTs += BigInt(count);
    return { first };
  }
}

it("takes turns for a record of many small deletes, each of which is found at once", async () => {
  const world = new World();
  const channel = await world.takeOver();
  for (let segment = 0; segment < 40; segment++) {
    await world.write(channel, "insert", [segment, segment + 1]);
    channel.shards.get(VCHANNEL)!.sealAll();
  }
  const before = world.yields;
  // The first one goes alone, and all others together.
  await Promise.all(Array.from({ length: 400 }, (_, key) => world.write(channel, "delete", [key])));
  expect(world.yields).toBeGreaterThan(before);
  expect(channel.unflushedRows()).toBe(0);
  await channel.close();
});

it("knows of the newest delete when it has been cut off the log", async () => {
  const world = new World();
  const first = await world.takeOver();
  await world.write(first, "insert", [1, 2]);
  const deleted = await world.write(first, "delete", [1]);
  await first.flush(VCHANNEL);
  await first.close();

  // Opened behind the checkpoint: the delete is in the log, and not replayed.
  const second = await world.takeOver();
  expect(second.mutSeq).toBe(deleted.seq);
  await world.write(second, "insert", [3]);
  await second.flush(VCHANNEL);
  await second.close();
  await world.log.purge(0, deleted.seq);
  expect(await world.log.readLast(0, "mut")).toBeNull();

  const third = await world.takeOver();
  expect(third.mutSeq).toBe(deleted.seq);
  await third.close();
});

it("reads at no timestamp of a deposed coordinator that is below the newest write", async () => {
  const world = new World();
  const first = await world.takeOver();
  await world.write(first, "insert", [1]);
  const deposedTs = world.nextTs++;
  const deleted = await world.write(first, "delete", [1]);
  await first.flush(VCHANNEL);
  await first.close();

  world.nextTs = deposedTs;
  const second = await world.takeOver();
  expect(second.lastTs).toBeGreaterThan(deleted.ts);
  await second.close();
});
