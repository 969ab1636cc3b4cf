/**
 * A shard is a function of the log: whatever was sealed, flushed, handed over or lost on the way, the shard that the
 * next owner builds from the checkpoint and the manifest serves the same rows at every timestamp. Flushing is the real
 * one, over ports that keep everything in maps.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LogOperation } from "../../runtime/log/record.ts";
import { withoutPartition } from "../../runtime/meta/manifest.ts";
import { keysOf } from "../../runtime/segment/keys.ts";
import { WholeTurns } from "../../runtime/turns.ts";
import { type SealLimits, Shard } from "./shard.ts";
import { COLLECTION, EMPTY_MANIFEST, expectWhole, NEVER, seen, VCHANNEL, World } from "./shard-world.ts";

const write = fc.record({
  operation: fc.constantFrom<LogOperation>("insert", "insert", "upsert", "delete"),
  partitionId: fc.constantFrom(1, 2),
  keys: fc.array(fc.bigInt({ min: 0n, max: 4n }), { minLength: 1, maxLength: 3 }),
});
const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("append" as const),
        writes: fc.array(write, { minLength: 1, maxLength: 3 }),
        during: fc.constantFrom(null, null, "nothing", "sealAll", "endFlush", "handOver"),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("sealAll" as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("sealDue" as const), sealRows: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("startFlush" as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("endFlush" as const), isCheckpointWritten: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("handOver" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("takeOver" as const) }) },
  ),
  { maxLength: 40, size: "max" },
);
type Step = typeof steps extends fc.Arbitrary<(infer S)[]> ? S : never;

async function play(world: World, step: Step): Promise<void> {
  switch (step.do) {
    case "append": {
      const { writes, during } = step;
      if (during === null) return world.append(writes);
      return world.appendInTurns(writes, async () => {
        if (during !== "nothing") await play(world, { do: during, isCheckpointWritten: false } as Step);
      });
    }
    case "sealAll":
      return world.shard.sealAll();
    case "sealDue":
      world.shard.sealDue({ ...NEVER, sealRows: step.sealRows }, 0);
      return;
    case "startFlush":
      return world.startFlush();
    case "endFlush":
      return world.endFlush(step.isCheckpointWritten);
    case "handOver": {
      const named = new Set(world.manifest.segments.map(({ segmentId }) => segmentId));
      return world.shard.handedOver(({ segmentId }) => named.has(segmentId));
    }
    case "takeOver":
      return world.takeOver();
  }
}

describe("Shard", () => {
  it("is the same when the next owner rebuilds it, whatever was sealed, flushed, handed over or lost before", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const world = new World();
        for (const step of list) await play(world, step);
        await world.endFlush(false);

        const { shard } = world;
        const rebuilt = world.rebuilt();
        for (const each of [shard, rebuilt]) expectWhole(world, each);
        expect(rebuilt.unflushedRows()).toBe(shard.unflushedRows());
        expect(rebuilt.firstUnflushedSeq()).toBe(shard.firstUnflushedSeq());
        expect(rebuilt.pendingDeletes.map(({ ts }) => ts)).toEqual(shard.pendingDeletes.map(({ ts }) => ts));
        const requests = world.windowOf(rebuilt);
        for (const { seq, entries } of world.log) {
          for (const { requestId, ts } of entries) expect(requests.get(requestId)).toEqual({ ts, seq });
        }
      }),
      { numRuns: 150 },
    );
  });

  it("does not take again what the manifest says is in objects", () => {
    const world = new World();
    world.append([{ operation: "insert", partitionId: 1, keys: [1n] }]);
    world.append([{ operation: "insert", partitionId: 2, keys: [2n] }]);
    const shard = new Shard(COLLECTION, VCHANNEL, () => "s".repeat(26));
    const manifest = { ...EMPTY_MANIFEST, flushed: { 1: world.log[0]!.seq } };
    for (const { seq, entries } of world.log) for (const entry of entries) shard.apply(entry, seq, manifest, 0);
    expect(shard.localSegments().map(({ partitionId }) => partitionId)).toEqual([2]);
  });

  it("is flushed again after an attempt that failed, also when a field has come meanwhile", async () => {
    const world = new World();
    world.append([{ operation: "insert", partitionId: 1, keys: [1n, 2n] }]);
    world.shard.sealAll();
    world.isMetaThere = false;
    world.startFlush();
    await expect(world.endFlush(false)).rejects.toMatchObject({ kind: "unavailable" });
    world.flush = undefined;
    world.isMetaThere = true;
    const { schema } = COLLECTION;
    const added = { ...schema.fields[1]!, fieldId: 102, name: "added", nullable: true };
    world.collection = { ...COLLECTION, schema: { ...schema, version: 2, fields: [...schema.fields, added] } };
    world.startFlush();
    await world.endFlush(true);
    expect(world.manifest.segments).toHaveLength(1);
    expectWhole(world, world.shard);
  });

  it("neither flushes nor takes again rows of a partition that was dropped", async () => {
    const world = new World();
    world.append([
      { operation: "insert", partitionId: 1, keys: [1n, 2n] },
      { operation: "insert", partitionId: 2, keys: [3n] },
      { operation: "upsert", partitionId: 2, keys: [2n] },
    ]);
    world.shard.sealAll();
    world.startFlush();
    // As the coordinator leaves it, while the objects are on their way.
    world.collection = { ...COLLECTION, partitions: COLLECTION.partitions.slice(0, 1) };
    world.manifest = withoutPartition(world.manifest, 2);
    world.shard.keepPartitions(new Set([1]));
    await world.endFlush(true);
    expect(world.manifest.segments.map(({ partitionId }) => partitionId)).toEqual([1]);
    expect(world.manifest.flushed).not.toHaveProperty("2");
    expect(world.shard.firstUnflushedSeq()).toBeNull();
    const replayed = new Shard(world.collection, VCHANNEL, () => "s".repeat(26));
    for (const { seq, entries } of world.log) {
      for (const entry of entries)
        replayed.apply(entry, seq, EMPTY_MANIFEST, 0, { isDropped: entry.partitionId === 2 });
    }
    // What an upsert of it deleted elsewhere stays deleted.
    expect(seen(replayed.localSegments(), world.lastTs)).toEqual([0]);
    expect(seen(world.stored(), world.lastTs)).toEqual([0]);
  });

  it("seals a segment at its size in rows, in bytes, or at its age, and not before", () => {
    const reasons: [Partial<SealLimits>, Partial<SealLimits>, number][] = [
      [{ sealRows: 3 }, { sealRows: 2 }, 0],
      [{ sealBytes: 25 }, { sealBytes: 24 }, 0],
      [{ sealAgeMs: 501 }, { sealAgeMs: 500 }, 500],
    ];
    for (const [above, reached, now] of reasons) {
      const { shard, append } = ((world: World) => ({ shard: world.shard, append: world.append.bind(world) }))(
        new World(),
      );
      append([{ operation: "insert", partitionId: 1, keys: [1n, 2n] }]);
      expect(shard.sealDue({ ...NEVER, ...above }, now)).toBe(false);
      expect(shard.hasGrowing).toBe(true);
      expect(shard.sealDue({ ...NEVER, ...reached }, now)).toBe(true);
      expect(shard.hasGrowing).toBe(false);
      expect(shard.sealed.map(({ segment }) => segment.rowCount)).toEqual([2]);
    }
  });

  it("seals with an old segment those that soon would be old, so that one flush serves many partitions", () => {
    const world = new World();
    const at = (ms: number, partitionId: number, key: bigint) => {
      const entry = { vchannel: VCHANNEL, operation: "insert" as const, partitionId, schemaVersion: 1 };
      const columns = { 100: keysOf("int64", [key]) };
      const body = { ...entry, requestId: `r${key}`, ts: key, batch: { rowCount: 1, columns } };
      world.shard.apply(body, Number(key), EMPTY_MANIFEST, ms);
    };
    at(0, 1, 1n);
    at(400, 2, 2n);
    at(600, 3, 3n);
    expect(world.shard.sealDue({ ...NEVER, sealAgeMs: 1_000 }, 950)).toBe(false);
    expect(world.shard.sealDue({ ...NEVER, sealAgeMs: 1_000 }, 1_000)).toBe(true);
    expect(world.shard.sealed.map(({ segment }) => segment.partitionId)).toEqual([1, 2]);
  });

  it("keeps a flushed segment until the view has it, deletes of the meantime included", async () => {
    const world = new World();
    world.append([{ operation: "insert", partitionId: 1, keys: [1n, 2n] }]);
    world.shard.sealAll();
    world.startFlush();
    await world.endFlush(true);
    world.append([{ operation: "delete", partitionId: 1, keys: [1n] }]);
    expect(seen(world.shard.localSegments(), world.lastTs)).toEqual([1]);
    world.shard.handedOver(() => false);
    expect(world.shard.localSegments()).toHaveLength(1);
    world.shard.handedOver(() => true);
    expect(world.shard.localSegments()).toEqual([]);
  });

  it("lets others have their turn while it looks for what is deleted, by one delete of many keys or many of one", async () => {
    const world = new World();
    const keys = (count: number) => Array.from({ length: count }, (_, i) => BigInt(i));
    world.append([{ operation: "insert", partitionId: 1, keys: keys(20_000) }]);
    let now = 0;
    let turns = 0;
    const clock = {
      ...world.ctx.clock,
      monotonic: () => now++,
      yield: async () => {
        turns++;
      },
    };
    const body = { vchannel: VCHANNEL, requestId: "r", operation: "delete" as const, partitionId: 1, schemaVersion: 1 };
    const deleteOf = (some: bigint[]) => ({ ...body, ts: world.lastTs + 1n, keys: keysOf("int64", some) });
    const [many, rest] = [keys(19_999).slice(0, 10_000), keys(19_999).slice(10_000)];
    const entries = [deleteOf(many), ...rest.map((key) => deleteOf([key]))];
    expect(entries.map((entry) => world.shard.lookupsOf(entry)).slice(0, 2)).toEqual([10_000, 1]);
    const pace = new WholeTurns(clock, 1_000);
    for (const entry of entries) {
      const before = turns;
      await world.shard.markDeleted(entry, pace);
      expect(turns - before).toBeLessThanOrEqual(entry === entries[0] ? 10 : 1);
    }
    // The clock moves by one at each look, and every third look takes another turn.
    expect(turns).toBeGreaterThan(4);
    expect(turns).toBeLessThanOrEqual(20);
    expect(seen(world.shard.localSegments(), world.lastTs)).toHaveLength(20_000);
    for (const entry of entries) world.shard.apply(entry, world.appliedSeq + 1, EMPTY_MANIFEST, 0, { isMarked: true });
    expect(seen(world.shard.localSegments(), world.lastTs + 1n)).toEqual([19_999]);
    expect(world.shard.pendingDeletes).toHaveLength(entries.length);
  });

  it("holds the log for deletes that are in no object yet", async () => {
    const world = new World();
    world.append([{ operation: "delete", partitionId: 1, keys: [1n] }]);
    const [record] = world.log;
    expect(world.shard.firstUnflushedSeq()).toBe(record!.seq);
    world.startFlush();
    await world.endFlush(true);
    expect(world.shard.firstUnflushedSeq()).toBeNull();
    expect(world.checkpoint).toBe(record!.seq);
  });
});
