/**
 * What is to be compacted in a shard, told from its manifest alone: a pure function, called again after every change.
 * (Layout by a clustering key: plan-clustering.ts.)
 *
 * Distribution of deletes: to the segments that lack many, the furthest behind first, so that query nodes keep a
 * bounded number of them, however long it takes to go round all segments. Writing anew: a segment of which a good part
 * is deleted or has outlived its time. Merging: small segments of a partition. Sizes fall into tiers, each FAN_IN times
 * the one below; FAN_IN segments of a tier become one, which is of a higher tier, so a row is written again at most
 * once a tier. What makes at least half of the target together is merged too, and is not small any more. What has been
 * laid out by a clustering key is merged with its like alone, neighbours first, and stays laid out.
 *
 * It ends: every merge makes fewer segments, every other plan removes the reason for it.
 */
import { groupBy } from "../../runtime/lists.ts";
import { allSegments, deltasAfter } from "../../runtime/meta/manifest.ts";
import type { ManifestDoc, SegmentDoc } from "../../runtime/protocol/catalog.ts";
import { byKey, type Clustering, planClustering, toCluster } from "./plan-clustering.ts";
import { goneShare, inBins, liveBytes, type Room } from "./segment-bins.ts";

/** Segments of one tier that are merged, and how much larger the next tier's are. */
const FAN_IN = 4;

/** A distribution reads its segments whole, one after the other: so many times the target at most. */
const DISTRIBUTE_TARGETS = 4;

/** So do merges, some of them at once, however few of their rows are left. */
const MERGE_TARGETS = 2;

/** A segment that is about to be replaced may lack this many times as many deletes: it gets them only if it stays for long. */
const REPLACED_PATIENCE = 4;

export interface CompactionLimits {
  compactionBytes: number;
  clusteringBytes: number;
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
  /** Whether it is to be merged with nothing for now. */
  isLeftAlone?(segmentId: string): boolean;
  /** Distributions that there are nodes for; absent: any number. What has to wait for one may be merged instead. */
  distributionsMax?: number;
  /** Rows from before this timestamp have expired. */
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
  /** It is about this, and about nothing of the above. */
  readonly clustering?: Clustering | undefined;
}

export interface CompactionPlan {
  kind: "merge" | "distribute";
  segments: SegmentDoc[];
  /** Of a merge: the field whose ranges its segments are to have. */
  clusterBy?: number;
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
      (segment) =>
        isFree(segment) &&
        !replaced.has(segment.segmentId) &&
        state.isLeftAlone?.(segment.segmentId) !== true &&
        state.isPlaced(segment.segmentId),
    );
  const isAsked = new Set(state.asked.flatMap(({ segmentIds }) => segmentIds));
  const clusterings = state.asked.flatMap(({ clustering }) => clustering ?? []);
  const isToCluster = new Set(clusterings.flatMap((clustering) => toCluster(state.manifest.segments, clustering)));

  const mayDistribute = state.distributionsMax !== 0;
  const isLeaving = (segment: SegmentDoc) => replaced.has(segment.segmentId) || isToCluster.has(segment);
  const due = (mayDistribute ? allSegments(state.manifest) : []).filter(
    (segment) => isFree(segment) && lacksMany(segment, state.manifest, limits, isLeaving(segment)),
  );
  take(distributions(due, limits).slice(0, state.distributionsMax));
  for (const clustering of clusterings) {
    const free = new Set(mergeable());
    take(planClustering(state.manifest.segments, (segment) => free.has(segment), clustering, limits));
  }
  const others = () => mergeable().filter((segment) => !isToCluster.has(segment));
  for (const asked of state.asked) take(planAsked(asked, state.manifest, others(), limits));
  if (!state.isAutomatic) return plans;
  for (const segments of byLayout(others().filter(({ segmentId }) => !isAsked.has(segmentId)))) {
    take(planRewrites(segments, state.expiredTs, limits));
    take(planMerges(segments.filter(isFree), state.expiredTs, limits));
  }
  return plans;
}

/** What is still to be done for a manual compaction, including what is being done: empty when it is completed. */
export function remainingPlans(asked: AskedShard, manifest: ManifestDoc, limits: CompactionLimits): number {
  const { segments, staged } = manifest;
  const { clustering } = asked;
  const clustered = clustering === undefined ? [] : toCluster(segments, clustering).map(({ segmentId }) => segmentId);
  const wanted = new Set(clustering === undefined ? asked.segmentIds : clustered);
  const underWay = staged.filter(({ replaces }) => replaces.some((segmentId) => wanted.has(segmentId)));
  const replaced = new Set(underWay.flatMap(({ replaces }) => replaces));
  const left = segments.filter(({ segmentId }) => !replaced.has(segmentId));
  const plans =
    clustering === undefined
      ? planAsked(asked, manifest, left, limits)
      : planClustering(left, () => true, clustering, limits);
  return underWay.length + plans.length;
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

/** The furthest behind come first, so they never wait for what the others lack meanwhile. */
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
  return byLayout(left).flatMap((some) => {
    const bytes = (segment: SegmentDoc) => liveBytes(segment, expiredTs);
    const bins = inBins(inOrder(some, expiredTs), bytes, mergeRoom(limits));
    const isWorth = (bin: SegmentDoc[]) => bin.length > 1 || goneShare(bin[0]!, expiredTs) > 0;
    return bins.filter(isWorth).map(mergeOf);
  });
}

function planRewrites(
  segments: readonly SegmentDoc[],
  expiredTs: bigint | undefined,
  { deletedShare }: CompactionLimits,
): CompactionPlan[] {
  return segments
    .filter((segment) => goneShare(segment, expiredTs) > deletedShare)
    .map((segment) => mergeOf([segment]));
}

function planMerges(
  segments: readonly SegmentDoc[],
  expiredTs: bigint | undefined,
  { compactionBytes }: CompactionLimits,
): CompactionPlan[] {
  const bytes = (segment: SegmentDoc) => liveBytes(segment, expiredTs);
  const room = mergeRoom({ compactionBytes });
  const small = inOrder(segments, expiredTs).filter((segment) => bytes(segment) < compactionBytes / 2);
  const plans: CompactionPlan[] = [];
  const taken = new Set<SegmentDoc>();
  const take = (bin: SegmentDoc[]) => {
    for (const segment of bin) taken.add(segment);
    plans.push(mergeOf(bin));
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

function mergeRoom({ compactionBytes }: Pick<CompactionLimits, "compactionBytes">): Room {
  return { live: compactionBytes, read: MERGE_TARGETS * compactionBytes };
}

function byTier(segments: readonly SegmentDoc[], bytes: (segment: SegmentDoc) => number): Iterable<SegmentDoc[]> {
  const tierOf = (segment: SegmentDoc) => Math.floor(Math.log(Math.max(1, bytes(segment))) / Math.log(FAN_IN));
  return groupBy(segments, tierOf).values();
}

/** What may be merged with each other: of one partition, laid out alike. */
function byLayout(segments: readonly SegmentDoc[]): SegmentDoc[][] {
  return [...groupBy(segments, ({ partitionId, clusteredBy }) => `${partitionId} ${clusteredBy ?? ""}`).values()];
}

/** Of segments that are laid out alike. */
function mergeOf(segments: SegmentDoc[]): CompactionPlan {
  const { clusteredBy } = segments[0]!;
  return { kind: "merge", segments, ...(clusteredBy === undefined ? {} : { clusterBy: clusteredBy }) };
}

/** The largest first; those that are laid out by a key by their ranges, so that neighbours come together. */
function inOrder(segments: readonly SegmentDoc[], expiredTs: bigint | undefined): SegmentDoc[] {
  const clusterBy = segments[0]?.clusteredBy;
  if (clusterBy !== undefined) return byKey(segments, clusterBy);
  return [...segments].sort((a, b) => liveBytes(b, expiredTs) - liveBytes(a, expiredTs));
}
