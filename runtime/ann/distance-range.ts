/**
 * The band of distances that a range search asks for, as the metric reports them: `radius` is its far side (exclusive),
 * `rangeFilter` its near side (inclusive). Smaller is nearer for L2, HAMMING and JACCARD, greater for IP and COSINE.
 */
import { isDescending, type Metric } from "../schema.ts";

export interface DistanceRange {
  readonly isDescending: boolean;
  /** Infinite if the side is open. */
  readonly far: number;
  readonly near: number;
}

export interface RangeLimits {
  radius?: number | undefined;
  rangeFilter?: number | undefined;
}

/** Null: every distance. Limits are compared as float32, as distances are. */
export function distanceRange(metric: Metric, { radius, rangeFilter }: RangeLimits): DistanceRange | null {
  if (radius === undefined && rangeFilter === undefined) return null;
  const worst = isDescending(metric) ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return {
    isDescending: isDescending(metric),
    far: radius === undefined ? worst : Math.fround(radius),
    near: rangeFilter === undefined ? -worst : Math.fround(rangeFilter),
  };
}

export function isInRange({ isDescending, far, near }: DistanceRange, distance: number): boolean {
  const d = Math.fround(distance);
  return isDescending
    ? d <= near && (d > far || far === Number.NEGATIVE_INFINITY)
    : d >= near && (d < far || far === Number.POSITIVE_INFINITY);
}
