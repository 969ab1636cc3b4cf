/** Placing segments, and what becomes of a compaction whose result query nodes cannot take: against nodes that answer as the test says. */
import { describe, expect, test } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { type CollectionDoc, decodeDoc, type ManifestDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import { compactSegments } from "../../runtime/protocol/data.ts";
import type { Operation } from "../../runtime/protocol/operation.ts";
import { loadSegments } from "../../runtime/protocol/query.ts";
import { catalogOfDocs } from "../../runtime/testing/catalog-of-docs.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { Compactor } from "./compact.ts";
import type { Leadership } from "./leadership.ts";
import { SegmentPlacer } from "./place-segments.ts";
import type { Window } from "./window.ts";

const MINUTE_MS = 60_000;
const SEGMENT_BYTES = 100;
const SHARD = "1v0";
const VECTOR = { fieldId: 101, name: "vector", type: "FloatVector", dimension: 2 };
const ids = (...names: string[]) => names.map((name) => name.padStart(26, "0"));

/** A coordinator with a loaded collection of one shard: four small segments, which one query node serves. */
class World {
  readonly clock = new ManualClock();
  readonly warnings: string[] = [];
  /** A key of whose document there is more than a message takes. */
  tooLarge = "";
  merges = 0;
  memoryLimitBytes = 6 * SEGMENT_BYTES;
  /** Why the query node cannot load what is merged. */
  failure: VdbError | undefined;
  queryNodes = ["query"];
  /** By segment: the query nodes that were asked to load it. */
  readonly askedToLoad = new Map<string, Set<string>>();
  /** How many of these asks take too long. */
  lateLoads = 0;
  /** Happens while a commit that gives something up is on its way. */
  whileGivingUp: (() => Promise<unknown>) | undefined;
  /** Why the query nodes are not known. */
  blindness: VdbError | undefined;
  readonly compactor: Compactor;
  readonly placer: SegmentPlacer;
  readonly #meta = catalogOfDocs();

  constructor() {
    const ask = async (operation: Operation, to: { nodeId: string }, request: { segmentIds?: string[] }) => {
      if (operation.subject === compactSegments.subject) {
        const segment = segmentOf(`merged${++this.merges}`, 4 * SEGMENT_BYTES);
        return { segments: [segment], seconds: 0 };
      }
      expect(operation.subject).toBe(loadSegments.subject);
      for (const id of request.segmentIds ?? []) {
        this.askedToLoad.set(id, (this.askedToLoad.get(id) ?? new Set()).add(to.nodeId));
      }
      if (this.lateLoads-- > 0) throw new VdbError("deadline_exceeded", "no answer in time");
      if (this.failure !== undefined && request.segmentIds?.some((id) => id.includes("merged"))) throw this.failure;
      return {};
    };
    let ulids = 0;
    const ctx = {
      catalog: this.#meta.catalog,
      clock: this.clock,
      config: {
        coordinator: {
          ...{ compactionBytes: 1e6, clusteringBytes: 4e6, deletedShare: 0.2, indexRowsMin: 1 },
          ...{ deltaRows: 100, deltaBytes: 1e6, deltaObjects: 100 },
        },
        data: { concurrentJobs: 1 },
      },
      nodes: {
        ofRole: (role: string) => {
          if (this.blindness !== undefined) throw this.blindness;
          const nodeIds = role === "query" ? this.queryNodes : [role];
          const state = { memoryLimitBytes: this.memoryLimitBytes };
          return nodeIds.map((nodeId) => ({ nodeId, isDraining: false, state }));
        },
        has: () => true,
        subscribe: () => ({ [Symbol.dispose]: () => undefined }),
      },
      bus: { ask, tell: () => undefined },
      random: { ulid: () => String(++ulids).padStart(26, "0") },
      logger: {
        info: () => undefined,
        debug: () => undefined,
        warn: (_: unknown, message: string) => this.warnings.push(message),
      },
    } as unknown as ActorContext;
    const leadership: Leadership = {
      epoch: 1,
      signal: new AbortController().signal,
      commit: async (ops: MetaOp[]) => {
        if (ops.some(({ key }) => key === this.tooLarge)) throw new VdbError("internal", "maximum payload exceeded");
        const docs = ops.map((op) => (op.op === "put" ? decodeDoc(op.key, op.value) : undefined)) as ManifestDoc[];
        if (this.manifest.staged.length > 0 && docs[0]?.staged?.length === 0) {
          const meanwhile = this.whileGivingUp?.();
          this.whileGivingUp = undefined;
          await meanwhile;
        }
        this.#meta.apply(ops);
        return true;
      },
    };
    let numbers = 0n;
    const window = { allocate: async () => ++numbers } as unknown as Window;
    this.compactor = new Compactor(ctx, leadership, { timestamps: window, ids: window }, () => undefined);
    this.placer = new SegmentPlacer(ctx, leadership, this.compactor, () => undefined);
    this.addCollection(1);
  }

  addCollection(collectionId: number): void {
    const vchannel = `${collectionId}v0`;
    const collection = {
      ...{ collectionId, database: "default", name: "c", description: "", consistencyLevel: "Strong" },
      schema: { version: 1, fields: [VECTOR], autoId: false, enableDynamicField: false },
      ...{ partitions: [{ partitionId: 1, name: "_default" }], shards: [{ vchannel, pchannel: 0 }] },
      ...{ indexes: [], loaded: { replicaNumber: 1 }, properties: {}, createdAt: 1n },
    };
    const names = ["a", "b", "c", "d"].map((name) => (collectionId === 1 ? name : `${collectionId}${name}`));
    const manifest: ManifestDoc = {
      ...{ collectionId, vchannel, pchannel: 0, staged: [], flushed: {}, flushedSeq: 0, deltaSeq: 0 },
      ...{ deltas: [], segments: names.map((name) => segmentOf(name, SEGMENT_BYTES)) },
    };
    this.#meta.docs.set(metaKeys.collection(collectionId), collection as unknown as CollectionDoc);
    this.#meta.docs.set(metaKeys.manifest(vchannel), manifest);
  }

  setIndexes(indexes: CollectionDoc["indexes"]): void {
    const collection = this.#meta.docs.get(metaKeys.collection(1)) as CollectionDoc;
    this.#meta.docs.set(metaKeys.collection(1), { ...collection, indexes });
  }

  hasView(vchannel: string): boolean {
    return this.#meta.docs.has(metaKeys.view(vchannel));
  }

  get manifest(): ManifestDoc {
    return this.#meta.docs.get(metaKeys.manifest(SHARD)) as ManifestDoc;
  }

  /** As a data node's answer leaves it. */
  set manifest(manifest: ManifestDoc) {
    this.#meta.docs.set(metaKeys.manifest(SHARD), manifest);
  }

  get segmentIds(): string[] {
    return this.manifest.segments.map(({ segmentId }) => segmentId);
  }

  /** As a coordinator does: at every tick, for so long. */
  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10_000) {
      await this.step();
      await this.clock.advance(10_000);
    }
    await this.step();
  }

  async step(): Promise<void> {
    for (const part of [this.placer, this.compactor, this.placer, this.placer]) {
      await part.step();
      await this.clock.settle();
    }
  }
}

function segmentOf(name: string, bytes: number) {
  const object = { name, bytes, digest: "" };
  const segmentId = name.padStart(26, "0");
  return { segmentId, partitionId: 1, rowCount: 1, minTs: 1n, maxTs: 2n, object, indexes: {}, deletesSeq: 0 };
}

describe("what compaction staged", () => {
  test("waits for room that may come, and takes the place of what it replaces when it does", async () => {
    const world = new World();
    await world.run(4 * MINUTE_MS);
    expect(world.manifest.staged).toHaveLength(1);
    world.memoryLimitBytes = 8 * SEGMENT_BYTES;
    await world.run(MINUTE_MS);
    expect(world.manifest.staged).toEqual([]);
    expect(world.segmentIds).toEqual(ids("merged1"));
    expect(world.merges).toBe(1);
  });

  test("is given up when there is no room for long, and tried again after a rest", async () => {
    const world = new World();
    await world.run(6 * MINUTE_MS);
    expect(world.manifest.staged).toEqual([]);
    expect(world.segmentIds).toEqual(ids("a", "b", "c", "d"));
    expect(world.warnings).toContain("compaction given up: its result cannot be served");
    await world.run(50 * MINUTE_MS);
    expect(world.merges).toBe(1);
    world.memoryLimitBytes = 8 * SEGMENT_BYTES;
    await world.run(20 * MINUTE_MS);
    expect(world.segmentIds).toEqual(ids("merged2"));
  });

  test("is given up when no node manages to load it", async () => {
    const world = new World();
    world.memoryLimitBytes = 100 * SEGMENT_BYTES;
    world.failure = new VdbError("memory_limit", "segment needs more than there is");
    await world.run(7 * MINUTE_MS);
    expect(world.segmentIds).toEqual(ids("a", "b", "c", "d"));
    expect(world.merges).toBe(1);
  });

  test.each(["unavailable", "overloaded", "log_truncated"] as const)(
    "is not given up for what passes, however long: %s",
    async (kind) => {
      const world = new World();
      world.memoryLimitBytes = 100 * SEGMENT_BYTES;
      world.failure = new VdbError(kind, "not now");
      await world.run(20 * MINUTE_MS);
      world.failure = undefined;
      await world.run(MINUTE_MS);
      expect(world.segmentIds).toEqual(ids("merged1"));
    },
  );

  test("is given up one at a time: the room that it makes may be what the next one lacks", async () => {
    const world = new World();
    world.addCollection(2);
    world.memoryLimitBytes = 11 * SEGMENT_BYTES;
    const givenUp = () => world.warnings.filter((warning) => warning.startsWith("compaction given up")).length;
    await world.run(5.5 * MINUTE_MS);
    expect(givenUp()).toBe(1);
    await world.run(1.5 * MINUTE_MS);
    expect(givenUp()).toBe(2);
    expect(world.merges).toBe(2);
  });

  test("begins to wait anew after an index of it was built", async () => {
    const world = new World();
    await world.run(4 * MINUTE_MS);
    world.setIndexes([{ indexId: 7, name: "vector", fieldId: 101, type: "HNSW", metric: "L2", params: {} }]);
    await world.run(2 * MINUTE_MS);
    world.setIndexes([]);
    await world.run(4 * MINUTE_MS);
    expect(world.manifest.staged).toHaveLength(1);
    await world.run(2 * MINUTE_MS);
    expect(world.manifest.staged).toEqual([]);
    expect(world.merges).toBe(1);
  });

  test("says so in what was asked for by hand, which is over then; who asks again has it tried again", async () => {
    const world = new World();
    await world.placer.step();
    await world.clock.settle();
    const { compactionId } = await world.compactor.ask(1);
    await world.run(MINUTE_MS);
    expect(world.compactor.stateOf(compactionId)).toEqual({ isCompleted: false, remaining: 1, completed: 0 });
    await world.run(6 * MINUTE_MS);
    expect(world.compactor.stateOf(compactionId)).toEqual({
      ...{ isCompleted: true, remaining: 0, completed: 0, givenUp: 1 },
      reason: expect.stringContaining("no query node of resource group __default_resource_group has room"),
    });
    expect(world.merges).toBe(1);
    world.memoryLimitBytes = 8 * SEGMENT_BYTES;
    const again = await world.compactor.ask(1);
    await world.run(MINUTE_MS);
    expect(world.compactor.stateOf(again.compactionId)).toEqual({ isCompleted: true, remaining: 0, completed: 1 });
    expect(world.segmentIds).toEqual(ids("merged2"));
  });
});

test("what is asked for by hand while it is being given up is tried again, and does not wait out the rest", async () => {
  const world = new World();
  let asked: { compactionId: number } | undefined;
  world.whileGivingUp = async () => {
    asked = await world.compactor.ask(1);
  };
  await world.run(6 * MINUTE_MS);
  world.memoryLimitBytes = 12 * SEGMENT_BYTES;
  await world.run(MINUTE_MS);
  expect(world.compactor.stateOf(asked!.compactionId)).toMatchObject({ isCompleted: true, remaining: 0 });
  expect(world.segmentIds).toEqual(ids("merged2"));
});

test("where imported segments can be read is not said by a step that failed", async () => {
  const world = new World();
  world.memoryLimitBytes = 100 * SEGMENT_BYTES;
  world.manifest = { ...world.manifest, imports: [{ jobId: 1, segments: [segmentOf("imported", SEGMENT_BYTES)] }] };
  await world.step();
  const copies = () => world.placer.importCopies(SHARD, ids("imported")[0]!);
  expect(copies()).toEqual(["query"]);
  world.blindness = new VdbError("internal", "a bug");
  await expect(world.placer.step()).rejects.toThrow("a bug");
  expect(copies()).toBeUndefined();
});

test("a shard whose view cannot be written keeps no other from being served", async () => {
  const world = new World();
  world.addCollection(2);
  world.memoryLimitBytes = 100 * SEGMENT_BYTES;
  world.tooLarge = metaKeys.view(SHARD);
  for (let i = 0; i < 3; i++) {
    await world.placer.step();
    await world.clock.settle();
  }
  expect([world.hasView(SHARD), world.hasView("2v0")]).toEqual([false, true]);
  expect(world.placer.progress(1).problem).toContain("maximum payload");
});

test("a load that takes longer than an ask stays with the node that has begun it", async () => {
  const world = new World();
  world.memoryLimitBytes = 100 * SEGMENT_BYTES;
  world.queryNodes = ["query", "second"];
  world.lateLoads = 6;
  for (let i = 0; i < 5; i++) await world.step();
  expect(new Set([...world.askedToLoad.values()].map(({ size }) => size))).toEqual(new Set([1]));
  expect(world.hasView(SHARD)).toBe(true);
});
