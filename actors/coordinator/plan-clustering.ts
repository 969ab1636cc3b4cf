/**
 * Which segments of a shard are to be laid out by its collection's clustering key, told from its manifest: in each
 * partition those that came since the last time, together with those laid out already that have values in the same
 * ranges.
 *
 * It ends: what has been laid out stays so (plan-compaction.ts), and segments that came after the compaction was asked
 * for are left alone.
 */
import { groupBy } from "../../runtime/lists.ts";
import { byTime } from "../../runtime/meta/manifest.ts";
import type { SegmentDoc } from "../../runtime/protocol/catalog.ts";
import type { CompactionPlan } from "./plan-compaction.ts";
import { inBins } from "./segment-bins.ts";

/** Inputs of one job: their documents travel in one request. */
const INPUTS_MAX = 1024;

export interface Clustering {
  /** The clustering key. */
  readonly fieldId: number;
  /** When it was asked for: segments with newer rows are left alone. */
  readonly upTo: bigint;
  /** Segments that are left as they are. */
  readonly leftOut?: ReadonlySet<string>;
}

/** Those of a shard's segments that are not laid out by the key and should be. */
export function toCluster(segments: readonly SegmentDoc[], { fieldId, upTo, leftOut }: Clustering): SegmentDoc[] {
  return segments.filter(
    ({ segmentId, clusteredBy, maxTs }) => clusteredBy !== fieldId && maxTs <= upTo && leftOut?.has(segmentId) !== true,
  );
}

/**
 * A partition waits until all of its segments to be laid out are free: laid out one after the other, each would have
 * the earlier ones rewritten.
 */
export function planClustering(
  segments: readonly SegmentDoc[],
  isFree: (segment: SegmentDoc) => boolean,
  clustering: Clustering,
  { clusteringBytes }: { clusteringBytes: number },
): CompactionPlan[] {
  const { fieldId: clusterBy, leftOut } = clustering;
  const room = { live: Number.POSITIVE_INFINITY, read: clusteringBytes, count: INPUTS_MAX };
  return [...groupBy(segments, ({ partitionId }) => partitionId).values()].flatMap((ofPartition) => {
    const fresh = toCluster(ofPartition, clustering);
    if (!fresh.every(isFree)) return [];
    const isTouched = (segment: SegmentDoc) =>
      segment.clusteredBy === clusterBy &&
      leftOut?.has(segment.segmentId) !== true &&
      isFree(segment) &&
      fresh.some((other) => mayOverlap(segment, other, clusterBy));
    // Those that came at about the same time often have values near to each other.
    const inputs = [...byTime(fresh), ...byKey(ofPartition.filter(isTouched), clusterBy)];
    const isFresh = new Set(fresh);
    const bins = inBins(inputs, ({ object }) => object.bytes, room);
    return bins
      .filter((bin) => bin.some((segment) => isFresh.has(segment)))
      .map((bin): CompactionPlan => ({ kind: "merge", segments: bin, clusterBy }));
  });
}

/** Sorts segments by their least values; those without any, or with unknown ones, come first. */
export function byKey(segments: readonly SegmentDoc[], fieldId: number): SegmentDoc[] {
  const least = ({ bounds }: SegmentDoc) => bounds?.[fieldId]?.min;
  return [...segments].sort((a, b) => {
    const [left, right] = [least(a), least(b)];
    if (left === undefined || right === undefined) return Number(left !== undefined) - Number(right !== undefined);
    return left < right ? -1 : left > right ? 1 : 0;
  });
}

/** Whether both may have rows of one value. */
function mayOverlap(a: SegmentDoc, b: SegmentDoc, fieldId: number): boolean {
  const [left, right] = [a.bounds?.[fieldId], b.bounds?.[fieldId]];
  if (left === undefined || right === undefined) return true;
  if (left.nulls > 0 && right.nulls > 0) return true;
  if (left.min === undefined || left.max === undefined || right.min === undefined || right.max === undefined) {
    return false;
  }
  return left.min <= right.max && right.min <= left.max;
}
