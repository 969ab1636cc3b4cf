/** Plans applied to manifests until there are none: whatever a shard looks like, it ends, and every step keeps the rules. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { coveredSeq, withDeletes, withStaged, withSwapped } from "../../runtime/meta/manifest.ts";
import type { ManifestDoc, SegmentDoc, StagedDoc } from "../../runtime/protocol/catalog.ts";
import {
  type AskedShard,
  type CompactionLimits,
  type CompactionPlan,
  planShard,
  remainingPlans,
  type ShardState,
} from "./plan-compaction.ts";

const LIMITS: CompactionLimits = {
  compactionBytes: 1000,
  clusteringBytes: 4000,
  deletedShare: 0.2,
  deltaRows: 100,
  deltaBytes: 1000,
  deltaObjects: 4,
};
const EXPIRED_TS = 50n;

let ids = 0;
function segmentOf(rest: Partial<SegmentDoc> & { bytes?: number } = {}): SegmentDoc {
  const { bytes = 100, ...doc } = rest;
  const segmentId = String(++ids).padStart(26, "0");
  const object = { name: segmentId, bytes, digest: "" };
  return {
    segmentId,
    partitionId: 1,
    rowCount: 100,
    minTs: 100n,
    maxTs: 200n,
    object,
    indexes: {},
    deletesSeq: 100,
    ...doc,
  };
}

function manifestOf(segments: SegmentDoc[], rest: Partial<ManifestDoc> = {}): ManifestDoc {
  const base = { collectionId: 1, vchannel: "1v0", pchannel: 0, flushed: {}, flushedSeq: 0, deltaSeq: 100 };
  return { ...base, segments, staged: [], deltas: [], ...rest };
}

function deltaOf(throughSeq: number, rowCount = 10) {
  return { object: { name: `d${throughSeq}`, bytes: rowCount, digest: "" }, rowCount, throughSeq, throughTs: 1n };
}

function stateOf(manifest: ManifestDoc, rest: Partial<ShardState> = {}): ShardState {
  return { manifest, isPlaced: () => true, isBusy: () => false, asked: [], isAutomatic: true, ...rest };
}

function plansOf(manifest: ManifestDoc, rest: Partial<ShardState> = {}): { kind: string; segments: string[] }[] {
  return planShard(stateOf(manifest, rest), LIMITS).map(({ kind, segments }) => ({ kind, segments: idsOf(segments) }));
}

function idsOf(segments: readonly SegmentDoc[]): string[] {
  return segments.map(({ segmentId }) => segmentId).sort();
}

function liveBytes({ object, deletes, rowCount, minTs, maxTs }: SegmentDoc, expiredTs: bigint | undefined): number {
  const deleted = (deletes?.rowCount ?? 0) / rowCount;
  const expired =
    expiredTs === undefined || minTs >= expiredTs
      ? 0
      : maxTs < expiredTs
        ? 1
        : Number(expiredTs - minTs) / Number(maxTs - minTs + 1n);
  return object.bytes * (1 - Math.max(deleted, expired));
}

function readBytes(segments: readonly SegmentDoc[]): number {
  return segments.reduce((sum, { object }) => sum + object.bytes, 0);
}

/** What a data node would make of a merge: the live rows in one segment, or none. */
function merged(manifest: ManifestDoc, { segments }: CompactionPlan, expiredTs: bigint | undefined): StagedDoc {
  const bytes = Math.round(segments.reduce((sum, segment) => sum + liveBytes(segment, expiredTs), 0));
  const minTs = expiredTs ?? segments[0]!.minTs;
  const partitionId = segments[0]!.partitionId;
  const outputs =
    bytes === 0 ? [] : [segmentOf({ bytes, partitionId, minTs, maxTs: 300n, deletesSeq: manifest.deltaSeq })];
  return { replaces: segments.map(({ segmentId }) => segmentId), segments: outputs };
}

const segmentArbitrary = fc
  .record({
    bytes: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 2000 })),
    partitionId: fc.constantFrom(1, 2),
    deleted: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 100 })),
    minTs: fc.bigInt({ min: 0n, max: 120n }),
    deletesSeq: fc.integer({ min: 0, max: 100 }),
  })
  .map(({ deleted, ...rest }) =>
    segmentOf({
      ...rest,
      maxTs: rest.minTs + 40n,
      ...(deleted === 0 ? {} : { deletes: { object: { name: "o", bytes: 1, digest: "" }, rowCount: deleted } }),
    }),
  );
const manifestArbitrary = fc
  .record({
    segments: fc.array(segmentArbitrary, { maxLength: 40, size: "max" }),
    deltas: fc.uniqueArray(fc.integer({ min: 1, max: 100 }), { maxLength: 8 }),
    rows: fc.integer({ min: 1, max: 60 }),
  })
  .map(({ segments, deltas, rows }) =>
    manifestOf(segments, { deltas: deltas.sort((a, b) => a - b).map((seq) => deltaOf(seq, rows)) }),
  );

describe("planShard", () => {
  it("ends, whatever the shard, and never takes a segment twice, nor what is staged, on its way, or too much", () => {
    fc.assert(
      fc.property(
        manifestArbitrary,
        fc.boolean(),
        fc.option(fc.integer({ min: 0, max: 39 })),
        fc.infiniteStream(fc.nat()),
        (start, isExpiring, unplaced, choices) => {
          const expiredTs = isExpiring ? EXPIRED_TS : undefined;
          let manifest = start;
          const away = unplaced === null ? undefined : start.segments[unplaced]?.segmentId;
          const running: CompactionPlan[] = [];
          const state = () =>
            stateOf(manifest, {
              expiredTs,
              isPlaced: (segmentId) => segmentId !== away,
              isBusy: (segmentId) => running.some(({ segments }) => idsOf(segments).includes(segmentId)),
            });
          let steps = 0;
          for (;;) {
            const plans = planShard(state(), LIMITS);
            const staged = new Set(manifest.staged.flatMap(({ replaces }) => replaces));
            const taken = [...running, ...plans].flatMap(({ segments }) => idsOf(segments));
            expect(new Set(taken).size).toBe(taken.length);
            for (const { kind, segments } of plans) {
              if (kind !== "merge") continue;
              expect(segments.some(({ segmentId }) => staged.has(segmentId))).toBe(false);
              expect(segments.some(({ segmentId }) => segmentId === away)).toBe(false);
              expect(new Set(segments.map(({ partitionId }) => partitionId)).size).toBe(1);
              const bytes = segments.reduce((sum, segment) => sum + liveBytes(segment, expiredTs), 0);
              if (segments.length === 1) continue;
              expect(bytes).toBeLessThanOrEqual(LIMITS.compactionBytes);
              expect(readBytes(segments)).toBeLessThanOrEqual(2 * LIMITS.compactionBytes);
            }
            running.push(...plans);
            if (running.length === 0 && manifest.staged.length === 0) break;
            // One job ends, or one staged entry is swapped in, in any order.
            const choice = choices.next().value! % (running.length + manifest.staged.length);
            const job = running[choice];
            if (job === undefined) manifest = withSwapped(manifest, manifest.staged[choice - running.length]!);
            else {
              running.splice(choice, 1);
              if (job.kind === "merge") manifest = withStaged(manifest, merged(manifest, job, expiredTs)) ?? manifest;
              else
                manifest = withDeletes(
                  manifest,
                  job.segments.map(({ segmentId, deletesSeq, deletes }) => ({
                    segmentId,
                    fromSeq: deletesSeq,
                    throughSeq: manifest.deltaSeq,
                    ...(deletes === undefined ? {} : { deletes }),
                  })),
                );
            }
            expect(++steps).toBeLessThan(400);
          }
          expect(plansOf(manifest, { expiredTs, isPlaced: (segmentId) => segmentId !== away })).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("merges what is small, when there are four of a size or half a target together", () => {
    const three = [1, 2, 3].map(() => segmentOf({ bytes: 20 }));
    expect(plansOf(manifestOf(three))).toEqual([]);
    const four = [...three, segmentOf({ bytes: 20 })];
    expect(plansOf(manifestOf(four))).toEqual([{ kind: "merge", segments: idsOf(four) }]);
    const two = [segmentOf({ bytes: 400 }), segmentOf({ bytes: 120 })];
    expect(plansOf(manifestOf(two))).toEqual([{ kind: "merge", segments: idsOf(two) }]);
    expect(plansOf(manifestOf([segmentOf({ bytes: 400 }), segmentOf({ bytes: 90 })]))).toEqual([]);
    const otherPartition = four.map((segment, i) => ({ ...segment, partitionId: i === 0 ? 2 : 1 }));
    expect(plansOf(manifestOf(otherPartition))).toEqual([]);
    expect(plansOf(manifestOf(Array.from({ length: 9 }, () => segmentOf({ bytes: 500 }))))).toEqual([]);
  });

  it("leaves what is not where it is served, what a job has, and everything when only what is asked for is wanted", () => {
    const four = [1, 2, 3, 4].map(() => segmentOf({ bytes: 20 }));
    const manifest = manifestOf(four);
    const first = four[0]!.segmentId;
    expect(plansOf(manifest, { isPlaced: (segmentId) => segmentId !== first })).toEqual([]);
    expect(plansOf(manifest, { isBusy: (segmentId) => segmentId === first })).toEqual([]);
    expect(plansOf(manifest, { isAutomatic: false })).toEqual([]);
    expect(plansOf(withStaged(manifest, { replaces: [first], segments: [] })!)).toEqual([]);
  });

  it("writes anew what is deleted or expired by more than the share", () => {
    const deleted = (rowCount: number) => segmentOf({ bytes: 900, deletes: { object: deltaOf(1).object, rowCount } });
    const many = deleted(21);
    expect(plansOf(manifestOf([deleted(20), many]))).toEqual([{ kind: "merge", segments: [many.segmentId] }]);
    const old = segmentOf({ bytes: 900, minTs: 10n, maxTs: 49n });
    const young = segmentOf({ bytes: 900, minTs: 50n, maxTs: 90n });
    expect(plansOf(manifestOf([old, young]), { expiredTs: EXPIRED_TS })).toEqual([
      { kind: "merge", segments: [old.segmentId] },
    ]);
    expect(plansOf(manifestOf([old, young]))).toEqual([]);
  });

  it("distributes deletes when there are many, to those that lack them, staged ones too, and then has nothing to do", () => {
    const lacking = segmentOf({ bytes: 900, deletesSeq: 10 });
    const having = segmentOf({ bytes: 900, deletesSeq: 40 });
    const few = manifestOf([lacking, having], { deltas: [deltaOf(20, 40), deltaOf(30, 40)], deltaSeq: 40 });
    expect(plansOf(few)).toEqual([]);
    const many = { ...few, deltas: [deltaOf(20, 60), deltaOf(30, 40)] };
    expect(plansOf(many)).toEqual([{ kind: "distribute", segments: [lacking.segmentId] }]);
    const staged = segmentOf({ deletesSeq: 10 });
    const replacing = withStaged(many, { replaces: [lacking.segmentId], segments: [staged] })!;
    expect(plansOf(replacing)).toEqual([{ kind: "distribute", segments: [staged.segmentId] }]);
    const change = { segmentId: lacking.segmentId, fromSeq: 10, throughSeq: 40 };
    const done = withDeletes(many, [change]);
    expect(done.deltas).toEqual([]);
    expect(coveredSeq(done)).toBe(40);
    expect(plansOf(done)).toEqual([]);
  });

  it("distributes deletes to all segments in turn, also when new ones come faster than it gets round", () => {
    // More than one job takes, so that they go in several.
    let manifest = manifestOf(
      Array.from({ length: 12 }, () => segmentOf({ bytes: 3000, deletesSeq: 0 })),
      { deltaSeq: 0 },
    );
    for (let job = 0; job < 60; job++) {
      // During every job comes as much as makes a distribution due.
      for (let i = 0; i < LIMITS.deltaObjects; i++) {
        const deltaSeq = manifest.deltaSeq + 1;
        manifest = { ...manifest, deltaSeq, deltas: [...manifest.deltas, deltaOf(deltaSeq)] };
      }
      const [plan] = planShard(stateOf(manifest), LIMITS);
      expect(plan?.kind).toBe("distribute");
      expect(readBytes(plan!.segments)).toBeLessThanOrEqual(4 * LIMITS.compactionBytes);
      const throughSeq = manifest.deltaSeq;
      manifest = withDeletes(
        manifest,
        plan!.segments.map(({ segmentId, deletesSeq }) => ({ segmentId, fromSeq: deletesSeq, throughSeq })),
      );
      // A round of all segments is 12 jobs, so nobody is further behind than what comes in one, and a little.
      expect(manifest.deltas.length).toBeLessThanOrEqual(13 * LIMITS.deltaObjects);
    }
  });

  it("merges what waits for a distribution that there is no node for: that brings its deletes, too", () => {
    const four = [1, 2, 3, 4].map(() => segmentOf({ bytes: 20, deletesSeq: 10 }));
    const manifest = manifestOf(four, { deltas: [deltaOf(20, LIMITS.deltaRows)], deltaSeq: 40 });
    expect(plansOf(manifest)).toEqual([{ kind: "distribute", segments: idsOf(four) }]);
    expect(plansOf(manifest, { distributionsMax: 0 })).toEqual([{ kind: "merge", segments: idsOf(four) }]);
  });

  it("leaves alone who lacks few deletes, while others lack many", () => {
    const behind = segmentOf({ bytes: 900, deletesSeq: 10 });
    const ahead = segmentOf({ bytes: 900, deletesSeq: 35 });
    const deltas = [deltaOf(20, 60), deltaOf(30, 40), deltaOf(40, 10)];
    expect(plansOf(manifestOf([ahead, behind], { deltas, deltaSeq: 40 }))).toEqual([
      { kind: "distribute", segments: [behind.segmentId] },
    ]);
  });

  it("distributes deletes to what is to be replaced, too, when its replacement is long in coming", () => {
    const replaced = segmentOf({ bytes: 900, deletesSeq: 10 });
    const staged = segmentOf({ deletesSeq: 40 });
    const lacking = (rowCount: number) =>
      withStaged(manifestOf([replaced], { deltas: [deltaOf(20, rowCount)], deltaSeq: 40 }), {
        replaces: [replaced.segmentId],
        segments: [staged],
      })!;
    expect(plansOf(lacking(LIMITS.deltaRows))).toEqual([]);
    const manifest = lacking(4 * LIMITS.deltaRows);
    expect(plansOf(manifest)).toEqual([{ kind: "distribute", segments: [replaced.segmentId] }]);
    const done = withDeletes(manifest, [{ segmentId: replaced.segmentId, fromSeq: 10, throughSeq: 40 }]);
    expect(done.deltas).toEqual([]);
    expect(withSwapped(done, done.staged[0]!).segments).toEqual([staged]);
  });

  it("reads no more in one merge than twice the target, however few rows are left", () => {
    const mostlyGone = Array.from({ length: 20 }, () =>
      segmentOf({ bytes: 900, deletes: { object: deltaOf(1).object, rowCount: 99 } }),
    );
    const asked: AskedShard = { segmentIds: idsOf(mostlyGone), deltaSeq: 100 };
    const plans = planShard(stateOf(manifestOf(mostlyGone), { asked: [asked], isAutomatic: false }), LIMITS);
    expect(plans.map(({ segments }) => segments.length)).toEqual(Array.from({ length: 10 }, () => 2));
  });

  it("does what was asked for by hand and nothing after: all deletes, all that fits together", () => {
    fc.assert(
      fc.property(manifestArbitrary, manifestArbitrary, (start, later) => {
        const asked: AskedShard = { segmentIds: start.segments.map(({ segmentId }) => segmentId), deltaSeq: 100 };
        let manifest: ManifestDoc = { ...start, segments: [...start.segments, ...later.segments] };
        let remaining = remainingPlans(asked, manifest, LIMITS);
        for (let steps = 0; remaining > 0; steps++) {
          expect(steps).toBeLessThan(100);
          const plans = planShard(stateOf(manifest, { asked: [asked], isAutomatic: false }), LIMITS);
          expect(plans.length).toBeGreaterThan(0);
          for (const plan of plans) {
            if (plan.kind === "merge") {
              const entry = merged(manifest, plan, undefined);
              manifest = withStaged(manifest, entry)!;
              expect(remainingPlans(asked, manifest, LIMITS)).toBeGreaterThan(0);
              manifest = withSwapped(manifest, entry);
            } else {
              manifest = withDeletes(
                manifest,
                plan.segments.map(({ segmentId, deletesSeq }) => ({
                  segmentId,
                  fromSeq: deletesSeq,
                  throughSeq: manifest.deltaSeq,
                  deletes: { object: deltaOf(1).object, rowCount: 3 },
                })),
              );
            }
          }
          remaining = remainingPlans(asked, manifest, LIMITS);
        }
        const left = manifest.segments.filter(({ segmentId }) => asked.segmentIds.includes(segmentId));
        expect(left.filter(({ deletes }) => deletes !== undefined)).toEqual([]);
        expect(
          left.filter(({ deletesSeq }) => manifest.deltas.some(({ throughSeq }) => throughSeq > deletesSeq)),
        ).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});
