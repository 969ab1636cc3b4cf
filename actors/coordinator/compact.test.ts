/** Which jobs are given out, and when again: against data nodes that answer as the test says. */
import { describe, expect, it } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { type CollectionDoc, type ManifestDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import type { CompactSegments, DistributeDeletes } from "../../runtime/protocol/data.ts";
import { catalogOfDocs } from "../../runtime/testing/catalog-of-docs.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { Compactor } from "./compact.ts";
import type { Leadership } from "./leadership.ts";
import type { Window } from "./window.ts";

type Job = CompactSegments | DistributeDeletes;

/** A coordinator with some collections of one shard each, and one data node. */
class World {
  readonly clock = new ManualClock();
  readonly asked: Job[] = [];
  readonly commits: MetaOp[][] = [];
  /** What the data node answers the next job. */
  answer: (job: Job) => unknown = () => ({ segments: [], seconds: 0 });
  readonly compactor: Compactor;
  readonly #meta = catalogOfDocs();

  constructor() {
    let ulids = 0;
    const ctx = {
      catalog: this.#meta.catalog,
      clock: this.clock,
      config: {
        coordinator: {
          compactionBytes: 1e6,
          clusteringBytes: 4e6,
          deletedShare: 0.2,
          deltaRows: 100,
          deltaBytes: 1e6,
          deltaObjects: 100,
        },
        data: { concurrentJobs: 1 },
      },
      nodes: {
        ofRole: () => [{ nodeId: "d", isDraining: false }],
        has: () => true,
        subscribe: () => ({ [Symbol.dispose]: () => undefined }),
      },
      bus: {
        ask: async (_: unknown, __: unknown, job: Job) => {
          this.asked.push(job);
          return this.answer(job);
        },
      },
      random: { ulid: () => String(++ulids).padStart(26, "0") },
      logger: { info: () => undefined, debug: () => undefined, warn: () => undefined },
    } as unknown as ActorContext;
    const leadership: Leadership = {
      epoch: 1,
      signal: new AbortController().signal,
      commit: async (ops: MetaOp[]) => {
        this.commits.push(ops);
        this.#meta.apply(ops);
        return true;
      },
    };
    let numbers = 0n;
    const window = { allocate: async () => ++numbers } as unknown as Window;
    this.compactor = new Compactor(ctx, leadership, { timestamps: window, ids: window }, () => undefined);
  }

  /** Four segments that lack so many deletes. */
  addCollection(collectionId: number, deltaRows: number, properties: Record<string, string> = {}): void {
    const vchannel = `${collectionId}v0`;
    const object = { name: "o", bytes: 100, digest: "" };
    const schema = { version: 1, fields: [], autoId: false, enableDynamicField: false };
    const partitions = [{ partitionId: 1, name: "_default" }];
    const collection = {
      collectionId,
      schema,
      partitions,
      shards: [{ vchannel, pchannel: 0 }],
      properties,
      indexes: [],
    };
    const segments = [0, 1, 2, 3].map((n) => ({
      segmentId: `${collectionId}-${n}`.padStart(26, "0"),
      ...{ partitionId: 1, rowCount: 100, minTs: 1n, maxTs: 2n, object, indexes: {}, deletesSeq: 0 },
    }));
    const manifest: ManifestDoc = {
      ...{ collectionId, vchannel, pchannel: 0, segments, staged: [], flushed: {}, flushedSeq: 0, deltaSeq: 9 },
      deltas: [{ object, rowCount: deltaRows, throughSeq: 9, throughTs: 1n }],
    };
    this.#meta.docs.set(metaKeys.collection(collectionId), collection as unknown as CollectionDoc);
    this.#meta.docs.set(metaKeys.manifest(vchannel), manifest);
  }

  /** Asked for long ago. */
  addAsked(count: number): void {
    for (let compactionId = 1e6; compactionId < 1e6 + count; compactionId++) {
      const doc = { compactionId, collectionId: 1, askedAt: 0n, shards: {}, plans: 0, isCompleted: true };
      this.#meta.docs.set(metaKeys.compaction(compactionId), doc);
    }
  }

  drop(collectionId: number): void {
    this.#meta.docs.delete(metaKeys.collection(collectionId));
    this.#meta.docs.delete(metaKeys.manifest(`${collectionId}v0`));
  }

  /** Steps until the jobs that it gives out have ended. Returns the shards of those jobs. */
  async step(): Promise<string[]> {
    const before = this.asked.length;
    await this.compactor.step();
    await this.clock.settle();
    expect(this.compactor.running).toBe(0);
    return this.asked.slice(before).map(({ vchannel }) => vchannel);
  }
}

describe("compaction jobs", () => {
  it("go round the shards that have something to do, also when one of them always has", async () => {
    const world = new World();
    // What is distributed changes nothing here: every shard is due again at once.
    for (const collectionId of [1, 2, 3]) world.addCollection(collectionId, 100);
    const given: string[][] = [];
    for (let n = 0; n < 6; n++) given.push(await world.step());
    expect(given).toEqual([["1v0"], ["2v0"], ["3v0"], ["1v0"], ["2v0"], ["3v0"]]);
    expect(world.asked.every((job) => !("targetBytes" in job))).toBe(true);
  });

  it("are not forgotten when there was no place for them", async () => {
    const world = new World();
    const byHand = { "collection.autocompaction.enabled": "false" };
    for (const collectionId of [1, 2]) world.addCollection(collectionId, 100, byHand);
    let end = (_: unknown) => {};
    world.answer = () => new Promise((resolve) => (end = resolve));
    await world.compactor.step();
    await world.compactor.step();
    expect(world.asked.map(({ vchannel }) => vchannel)).toEqual(["1v0"]);
    const { segments, deltaSeq: throughSeq } = world.asked[0]!;
    end({ segments: segments.map(({ segmentId }) => ({ segmentId, fromSeq: 0, throughSeq })), seconds: 0 });
    await world.clock.settle();
    world.answer = () => ({ segments: [], seconds: 0 });
    expect(await world.step()).toEqual(["2v0"]);
  });

  it("are given out again at once when their node is lost, and after a while when a second one is", async () => {
    const world = new World();
    world.addCollection(1, 0);
    world.answer = () => {
      throw new VdbError("node_not_found", "data node d is gone");
    };
    expect(await world.step()).toEqual(["1v0"]);
    expect(await world.step()).toEqual(["1v0"]);
    expect(await world.step()).toEqual([]);
    await world.clock.advance(59_000);
    expect(await world.step()).toEqual([]);
    await world.clock.advance(1_000);
    world.answer = () => ({ segments: [], seconds: 0 });
    expect(await world.step()).toEqual(["1v0"]);
  });

  it("that failed are given out again after a rest, and never for a collection that was dropped", async () => {
    const world = new World();
    world.addCollection(1, 0);
    world.answer = () => {
      throw new VdbError("corrupt", "an object is damaged");
    };
    expect(await world.step()).toEqual(["1v0"]);
    expect(await world.step()).toEqual([]);
    await world.clock.advance(10_000);
    expect(await world.step()).toEqual(["1v0"]);
    world.drop(1);
    await world.clock.advance(10_000);
    expect(await world.step()).toEqual([]);
  });
});

it("forgets old ones a few at a time, however many there are: a commit has room for a thousand changes", async () => {
  const world = new World();
  world.addCollection(1, 0);
  world.addAsked(2_000);
  await world.clock.advance(2 * 86_400_000);
  await world.compactor.ask(1);
  const [commit = []] = world.commits;
  const forgotten = commit.filter(({ op }) => op === "delete").length;
  expect(forgotten).toBeGreaterThan(10);
  expect(commit.length).toBeLessThan(900);
});
