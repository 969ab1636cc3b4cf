/** What of a shard is laid out by a clustering key, what with, and what is done about it afterwards. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { withStaged, withSwapped } from "../../runtime/meta/manifest.ts";
import type { ManifestDoc, SegmentDoc } from "../../runtime/protocol/catalog.ts";
import {
  type AskedShard,
  type CompactionLimits,
  type CompactionPlan,
  planShard,
  remainingPlans,
  type ShardState,
} from "./plan-compaction.ts";

const KEY = 102;
const LIMITS: CompactionLimits = {
  ...{ compactionBytes: 1000, clusteringBytes: 4000, deletedShare: 0.2 },
  ...{ deltaRows: 100, deltaBytes: 1000, deltaObjects: 4 },
};
/** Asked for when rows had timestamps up to here. */
const ASKED: AskedShard = { segmentIds: [], deltaSeq: 0, clustering: { fieldId: KEY, upTo: 500n } };

let ids = 0;
function segmentOf(rest: Partial<SegmentDoc> & { bytes?: number; range?: [number, number] } = {}): SegmentDoc {
  const { bytes = 900, range: [min, max] = [0, 99], ...doc } = rest;
  const segmentId = String(++ids).padStart(26, "0");
  return {
    ...{ segmentId, partitionId: 1, rowCount: 100, minTs: 100n, maxTs: 200n, indexes: {}, deletesSeq: 100 },
    object: { name: segmentId, bytes, digest: "" },
    bounds: { [KEY]: { min, max, nulls: 0 } },
    ...doc,
  };
}

function manifestOf(segments: SegmentDoc[], rest: Partial<ManifestDoc> = {}): ManifestDoc {
  const base = { collectionId: 1, vchannel: "1v0", pchannel: 0, flushed: {}, flushedSeq: 0, deltaSeq: 100 };
  return { ...base, segments, staged: [], deltas: [], ...rest };
}

function plansOf(manifest: ManifestDoc, rest: Partial<ShardState> = {}): CompactionPlan[] {
  const state = { isPlaced: () => true, isBusy: () => false, asked: [ASKED], isAutomatic: true };
  return planShard({ manifest, ...state, ...rest }, LIMITS);
}

function idsOf(segments: readonly SegmentDoc[]): string[] {
  return segments.map(({ segmentId }) => segmentId).sort();
}

/** What a data node would make of it: segments of the target with a range each. */
function done(manifest: ManifestDoc, { segments, clusterBy }: CompactionPlan): ManifestDoc {
  const bytes = segments.reduce((sum, { object }) => sum + object.bytes, 0);
  const count = clusterBy === undefined ? 1 : Math.ceil(bytes / LIMITS.compactionBytes);
  const made = Array.from({ length: count }, (_, i) =>
    segmentOf({
      ...{ bytes: Math.ceil(bytes / count), range: [(i * 100) / count, ((i + 1) * 100) / count - 0.5] },
      ...{ partitionId: segments[0]!.partitionId, ...(clusterBy === undefined ? {} : { clusteredBy: clusterBy }) },
      maxTs: segments.reduce((max, { maxTs }) => (maxTs > max ? maxTs : max), 0n),
    }),
  );
  const entry = { replaces: segments.map(({ segmentId }) => segmentId), segments: made };
  return withSwapped(withStaged(manifest, entry)!, entry);
}

describe("what is asked to be laid out", () => {
  it("is all that is not, for each partition in one job that its bytes fit into, and then nothing", () => {
    const first = Array.from({ length: 4 }, () => segmentOf());
    const other = [segmentOf({ partitionId: 2 })];
    let manifest = manifestOf([...first, ...other]);
    const plans = plansOf(manifest);
    expect(plans.map(({ segments, clusterBy }) => [idsOf(segments), clusterBy])).toEqual([
      [idsOf(first), KEY],
      [idsOf(other), KEY],
    ]);
    expect(remainingPlans(ASKED, manifest, LIMITS)).toBe(2);
    for (const plan of plans) manifest = done(manifest, plan);
    expect(plansOf(manifest)).toEqual([]);
    expect(remainingPlans(ASKED, manifest, LIMITS)).toBe(0);
    expect(plansOf(manifest, { asked: [] })).toEqual([]);
    const large = manifestOf(Array.from({ length: 9 }, () => segmentOf()));
    expect(plansOf(large).map(({ segments }) => segments.length)).toEqual([4, 4, 1]);
  });

  it("takes along what is laid out already where values may be the same, and nothing else", () => {
    const range = (from: number, to: number) => segmentOf({ clusteredBy: KEY, range: [from, to] });
    const [low, middle, high] = [range(0, 10), range(11, 20), range(21, 30)];
    const nulls = segmentOf({ clusteredBy: KEY, bounds: { [KEY]: { nulls: 3 } } });
    const taken = (fresh: SegmentDoc) =>
      plansOf(manifestOf([low, middle, high, nulls, fresh])).map((p) => idsOf(p.segments));
    const newest = segmentOf({ range: [31, 99] });
    expect(taken(newest)).toEqual([idsOf([newest])]);
    const inside = segmentOf({ range: [20, 40] });
    expect(taken(inside)).toEqual([idsOf([middle, high, inside])]);
    const withNulls = segmentOf({ bounds: { [KEY]: { min: 5, max: 6, nulls: 1 } } });
    expect(taken(withNulls)).toEqual([idsOf([low, nulls, withNulls])]);
    const { bounds: _, ...unknown } = segmentOf({ bytes: 100 });
    expect(taken(unknown).flat()).toContain(unknown.segmentId);
  });

  it("waits until all of a partition's is free, so that nothing is laid out twice, and what it waits for is not merged", () => {
    const four = Array.from({ length: 4 }, () => segmentOf({ bytes: 50 }));
    const manifest = manifestOf(four);
    const isFirst = (segmentId: string) => segmentId === four[0]!.segmentId;
    expect(plansOf(manifest, { isBusy: isFirst })).toEqual([]);
    expect(plansOf(manifest, { isPlaced: (segmentId) => !isFirst(segmentId) })).toEqual([]);
    expect(remainingPlans(ASKED, manifest, LIMITS)).toBe(1);
    const staged = withStaged(manifest, { replaces: [four[0]!.segmentId], segments: [segmentOf({ bytes: 40 })] })!;
    expect(plansOf(staged)).toEqual([]);
    expect(remainingPlans(ASKED, staged, LIMITS)).toBe(2);
    const merged = withSwapped(staged, staged.staged[0]!);
    expect(plansOf(merged).map(({ segments }) => idsOf(segments))).toEqual([idsOf(merged.segments)]);
  });

  it("is not what came later", () => {
    const later = segmentOf({ maxTs: 501n });
    expect(plansOf(manifestOf([later]))).toEqual([]);
    expect(remainingPlans(ASKED, manifestOf([later]), LIMITS)).toBe(0);
  });

  it("gets its deletes first when it lacks very many", () => {
    const delta = { object: { name: "d", bytes: 1, digest: "" }, rowCount: 399, throughSeq: 100, throughTs: 1n };
    const lacking = segmentOf({ deletesSeq: 10 });
    expect(plansOf(manifestOf([lacking], { deltas: [delta] })).map(({ kind }) => kind)).toEqual(["merge"]);
    const many = [{ ...delta, rowCount: 400 }];
    expect(plansOf(manifestOf([lacking], { deltas: many })).map(({ kind }) => kind)).toEqual(["distribute"]);
  });
});

describe("what is laid out", () => {
  it("is merged with its like alone when it is small, neighbours first, and stays laid out", () => {
    const ranges = [3, 1, 2, 0].map((n) => segmentOf({ bytes: 300, clusteredBy: KEY, range: [n * 10, n * 10 + 9] }));
    const fresh = Array.from({ length: 3 }, () => segmentOf({ bytes: 300 }));
    const plans = plansOf(manifestOf([...ranges, ...fresh]), { asked: [] });
    const starts = (segments: readonly SegmentDoc[]) => segments.map(({ bounds }) => bounds![KEY]!.min);
    expect(plans.map(({ segments, clusterBy }) => [starts(segments), clusterBy])).toEqual([
      [[0, 10, 20], KEY],
      [[0, 0, 0], undefined],
    ]);
    const asked: AskedShard = { segmentIds: idsOf([...ranges, ...fresh]), deltaSeq: 100 };
    const byHand = plansOf(manifestOf([...ranges, ...fresh]), { asked: [asked], isAutomatic: false });
    expect(byHand.map(({ segments, clusterBy }) => [starts(segments), clusterBy])).toEqual([
      [[0, 10, 20], KEY],
      [[0, 0, 0], undefined],
    ]);
  });

  it("stays so when it is written anew because of its deletes", () => {
    const deletes = { object: { name: "o", bytes: 1, digest: "" }, rowCount: 21 };
    const segment = segmentOf({ clusteredBy: KEY, deletes });
    expect(plansOf(manifestOf([segment]), { asked: [] })).toEqual([
      { kind: "merge", segments: [segment], clusterBy: KEY },
    ]);
  });
});

it("ends, whatever the shard, beside every other compaction", () => {
  const segment = fc.record({
    bytes: fc.integer({ min: 1, max: 1500 }),
    partitionId: fc.constantFrom(1, 2),
    range: fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 50, max: 99 })),
    isClustered: fc.boolean(),
    maxTs: fc.bigInt({ min: 200n, max: 600n }),
  });
  fc.assert(
    fc.property(
      fc.array(segment, { maxLength: 30, size: "max" }),
      fc.boolean(),
      fc.infiniteStream(fc.nat()),
      (segments, isByHandToo, choices) => {
        let manifest = manifestOf(
          segments.map(({ isClustered, ...rest }) =>
            segmentOf({ ...rest, ...(isClustered ? { clusteredBy: KEY } : {}) }),
          ),
        );
        const byHand: AskedShard = { segmentIds: idsOf(manifest.segments), deltaSeq: 100 };
        const asked = isByHandToo ? [byHand, ASKED] : [ASKED];
        for (let steps = 0; ; steps++) {
          expect(steps).toBeLessThan(200);
          const plans = plansOf(manifest, { asked });
          const taken = plans.flatMap((plan) => idsOf(plan.segments));
          expect(new Set(taken).size).toBe(taken.length);
          if (plans.length === 0) break;
          manifest = done(manifest, plans[choices.next().value! % plans.length]!);
        }
        for (const each of asked) expect(remainingPlans(each, manifest, LIMITS)).toBe(0);
        expect(manifest.segments.filter(({ maxTs, clusteredBy }) => maxTs <= 500n && clusteredBy !== KEY)).toEqual([]);
      },
    ),
    { numRuns: 200 },
  );
});
