/** Writes and asks of shards, on a bus of one process: nodes that are served answer, others are dead and never do. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ActorContext } from "../../../runtime/actor.ts";
import { Bus, type Call } from "../../../runtime/bus/bus.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { createLogger } from "../../../runtime/logger.ts";
import type { MetaCache } from "../../../runtime/meta/cache.ts";
import { collectionNotFound, createCatalog } from "../../../runtime/meta/catalog.ts";
import { type CollectionDoc, metaKeys } from "../../../runtime/protocol/catalog.ts";
import { type AppendRows, appendRows } from "../../../runtime/protocol/streaming.ts";
import type { CollectionSchema } from "../../../runtime/schema.ts";
import type { ColumnBatch } from "../../../runtime/segment/column.ts";
import { columnRows } from "../../../runtime/segment/gather.ts";
import { type KeyColumn, keyAt, keysOf, shardOfKey } from "../../../runtime/segment/keys.ts";
import { systemClock, systemRandom } from "../../../runtime/system-clock.ts";
import { DEAD_WIRE } from "../../../runtime/testing/dead-wire.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { routeWrite, type Write } from "./route-writes.ts";

const KEY_FIELD = 100;
const VALUE_FIELD = 101;

class World {
  readonly appended: (AppendRows & { nodeId: string })[] = [];
  readonly #docs = new Map<string, unknown>();
  readonly #subscribers = new Set<() => void>();
  readonly #bus: Bus;
  readonly actor: ActorContext;
  /** Whether nodes answer what they take. */
  answers = true;

  /** maxMessageBytes: of the log. */
  constructor({ maxMessageBytes = 8 << 20, clock = systemClock as Clock } = {}) {
    this.#bus = new Bus({ transport: DEAD_WIRE, clock, logger: createLogger({ level: "silent" }), prefix: "test" });
    const cache = {
      get: (key: string) => this.#docs.get(key),
      subscribe: (_: string, callback: () => void) => {
        this.#subscribers.add(callback);
        return { [Symbol.dispose]: () => this.#subscribers.delete(callback) };
      },
    } as unknown as MetaCache;
    this.actor = {
      bus: this.#bus,
      log: { maxMessageBytes },
      catalog: createCatalog(cache),
      clock,
      random: systemRandom,
    } as unknown as ActorContext;
  }

  get subscriberCount(): number {
    return this.#subscribers.size;
  }

  put(key: string, doc: unknown): void {
    if (doc === undefined) this.#docs.delete(key);
    else this.#docs.set(key, doc);
    for (const callback of this.#subscribers) callback();
  }

  assign(pchannel: number, nodeId: string): void {
    this.put(metaKeys.channel(pchannel), { nodeId, term: 1 });
  }

  /** A node that takes appends, after `refusals` were thrown. */
  serve(nodeId: string, refusals: VdbError[] = []): void {
    const handler = (request: AppendRows) => {
      this.appended.push({ ...request, nodeId });
      const refusal = refusals.shift();
      if (refusal !== undefined) throw refusal;
      if (!this.answers) return new Promise<never>(() => undefined);
      return { ts: BigInt(this.appended.length), seq: this.appended.length };
    };
    this.#bus.serve(appendRows, { nodeId }, handler, { concurrency: 100, capacity: 100 });
  }
}

function collectionOf(shardCount: number): CollectionDoc {
  const base = { description: "", isPrimary: false, nullable: false, isDynamic: false };
  const schema: CollectionSchema = {
    version: 3,
    fields: [
      { ...base, fieldId: KEY_FIELD, name: "id", type: "Int64", isPrimary: true },
      { ...base, fieldId: VALUE_FIELD, name: "x", type: "Int64" },
    ],
    autoId: false,
    enableDynamicField: false,
  };
  return {
    collectionId: 7,
    database: "default",
    name: "c",
    description: "",
    schema,
    partitions: [{ partitionId: 8, name: "_default" }],
    shards: Array.from({ length: shardCount }, (_, n) => ({ vchannel: `7v${n}`, pchannel: n })),
    indexes: [],
    consistencyLevel: "Bounded",
    properties: {},
    createdAt: 1n,
  };
}

/** Rows whose value tells their key. */
function batchOf(keys: readonly number[]): ColumnBatch {
  const values = BigInt64Array.from(keys, (key) => BigInt(key) * 10n);
  return {
    rowCount: keys.length,
    columns: { [KEY_FIELD]: keysOf("int64", keys), [VALUE_FIELD]: { kind: "int64", values } },
  };
}

function worldOf(
  shardCount: number,
  options?: ConstructorParameters<typeof World>[0],
): { world: World; collection: CollectionDoc } {
  const world = new World(options);
  const collection = collectionOf(shardCount);
  world.put(metaKeys.collection(7), collection);
  world.serve("node");
  for (const { pchannel } of collection.shards) world.assign(pchannel, "node");
  return { world, collection };
}

function within(ms: number): Call {
  return { deadline: systemClock.monotonic() + ms, signal: undefined };
}

const INSERT: Omit<Write, "batch"> = { requestId: "request", partitionId: 8, operation: "insert" };

function keysIn(column: KeyColumn | undefined): number[] {
  return column === undefined
    ? []
    : Array.from({ length: columnRows(column) }, (_, row) => keyAt(column, row) as number);
}

function batchKeys(part: AppendRows): number[] {
  return keysIn(part.batch?.columns[KEY_FIELD] as KeyColumn | undefined);
}

it("says that vectors are null, also where the whole column is left out", async () => {
  const { world, collection } = worldOf(1);
  const vectorsOf = (valid?: Uint32Array) => {
    const batch = batchOf([1, 2]);
    const vectors = {
      kind: "floatVector",
      dimension: 1,
      values: Float32Array.of(1, 2),
      ...(valid && { valid }),
    } as const;
    return { ...batch, columns: { ...batch.columns, 102: vectors } };
  };
  for (const valid of [undefined, Uint32Array.of(0b01), Uint32Array.of(0b00)]) {
    await routeWrite(world.actor, collection, { ...INSERT, batch: vectorsOf(valid) }, within(5_000));
  }
  const told = world.appended.map(({ hasNullVectors, batch }) => [hasNullVectors, 102 in batch!.columns]);
  expect(told).toEqual([
    [undefined, true],
    [true, true],
    [true, false],
  ]);
});

describe("routeWrite", () => {
  it("sends every row once, whole, to the shard of its key", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer(), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 5 }),
        async (keys, shardCount) => {
          const { world, collection } = worldOf(shardCount);
          await routeWrite(world.actor, collection, { ...INSERT, batch: batchOf(keys) }, within(60_000));
          const column = keysOf("int64", keys);
          for (const part of world.appended) {
            const shard = collection.shards.findIndex(({ vchannel }) => vchannel === part.vchannel);
            const expected = keys.filter((_, row) => shardOfKey(column, row, shardCount) === shard);
            expect(batchKeys(part)).toEqual(expected);
            expect(part.batch).toEqual(batchOf(expected));
            expect(part).toMatchObject({ collectionId: 7, requestId: "request", partitionId: 8, schemaVersion: 3 });
          }
          expect(world.appended.flatMap(batchKeys).toSorted()).toEqual(keys.toSorted());
        },
      ),
    );
  });

  it("answers with the newest part's timestamp", async () => {
    const { world, collection } = worldOf(3);
    const keys = Array.from({ length: 100 }, (_, i) => i);
    const ts = await routeWrite(world.actor, collection, { ...INSERT, batch: batchOf(keys) }, within(60_000));
    expect(world.appended.length).toBe(3);
    expect(ts).toBe(3n);
  });

  it("deletes old keys where they are and adds new rows where they belong, never one by the other", async () => {
    const old = Array.from({ length: 20 }, (_, i) => i);
    await fc.assert(
      fc.asyncProperty(fc.subarray(old, { minLength: 1 }), fc.integer({ min: 1, max: 5 }), async (deleted, shards) => {
        const { world, collection } = worldOf(shards);
        const added = deleted.map((key) => key + 1000);
        const write = {
          ...INSERT,
          operation: "upsert" as const,
          batch: batchOf(added),
          keys: keysOf("int64", deleted),
        };
        await routeWrite(world.actor, collection, write, within(60_000));
        for (const part of world.appended) {
          const isBoth = part.batch !== undefined && part.keys !== undefined;
          expect(part.operation).toBe(isBoth ? "upsert" : part.batch === undefined ? "delete" : "insert");
        }
        expect(world.appended.flatMap(({ keys }) => keysIn(keys)).toSorted()).toEqual(deleted.toSorted());
        expect(world.appended.flatMap(batchKeys).toSorted()).toEqual(added.toSorted());
      }),
    );
  });

  it.each([
    [8 << 20, 1_000_000],
    [1 << 20, 130_000],
  ])(
    "refuses what does not fit a log message of %d bytes, and has sent nothing then",
    async (maxMessageBytes, rows) => {
      const { world, collection } = worldOf(2, { maxMessageBytes });
      // Rows of both shards, and those of the second alone are too many.
      const column = keysOf(
        "int64",
        Array.from({ length: 2 * rows }, (_, i) => i),
      );
      const all = keysIn(column);
      const isOf = (shard: number) => (key: number) => shardOfKey(column, key, 2) === shard;
      const keys = [...all.filter(isOf(0)).slice(0, 10), ...all.filter(isOf(1)).slice(0, rows / 2)];
      await expect(
        routeWrite(world.actor, collection, { ...INSERT, batch: batchOf(keys) }, within(60_000)),
      ).rejects.toMatchObject({ kind: "parameter_too_large", code: 1102 });
      expect(world.appended).toEqual([]);
    },
  );
});

describe("asking a shard's owner", () => {
  const write: Write = { ...INSERT, batch: batchOf([1, 2]) };

  it("sends the same request again when it was refused for a while", async () => {
    const world = new World();
    const collection = collectionOf(1);
    world.put(metaKeys.collection(7), collection);
    world.assign(0, "busy");
    world.serve("busy", [new VdbError("rate_limited", "slow down"), new VdbError("channel_not_owned", "not open")]);
    await routeWrite(world.actor, collection, write, within(60_000));
    expect(world.appended.length).toBe(3);
    expect(new Set(world.appended.map(({ requestId }) => requestId))).toEqual(new Set(["request"]));
    expect(world.subscriberCount).toBe(0);
  });

  it("follows a channel from an owner that never answers to its successor", async () => {
    const { world, collection } = worldOf(1);
    world.assign(0, "dead");
    const writing = routeWrite(world.actor, collection, write, within(60_000));
    await systemClock.yield();
    world.assign(0, "node");
    await writing;
    expect(world.appended.map(({ nodeId }) => nodeId)).toEqual(["node"]);
  });

  it("repeats a write while its owner still knows it, however long the caller waits", async () => {
    const clock = new ManualClock();
    const { world, collection } = worldOf(1, { clock });
    world.answers = false;
    const writing = routeWrite(world.actor, collection, write, { deadline: 300_000, signal: undefined });
    await clock.advance(29_000);
    expect(world.appended).toHaveLength(1);
    world.answers = true;
    await clock.advance(2_000);
    await writing;
    expect(world.appended.map(({ requestId }) => requestId)).toEqual(["request", "request"]);
  });

  it("waits for an owner where there is none yet", async () => {
    const { world, collection } = worldOf(1);
    world.put(metaKeys.channel(0), undefined);
    const writing = routeWrite(world.actor, collection, write, within(60_000));
    await systemClock.yield();
    world.assign(0, "node");
    await writing;
    expect(world.appended.length).toBe(1);
  });

  it("gives up at the deadline with what went wrong last", async () => {
    const { world, collection } = worldOf(1);
    world.put(metaKeys.channel(0), undefined);
    await expect(routeWrite(world.actor, collection, write, within(100))).rejects.toMatchObject({ kind: "not_ready" });
  });

  it("does not send again what waiting does not mend", async () => {
    const world = new World();
    const collection = collectionOf(1);
    world.put(metaKeys.collection(7), collection);
    world.assign(0, "full");
    world.serve("full", [new VdbError("memory_limit", "no more room")]);
    await expect(routeWrite(world.actor, collection, write, within(60_000))).rejects.toMatchObject({ code: 3 });
    expect(world.appended.length).toBe(1);
  });

  it("says that the collection is gone when it was dropped meanwhile", async () => {
    const { world, collection } = worldOf(1);
    world.put(metaKeys.channel(0), undefined);
    world.put(metaKeys.collection(7), undefined);
    await expect(routeWrite(world.actor, collection, write, within(60_000))).rejects.toMatchObject({ code: 100 });
  });

  describe("whose collection is called otherwise by now", () => {
    const both: Write = { ...INSERT, batch: batchOf(Array.from({ length: 20 }, (_, key) => key)) };
    const NAME = { database: "default", name: "c" };
    const byAnotherName = () => collectionNotFound("default", "c");

    /** A shard on each of two nodes, which refuse so often. */
    function worldThatRefuses(first: VdbError[], second: VdbError[]) {
      const { world, collection } = worldOf(2);
      world.assign(0, "first");
      world.assign(1, "second");
      world.serve("first", first);
      world.serve("second", second);
      return { world, collection };
    }

    it("refuses a write that no owner has taken, which is then for what has the name now", async () => {
      const { world, collection } = worldThatRefuses([byAnotherName()], [byAnotherName()]);
      const writing = routeWrite(world.actor, collection, both, within(60_000));
      await expect(writing).rejects.toMatchObject({ kind: "collection_not_found" });
      expect(world.appended.map(({ called }) => called)).toEqual([NAME, NAME]);
    });

    it("brings a write to its end that some owner has taken, whatever the collection is called", async () => {
      const { world, collection } = worldThatRefuses([], [byAnotherName()]);
      await routeWrite(world.actor, collection, both, within(60_000));
      expect(world.appended.map(({ nodeId, requestId, called }) => [nodeId, requestId, called])).toEqual([
        ["first", "request", NAME],
        ["second", "request", NAME],
        ["second", "request", undefined],
      ]);
      expect(batchKeys(world.appended[2]!)).toEqual(batchKeys(world.appended[1]!));
    });

    it("does not ask for the name where something of the request is stored already", async () => {
      const { world, collection } = worldOf(2);
      await routeWrite(world.actor, collection, { ...both, follows: true }, within(60_000));
      expect(world.appended.map(({ called }) => called)).toEqual([undefined, undefined]);
    });
  });
});
