/**
 * What of a shard is to be compacted, told from its manifest alone: a pure function, asked again after every change.
 *
 * Distribution of deletes: to the segments that lack many, the furthest behind first, so that what query nodes keep of
 * them stays bounded, however long it takes to go round all segments.
 * Writing anew: a segment of which a good part is deleted or has outlived its time.
 * Merging: small segments of a partition. Sizes fall into tiers, each FAN_IN times the one below; FAN_IN segments of a tier
 * become one, which is of a higher tier, so a row is written again at most once a tier. What makes at least half of
 * the target together is merged too, and is not small any more.
 *
 * It ends: every merge makes fewer segments, every other plan removes the reason for it.
 */
import { groupBy } from "../../runtime/lists.ts";
import { allSegments, deltasAfter } from "../../runtime/meta/manifest.ts";
import type { ManifestDoc, SegmentDoc } from "../../runtime/protocol/catalog.ts";

/** Segments of one tier that are merged, and how much larger the next tier's are. */
const FAN_IN = 4;

/** Inputs of one merge: more of them take long to read, and an attempt that fails is lost work. */
const INPUTS_MAX = 64;

/** A distribution reads its segments whole, one after the other: so many times the target at most. */
const DISTRIBUTE_TARGETS = 4;

/** So do merges, some of them at once, however few of their rows are left. */
const MERGE_TARGETS = 2;

/** A segment that is about to be replaced may lack so many times as many deletes: only one that stays for long gets them. */
const REPLACED_PATIENCE = 4;

export interface CompactionLimits {
  compactionBytes: number;
  deletedShare: number;
  deltaRows: number;
  deltaBytes: number;
  deltaObjects: number;
}

export interface ShardState {
  manifest: ManifestDoc;
  /** Whether the segment is where it is to be served; what is still on its way there is left alone. */
  isPlaced(segmentId: string): boolean;
  /** Whether a job has the segment. */
  isBusy(segmentId: string): boolean;
  /** Distributions that there are nodes for; absent: any number. What has to wait for one may be merged instead. */
  distributionsMax?: number;
  /** Rows from before this timestamp have outlived their time. */
  expiredTs?: bigint | undefined;
  /** What was asked for by hand. */
  asked: readonly AskedShard[];
  /** False: only what is asked for. */
  isAutomatic: boolean;
}

/** The part of a manual compaction that concerns a shard: how it was when the compaction was asked for. */
export interface AskedShard {
  readonly segmentIds: readonly string[];
  readonly deltaSeq: number;
  readonly expiredTs?: bigint | undefined;
}

export interface CompactionPlan {
  kind: "merge" | "distribute";
  segments: SegmentDoc[];
}

export function planShard(state: ShardState, limits: CompactionLimits): CompactionPlan[] {
  const taken = new Set<string>();
  const replaced = new Set(state.manifest.staged.flatMap(({ replaces }) => replaces));
  const isFree = ({ segmentId }: SegmentDoc) => !taken.has(segmentId) && !state.isBusy(segmentId);
  const plans: CompactionPlan[] = [];
  const take = (found: readonly CompactionPlan[]) => {
    for (const { segments } of found) for (const { segmentId } of segments) taken.add(segmentId);
    plans.push(...found);
  };
  const mergeable = () =>
    state.manifest.segments.filter(
      (segment) => isFree(segment) && !replaced.has(segment.segmentId) && state.isPlaced(segment.segmentId),
    );
  const isAsked = new Set(state.asked.flatMap(({ segmentIds }) => segmentIds));

  const mayDistribute = state.distributionsMax !== 0;
  const due = (mayDistribute ? allSegments(state.manifest) : []).filter(
    (segment) => isFree(segment) && lacksMany(segment, state.manifest, limits, replaced.has(segment.segmentId)),
  );
  take(distributions(due, limits).slice(0, state.distributionsMax));
  for (const asked of state.asked) take(planAsked(asked, state.manifest, mergeable(), limits));
  if (!state.isAutomatic) return plans;
  for (const segments of byPartition(mergeable().filter(({ segmentId }) => !isAsked.has(segmentId)))) {
    take(planRewrites(segments, state.expiredTs, limits));
    take(planMerges(segments.filter(isFree), state.expiredTs, limits));
  }
  return plans;
}

/** What is still to be done for a manual compaction, whoever may be doing it: empty when it is completed. */
export function remainingPlans(asked: AskedShard, manifest: ManifestDoc, limits: CompactionLimits): number {
  const { segments, staged } = manifest;
  const wanted = new Set(asked.segmentIds);
  const underWay = staged.filter(({ replaces }) => replaces.some((segmentId) => wanted.has(segmentId)));
  const replaced = new Set(underWay.flatMap(({ replaces }) => replaces));
  const left = segments.filter(({ segmentId }) => !replaced.has(segmentId));
  return underWay.length + planAsked(asked, manifest, left, limits).length;
}

/** Whether the deletes that the segment has not among its own are too many for query nodes to keep. */
function lacksMany(
  { deletesSeq }: SegmentDoc,
  manifest: ManifestDoc,
  { deltaRows, deltaBytes, deltaObjects }: CompactionLimits,
  isReplaced: boolean,
): boolean {
  const deltas = deltasAfter(manifest, deletesSeq);
  const rows = deltas.reduce((sum, { rowCount }) => sum + rowCount, 0);
  const bytes = deltas.reduce((sum, { object }) => sum + object.bytes, 0);
  const patience = isReplaced ? REPLACED_PATIENCE : 1;
  return rows >= patience * deltaRows || bytes >= patience * deltaBytes || deltas.length >= patience * deltaObjects;
}

/** Those that are furthest behind come first: what the others lack meanwhile never keeps them waiting. */
function distributions(segments: readonly SegmentDoc[], { compactionBytes }: CompactionLimits): CompactionPlan[] {
  const bytes = ({ object }: SegmentDoc) => object.bytes;
  const sorted = [...segments].sort((a, b) => a.deletesSeq - b.deletesSeq);
  return inBins(sorted, bytes, { live: Number.POSITIVE_INFINITY, read: DISTRIBUTE_TARGETS * compactionBytes }).map(
    (bin) => ({ kind: "distribute", segments: bin }),
  );
}

/** Merges whatever fits together, and writes anew what has deleted or expired rows; first of all the deletes are distributed. */
function planAsked(
  asked: AskedShard,
  manifest: ManifestDoc,
  segments: readonly SegmentDoc[],
  limits: CompactionLimits,
): CompactionPlan[] {
  const { expiredTs } = asked;
  const wanted = new Set(asked.segmentIds);
  const left = segments.filter(({ segmentId }) => wanted.has(segmentId));
  const lacking = left.filter(
    ({ deletesSeq }) => deletesSeq < asked.deltaSeq && deltasAfter(manifest, deletesSeq).length > 0,
  );
  if (lacking.length > 0) return distributions(lacking, limits);
  return byPartition(left).flatMap((some) => {
    const bytes = (segment: SegmentDoc) => liveBytes(segment, expiredTs);
    const bins = inBins(largestFirst(some, expiredTs), bytes, mergeRoom(limits));
    const isWorth = (bin: SegmentDoc[]) => bin.length > 1 || goneShare(bin[0]!, expiredTs) > 0;
    return bins.filter(isWorth).map((bin): CompactionPlan => ({ kind: "merge", segments: bin }));
  });
}

function planRewrites(
  segments: readonly SegmentDoc[],
  expiredTs: bigint | undefined,
  { deletedShare }: CompactionLimits,
): CompactionPlan[] {
  return segments
    .filter((segment) => goneShare(segment, expiredTs) > deletedShare)
    .map((segment) => ({ kind: "merge", segments: [segment] }));
}

function planMerges(
  segments: readonly SegmentDoc[],
  expiredTs: bigint | undefined,
  { compactionBytes }: CompactionLimits,
): CompactionPlan[] {
  const bytes = (segment: SegmentDoc) => liveBytes(segment, expiredTs);
  const room = mergeRoom({ compactionBytes });
  const small = largestFirst(segments, expiredTs).filter((segment) => bytes(segment) < compactionBytes / 2);
  const plans: CompactionPlan[] = [];
  const taken = new Set<SegmentDoc>();
  const take = (bin: SegmentDoc[]) => {
    for (const segment of bin) taken.add(segment);
    plans.push({ kind: "merge", segments: bin });
  };
  const sumOf = (bin: readonly SegmentDoc[]) => bin.reduce((sum, segment) => sum + bytes(segment), 0);
  for (const tier of byTier(small, bytes)) {
    for (const bin of inBins(tier, bytes, room)) if (bin.length >= FAN_IN) take(bin);
  }
  const rest = small.filter((segment) => !taken.has(segment));
  for (const bin of inBins(rest, bytes, room)) {
    if (bin.length > 1 && sumOf(bin) >= compactionBytes / 2) take(bin);
  }
  return plans;
}

/** What fits into one job: bytes of live rows, and of the objects that are read. */
interface Room {
  live: number;
  read: number;
}

function mergeRoom({ compactionBytes }: Pick<CompactionLimits, "compactionBytes">): Room {
  return { live: compactionBytes, read: MERGE_TARGETS * compactionBytes };
}

/** First fit: each segment goes into the first bin that has room for it. One that is too large alone has a bin of its own. */
function inBins(segments: readonly SegmentDoc[], bytes: (segment: SegmentDoc) => number, room: Room): SegmentDoc[][] {
  const bins: { segments: SegmentDoc[]; left: Room }[] = [];
  for (const segment of segments) {
    const live = bytes(segment);
    const read = segment.object.bytes;
    const fits = ({ segments: { length }, left }: (typeof bins)[number]) =>
      live <= left.live && read <= left.read && length < INPUTS_MAX;
    let bin = bins.find(fits);
    if (bin === undefined) {
      bin = { segments: [], left: { ...room } };
      bins.push(bin);
    }
    bin.segments.push(segment);
    bin.left.live -= live;
    bin.left.read -= read;
  }
  return bins.map((bin) => bin.segments);
}

function byTier(segments: readonly SegmentDoc[], bytes: (segment: SegmentDoc) => number): Iterable<SegmentDoc[]> {
  const tierOf = (segment: SegmentDoc) => Math.floor(Math.log(Math.max(1, bytes(segment))) / Math.log(FAN_IN));
  return groupBy(segments, tierOf).values();
}

function byPartition(segments: readonly SegmentDoc[]): SegmentDoc[][] {
  return [...groupBy(segments, ({ partitionId }) => partitionId).values()];
}

function largestFirst(segments: readonly SegmentDoc[], expiredTs: bigint | undefined): SegmentDoc[] {
  return [...segments].sort((a, b) => liveBytes(b, expiredTs) - liveBytes(a, expiredTs));
}

/** Bytes of the rows that are left, as if all rows were of one size. */
function liveBytes(segment: SegmentDoc, expiredTs: bigint | undefined): number {
  return Math.ceil(segment.object.bytes * (1 - goneShare(segment, expiredTs)));
}

/** Share of rows that are known to be deleted, or would be expired if they had come evenly. */
function goneShare({ rowCount, deletes, minTs, maxTs }: SegmentDoc, expiredTs: bigint | undefined): number {
  const deleted = (deletes?.rowCount ?? 0) / rowCount;
  if (expiredTs === undefined || minTs >= expiredTs) return deleted;
  const expired = maxTs < expiredTs ? 1 : Number(expiredTs - minTs) / Number(maxTs - minTs + 1n);
  return Math.min(1, Math.max(deleted, expired));
}
