/**
 * Tells whether relating two geometries would hold up everybody else. It takes some microseconds where they do not meet and
 * long where they do. So the pairs of segments whose boxes overlap are counted first, as far as it matters.
 */
import type { Parts } from "./segments.ts";

/** Most pairs, between two geometries or within one: each costs up to 20 microseconds, one within a geometry a tenth of that. */
const MEETINGS_MAX = 500;
const OWN_MEETINGS_MAX = 5_000;

/** Looks at pairs: some nanoseconds each. */
const LOOKS_MAX = 1_000_000;

const APART_LOOKS_MAX = 10_000;

/** Most segments that are merely read, at some hundred nanoseconds each. */
const SEGMENTS_MAX = 16_384;

/** Points, at some microseconds each. */
const POINTS_MAX = 2_000;

/** Parts that do not meet the other geometry are each compared with all of it. */
const COMPARED_MAX = 500_000;

export function isHeavyPair(a: Parts, b: Parts): boolean {
  const aCount = a.segments.length / 4;
  const bCount = b.segments.length / 4;
  if (aCount + bCount > SEGMENTS_MAX || a.points.length + b.points.length > 2 * POINTS_MAX) return true;
  if (a.count * bCount + b.count * aCount > COMPARED_MAX) return true;
  return aCount * bCount > MEETINGS_MAX && meets(near(a, b), near(b, a), MEETINGS_MAX);
}

/** Whether it is quickly seen that no segments meet: the boxes of each are compared with those of the other nearby. */
export function areApart(a: Parts, b: Parts): boolean {
  const aNear = near(a, b);
  const bNear = near(b, a);
  if (aNear.length * bNear.length > 16 * APART_LOOKS_MAX) return false;
  for (let i = 0; i < aNear.length; i += 4) {
    for (let j = 0; j < bNear.length; j += 4) {
      const isX = aNear[i]! <= bNear[j + 2]! && aNear[i + 2]! >= bNear[j]!;
      if (isX && aNear[i + 1]! <= bNear[j + 3]! && aNear[i + 3]! >= bNear[j + 1]!) return false;
    }
  }
  return true;
}

/** For a single geometry: its lines may cross themselves, and polygons of a collection each other. */
export function isHeavy({ segments, kind }: Parts): boolean {
  // The rings of valid polygons do not cross.
  if (kind === "area" || segments.length / 4 <= Math.sqrt(OWN_MEETINGS_MAX)) return false;
  const own = boxesOf(segments);
  return meets(own, own, OWN_MEETINGS_MAX);
}

/** Boxes of segments: least x, least y, greatest x, greatest y. */
function boxesOf(segments: Float64Array): Float64Array {
  const boxes = new Float64Array(segments.length);
  for (let i = 0; i < segments.length; i += 4) {
    boxes[i] = Math.min(segments[i]!, segments[i + 2]!);
    boxes[i + 1] = Math.min(segments[i + 1]!, segments[i + 3]!);
    boxes[i + 2] = Math.max(segments[i]!, segments[i + 2]!);
    boxes[i + 3] = Math.max(segments[i + 1]!, segments[i + 3]!);
  }
  return boxes;
}

/** The boxes of segments that touch the other geometry's box. */
function near({ segments }: Parts, { box }: Parts): Float64Array {
  const [left, bottom, right, top] = box as unknown as [number, number, number, number];
  const found: number[] = [];
  for (let i = 0; i < segments.length; i += 4) {
    const minX = Math.min(segments[i]!, segments[i + 2]!);
    const maxX = Math.max(segments[i]!, segments[i + 2]!);
    if (minX > right || maxX < left) continue;
    const minY = Math.min(segments[i + 1]!, segments[i + 3]!);
    const maxY = Math.max(segments[i + 1]!, segments[i + 3]!);
    if (minY <= top && maxY >= bottom) found.push(minX, minY, maxX, maxY);
  }
  return Float64Array.from(found);
}

/** Whether boxes of one overlap with boxes of the other more than `most` times, or it takes too long to tell. A sweep by x. */
function meets(a: Float64Array, b: Float64Array, most: number): boolean {
  const aOrder = orderOf(a);
  const bOrder = a === b ? aOrder : orderOf(b);
  let found = 0;
  let looks = 0;
  let start = 0;
  // How far right any earlier box reaches: boxes that end before are passed for good.
  const reach = reachOf(b, bOrder);
  for (const i of aOrder) {
    while (start < bOrder.length && reach[start]! < a[i]!) start++;
    for (let at = start; at < bOrder.length; at++) {
      const j = bOrder[at]!;
      if (b[j]! > a[i + 2]!) break;
      if (++looks > LOOKS_MAX) return true;
      if (b[j + 2]! < a[i]! || b[j + 1]! > a[i + 3]! || b[j + 3]! < a[i + 1]!) continue;
      if (++found > most + (a === b ? 3 * aOrder.length : 0)) return true;
    }
  }
  return false;
}

/** Offsets of boxes, ordered by their least x. */
function orderOf(boxes: Float64Array): Uint32Array {
  return Uint32Array.from({ length: boxes.length / 4 }, (_, i) => 4 * i).sort((i, j) => boxes[i]! - boxes[j]!);
}

/** For each place in that order: the greatest x of the boxes up to it. */
function reachOf(boxes: Float64Array, order: Uint32Array): Float64Array {
  let most = Number.NEGATIVE_INFINITY;
  return Float64Array.from(order, (i) => {
    most = Math.max(most, boxes[i + 2]!);
    return most;
  });
}
