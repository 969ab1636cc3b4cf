/**
 * What of a shard is to be laid out by its collection's clustering key, told from its manifest: for each partition what came
 * since the last time, together with what is laid out already and has values in the same ranges.
 *
 * It ends: what has been laid out stays so (plan-compaction.ts), and only what is from before the compaction was asked for
 * is a reason for one.
 */
import { groupBy } from "../../runtime/lists.ts";
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
}

/** Those of a shard's segments that are not laid out by the key and should be. */
export function toCluster(segments: readonly SegmentDoc[], { fieldId, upTo }: Clustering): SegmentDoc[] {
  return segments.filter(({ clusteredBy, maxTs }) => clusteredBy !== fieldId && maxTs <= upTo);
}

/**
 * A partition waits until all that is to be laid out is free: one after the other, each would have what was laid out before
 * written anew.
 */
export function planClustering(
  segments: readonly SegmentDoc[],
  isFree: (segment: SegmentDoc) => boolean,
  clustering: Clustering,
  { clusteringBytes }: { clusteringBytes: number },
): CompactionPlan[] {
  const { fieldId: clusterBy } = clustering;
  const room = { live: Number.POSITIVE_INFINITY, read: clusteringBytes, count: INPUTS_MAX };
  return [...groupBy(segments, ({ partitionId }) => partitionId).values()].flatMap((ofPartition) => {
    const fresh = toCluster(ofPartition, clustering);
    if (!fresh.every(isFree)) return [];
    const isTouched = (segment: SegmentDoc) =>
      segment.clusteredBy === clusterBy &&
      isFree(segment) &&
      fresh.some((other) => mayOverlap(segment, other, clusterBy));
    const inputs = [...byTime(fresh), ...byKey(ofPartition.filter(isTouched), clusterBy)];
    const isFresh = new Set(fresh);
    const bins = inBins(inputs, ({ object }) => object.bytes, room);
    return bins
      .filter((bin) => bin.some((segment) => isFresh.has(segment)))
      .map((bin): CompactionPlan => ({ kind: "merge", segments: bin, clusterBy }));
  });
}

/** Segments by their least values; those that have none, or of which nothing is known, come first. */
export function byKey(segments: readonly SegmentDoc[], fieldId: number): SegmentDoc[] {
  const least = ({ bounds }: SegmentDoc) => bounds?.[fieldId]?.min;
  return [...segments].sort((a, b) => {
    const [left, right] = [least(a), least(b)];
    if (left === undefined || right === undefined) return Number(left !== undefined) - Number(right !== undefined);
    return left < right ? -1 : left > right ? 1 : 0;
  });
}

/** Those that came at about the same time often have values near to each other. */
function byTime(segments: readonly SegmentDoc[]): SegmentDoc[] {
  return [...segments].sort((a, b) => (a.minTs < b.minTs ? -1 : a.minTs > b.minTs ? 1 : 0));
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
