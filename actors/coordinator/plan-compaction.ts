/**
 * What of a shard is to be compacted, told from its manifest alone: a pure function, asked again after every change.
 *
 * Distribution of deletes: when the deltas have become many, so that what query nodes keep of them stays bounded.
 * Writing anew: a segment of which a good part is deleted or has outlived its time.
 * Merging: small segments of a partition. Sizes fall into tiers, each FAN_IN times the one below; FAN_IN segments of a tier
 * become one, which is of a higher tier, so a row is written again at most once a tier. What makes at least half of
 * the target together is merged too, and is not small any more.
 *
 * It ends: every merge makes fewer segments, every other plan removes the reason for it.
 */
import { deltasAfter } from "../../runtime/meta/manifest.ts";
import type { ManifestDoc, SegmentDoc } from "../../runtime/protocol/catalog.ts";

/** Segments of one tier that are merged, and how much larger the next tier's are. */
const FAN_IN = 4;

/** Inputs of one merge: more of them take long to read, and an attempt that fails is lost work. */
const INPUTS_MAX = 64;

/** A distribution reads its segments whole: so many times the target at most. */
const DISTRIBUTE_TARGETS = 4;

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

  const staged = state.manifest.staged.flatMap(({ segments }) => segments);
  // What is about to be replaced has no need of its own.
  const lasting = state.manifest.segments.filter(({ segmentId }) => !replaced.has(segmentId));
  take(planDistribution(state.manifest, [...lasting, ...staged].filter(isFree), limits));
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

function planDistribution(
  manifest: ManifestDoc,
  segments: readonly SegmentDoc[],
  limits: CompactionLimits,
): CompactionPlan[] {
  const lacking = segments.filter(({ deletesSeq }) => deltasAfter(manifest, deletesSeq).length > 0);
  const lowest = Math.min(...lacking.map(({ deletesSeq }) => deletesSeq));
  const deltas = deltasAfter(manifest, lowest);
  const rows = deltas.reduce((sum, { rowCount }) => sum + rowCount, 0);
  const bytes = deltas.reduce((sum, { object }) => sum + object.bytes, 0);
  const isDue = rows >= limits.deltaRows || bytes >= limits.deltaBytes || deltas.length >= limits.deltaObjects;
  return lacking.length > 0 && isDue ? distributions(lacking, limits) : [];
}

function distributions(segments: readonly SegmentDoc[], { compactionBytes }: CompactionLimits): CompactionPlan[] {
  return inBins(segments, DISTRIBUTE_TARGETS * compactionBytes, ({ object }) => object.bytes).map((bin) => ({
    kind: "distribute",
    segments: bin,
  }));
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
    const bins = inBins(largestFirst(some, expiredTs), limits.compactionBytes, (segment) =>
      liveBytes(segment, expiredTs),
    );
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
  const small = largestFirst(segments, expiredTs).filter((segment) => bytes(segment) < compactionBytes / 2);
  const plans: CompactionPlan[] = [];
  const taken = new Set<SegmentDoc>();
  const take = (bin: SegmentDoc[]) => {
    for (const segment of bin) taken.add(segment);
    plans.push({ kind: "merge", segments: bin });
  };
  const sumOf = (bin: readonly SegmentDoc[]) => bin.reduce((sum, segment) => sum + bytes(segment), 0);
  for (const tier of byTier(small, bytes)) {
    for (const bin of inBins(tier, compactionBytes, bytes)) if (bin.length >= FAN_IN) take(bin);
  }
  const rest = small.filter((segment) => !taken.has(segment));
  for (const bin of inBins(rest, compactionBytes, bytes)) {
    if (bin.length > 1 && sumOf(bin) >= compactionBytes / 2) take(bin);
  }
  return plans;
}

/** First fit: each segment goes into the first bin that has room for it. One that is too large alone has a bin of its own. */
function inBins(
  segments: readonly SegmentDoc[],
  capacity: number,
  bytes: (segment: SegmentDoc) => number,
): SegmentDoc[][] {
  const bins: { segments: SegmentDoc[]; room: number }[] = [];
  for (const segment of segments) {
    const size = bytes(segment);
    const bin = bins.find(({ room, segments: { length } }) => size <= room && length < INPUTS_MAX);
    if (bin === undefined) bins.push({ segments: [segment], room: capacity - size });
    else {
      bin.segments.push(segment);
      bin.room -= size;
    }
  }
  return bins.map((bin) => bin.segments);
}

function byTier(segments: readonly SegmentDoc[], bytes: (segment: SegmentDoc) => number): SegmentDoc[][] {
  const tiers = new Map<number, SegmentDoc[]>();
  for (const segment of segments) {
    const tier = Math.floor(Math.log(Math.max(1, bytes(segment))) / Math.log(FAN_IN));
    const others = tiers.get(tier);
    if (others === undefined) tiers.set(tier, [segment]);
    else others.push(segment);
  }
  return [...tiers.values()];
}

function byPartition(segments: readonly SegmentDoc[]): SegmentDoc[][] {
  const groups = new Map<number, SegmentDoc[]>();
  for (const segment of segments) {
    const others = groups.get(segment.partitionId);
    if (others === undefined) groups.set(segment.partitionId, [segment]);
    else others.push(segment);
  }
  return [...groups.values()];
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
