/**
 * A shard's whole life against plain rows: writes, flushes, changes of its owner, distribution of deletes, merges (also by ranges of the key), swaps,
 * and a query node that loads segments by old manifests and forgets deletes by new ones, in any order. The jobs, the changes
 * of the manifest and what the node keeps are the real ones; the order in which things meet is made up.
 */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { LogOperation } from "../runtime/log/record.ts";
import {
  allSegments,
  coveredSeq,
  findSegment,
  withDeletes,
  withStaged,
  withSwapped,
} from "../runtime/meta/manifest.ts";
import type { ManifestDoc, SegmentDoc } from "../runtime/protocol/catalog.ts";
import { primaryField } from "../runtime/schema.ts";
import type { Int64Column } from "../runtime/segment/column.ts";
import { readDeletedKeys } from "../runtime/segment/delete-files.ts";
import { applyDeletedRows, readSegment } from "../runtime/segment/read-segment.ts";
import type { Segment } from "../runtime/segment/segment.ts";
import { compactShardSegments } from "./datanode/compact-segments.ts";
import { distributeShardDeletes } from "./datanode/distribute-deletes.ts";
import { type FollowingSegment, ShardDeletes } from "./query/shard-deletes.ts";
import { COLLECTION, type ModelRow, seen, VCHANNEL, World } from "./streaming/shard-world.ts";

/** Numbers of the rows that a read at readTs is to see. */
function expected({ rows, deletes }: World, readTs: bigint): number[] {
  const isVisible = ({ key, ts }: ModelRow) =>
    ts <= readTs && !deletes.some((d) => d.key === key && ts < d.ts && d.ts <= readTs);
  return rows.filter(isVisible).map(({ n }) => n);
}

function numbersOf(segment: Segment): number[] {
  return segment.chunks.flatMap(({ batch }) => [...(batch.columns[101] as { values: Int32Array }).values]);
}

/** A query node that serves the shard, following its log at its own pace. */
class QueryNode {
  readonly loaded = new Map<string, FollowingSegment>();
  readonly #world: World;
  readonly #deletes: ShardDeletes;
  #position: number;

  private constructor(world: World) {
    this.#world = world;
    this.#deletes = new ShardDeletes({ collectionId: 1, vchannel: VCHANNEL }, world.ctx.clock);
    this.#position = world.manifest.deltaSeq;
  }

  static async begin(world: World): Promise<QueryNode> {
    const node = new QueryNode(world);
    node.#deletes.forget(coveredSeq(world.manifest));
    for (const { object, throughSeq } of world.manifest.deltas) {
      for (const part of readDeletedKeys(world.objects.get(object.name)!)) await node.#deletes.add(part, throughSeq);
    }
    return node;
  }

  get keptRows(): number {
    return this.#deletes.keptRows;
  }

  forget(): void {
    this.#deletes.forget(coveredSeq(this.#world.manifest));
  }

  /** Reads a segment by a manifest; what is returned lets it join. */
  async read(doc: SegmentDoc): Promise<() => Promise<void>> {
    const { objects, ctx } = this.#world;
    const segment = await readSegment(doc, primaryField(COLLECTION.schema), objects.get(doc.object.name)!, ctx.clock);
    const ownDeletes = async (from: SegmentDoc) => {
      if (from.deletes !== undefined)
        await applyDeletedRows(segment, objects.get(from.deletes.object.name)!, ctx.clock);
      following.deletesSeq = from.deletesSeq;
    };
    const following: FollowingSegment = {
      segment,
      deletesSeq: 0,
      refresh: async () => {
        const newest = findSegment(this.#world.manifest, doc.segmentId);
        if (newest === undefined) throw new Error("gone");
        await ownDeletes(newest);
      },
      lost: () => undefined,
    };
    await ownDeletes(doc);
    return async () => {
      this.forget();
      if (following.deletesSeq < this.#deletes.forgottenSeq) {
        if (findSegment(this.#world.manifest, doc.segmentId) === undefined) return;
        await following.refresh();
      }
      await this.#deletes.addSegment(following);
      this.loaded.set(doc.segmentId, following);
    };
  }

  async follow(records: number): Promise<void> {
    let left = records;
    for (const { seq, entries } of this.#world.log) {
      if (seq <= this.#position) continue;
      if (left-- === 0) return;
      for (const { operation, keys, batch, ts } of entries) {
        if (operation === "insert") continue;
        const column = (keys ?? batch!.columns[100]) as Int64Column;
        const timestamps = new BigInt64Array(column.values.length).fill(ts);
        await this.#deletes.add({ keys: column, timestamps }, seq);
      }
      this.#position = seq;
    }
  }

  /** Once it has read the log, every segment that it serves shows of its rows those that are not deleted. */
  async check(): Promise<void> {
    await this.follow(Number.POSITIVE_INFINITY);
    const visible = new Set(expected(this.#world, this.#world.lastTs));
    for (const { segment } of this.loaded.values()) {
      expect(seen([segment], this.#world.lastTs)).toEqual(numbersOf(segment).filter((n) => visible.has(n)));
    }
  }
}

interface Job {
  segmentIds: string[];
  enter(manifest: ManifestDoc): ManifestDoc | null;
}

class Cluster {
  readonly world = new World();
  readonly #jobs: Job[] = [];
  readonly #joining: (() => Promise<void>)[] = [];
  readonly #manifests: ManifestDoc[] = [];
  node: QueryNode | undefined;
  #attempts = 0;

  async startJob(kind: "merge" | "cluster" | "distribute", choice: number): Promise<void> {
    const { manifest, ctx } = this.world;
    const busy = new Set(this.#jobs.flatMap(({ segmentIds }) => segmentIds));
    const replaced = new Set(manifest.staged.flatMap(({ replaces }) => replaces));
    const isMerge = kind !== "distribute";
    const free = (isMerge ? manifest.segments : allSegments(manifest)).filter(
      ({ segmentId }, i) => !busy.has(segmentId) && !replaced.has(segmentId) && ((choice >> (i % 8)) & 1) === 1,
    );
    const segments = isMerge ? free.filter(({ partitionId }) => partitionId === free[0]!.partitionId) : free;
    if (segments.length === 0) return;
    const { collectionId, vchannel, deltaSeq, deltas } = manifest;
    const attempt = `a${this.#attempts++}`;
    const job = { epoch: 1, attempt, collectionId, vchannel, segments, deltas, deltaSeq };
    const segmentIds = segments.map(({ segmentId }) => segmentId);
    if (isMerge) {
      const clusterBy = kind === "cluster" ? { clusterBy: 100 } : {};
      const result = await compactShardSegments(ctx, COLLECTION.schema, { ...job, targetBytes: 1000, ...clusterBy });
      const { seconds: _, ...staged } = result;
      this.#jobs.push({ segmentIds, enter: (now) => withStaged(now, { replaces: segmentIds, ...staged }) });
    } else {
      const result = await distributeShardDeletes(ctx, COLLECTION.schema, job);
      this.#jobs.push({ segmentIds, enter: (now) => withDeletes(now, result.segments) });
    }
  }

  endJob(choice: number): void {
    const [job] = this.#jobs.splice(choice % Math.max(1, this.#jobs.length), 1);
    const changed = job?.enter(this.world.manifest);
    if (changed !== undefined && changed !== null) this.#commit(changed);
  }

  swap(choice: number): void {
    const { manifest } = this.world;
    const entry = manifest.staged[choice % Math.max(1, manifest.staged.length)];
    if (entry !== undefined) this.#commit(withSwapped(manifest, entry));
  }

  /** By a manifest of any time, of which the node may have read late. */
  async startLoad(choice: number, age: number): Promise<void> {
    this.#manifests.push(this.world.manifest);
    const manifest = this.#manifests.at(-1 - (age % this.#manifests.length))!;
    const segments = allSegments(manifest);
    const doc = segments[choice % Math.max(1, segments.length)];
    // A node that begins late cannot be told of segments that went before it came.
    this.node ??= await QueryNode.begin(this.world);
    if (doc !== undefined && !this.node.loaded.has(doc.segmentId)) this.#joining.push(await this.node.read(doc));
  }

  async endLoad(): Promise<void> {
    await this.#joining.shift()?.();
  }

  restartNode(): void {
    this.#joining.splice(0);
    this.node = undefined;
  }

  /** Wherever rows are, a read sees what the log says: by the manifest, and by what the node serves. */
  async check(): Promise<void> {
    const { world } = this;
    await world.endFlush(false);
    const { manifest } = world;
    for (const shard of [world.shard, world.rebuilt()]) {
      const named = new Set(manifest.segments.map(({ segmentId }) => segmentId));
      const local = shard.liveSegments(manifest).filter(({ segmentId }) => !named.has(segmentId));
      const stored = world.stored();
      for (let readTs = manifest.purgedTs ?? 0n; readTs <= world.lastTs; readTs++) {
        expect(seen([...stored, ...local], readTs)).toEqual(expected(world, readTs));
      }
    }
    await this.node?.check();
    expect(manifest.deltas.every(({ throughSeq }) => throughSeq > coveredSeq(manifest))).toBe(true);
  }

  #commit(manifest: ManifestDoc): void {
    expect(coveredSeq(manifest)).toBeGreaterThanOrEqual(coveredSeq(this.world.manifest));
    this.world.manifest = manifest;
  }
}

const choice = fc.nat(255);
const write = fc.record({
  operation: fc.constantFrom<LogOperation>("insert", "upsert", "delete"),
  partitionId: fc.constantFrom(1, 2),
  keys: fc.array(fc.bigInt({ min: 0n, max: 5n }), { minLength: 1, maxLength: 3 }),
});
const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("write" as const),
        writes: fc.array(write, { minLength: 1, maxLength: 3 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("flush" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("startFlush" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("endFlush" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("takeOver" as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("startJob" as const),
        kind: fc.constantFrom("merge" as const, "cluster" as const, "distribute" as const),
        choice,
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("endJob" as const), choice }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("swap" as const), choice }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("startLoad" as const), choice, age: fc.nat(3) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("endLoad" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("follow" as const), choice: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("forget" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("restartNode" as const) }) },
  ),
  { maxLength: 60, size: "max" },
);
type Step = typeof steps extends fc.Arbitrary<(infer S)[]> ? S : never;

async function take(cluster: Cluster, step: Step): Promise<void> {
  const { world } = cluster;
  switch (step.do) {
    case "write":
      return world.append(step.writes);
    case "flush":
      await world.endFlush(true);
      world.shard.sealAll();
      world.startFlush();
      return world.endFlush(true);
    case "startFlush":
      world.shard.sealAll();
      return world.startFlush();
    case "endFlush":
      return world.endFlush(false);
    case "takeOver":
      return world.takeOver();
    case "startJob":
      // An object that a flush is writing is held up until it ends.
      return world.flush === undefined ? cluster.startJob(step.kind, step.choice) : undefined;
    case "endJob":
      return cluster.endJob(step.choice);
    case "swap":
      return cluster.swap(step.choice);
    case "startLoad":
      return cluster.startLoad(step.choice, step.age);
    case "endLoad":
      return cluster.endLoad();
    case "follow":
      return cluster.node?.follow(step.choice);
    case "forget":
      return cluster.node?.forget();
    case "restartNode":
      return cluster.restartNode();
  }
}

it("shows every row that is not deleted, once, in whatever order it is flushed, merged, swapped, loaded and forgotten", {
  timeout: 60_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const cluster = new Cluster();
      for (const step of list) await take(cluster, step);
      await cluster.check();
    }),
    { numRuns: 100 },
  );
});
