/**
 * Locates points relative to one geometry: inside, on its boundary, or outside. The geometry's segments are kept by strips of
 * y, so that a point is compared with few of them. The geometry is all points, all lines or all polygons.
 */
import { orientation } from "./orientation.ts";
import type { Parts } from "./segments.ts";

export type Place = "inside" | "boundary" | "outside";

/** Most strips. More strips hold fewer segments each, but a segment may be in all of them. */
const STRIPS_MAX = 256;

/** Strips that a segment is in, on average. */
const STRIPS_EACH = 8;

export interface Locator {
  place(x: number, y: number): Place;
  /** Segments or points that one place may be compared with: some ten nanoseconds each. */
  readonly work: number;
}

/** @throws Error for a geometry of several kinds */
export function locatorOf(parts: Parts): Locator {
  switch (parts.kind) {
    case "point":
      return ofPoints(parts.points);
    case "line":
      return ofLines(parts);
    case "area":
      return ofArea(parts);
    default:
      throw new Error("a geometry of several kinds has no locator");
  }
}

function ofPoints(points: Float64Array): Locator {
  const place = (x: number, y: number): Place => {
    for (let i = 0; i < points.length; i += 2) if (points[i] === x && points[i + 1] === y) return "inside";
    return "outside";
  };
  return { place, work: points.length / 2 };
}

/** An end of a line is its boundary, where an odd number of lines end. */
function ofLines(parts: Parts): Locator {
  const { segments, ends } = parts;
  const strips = newStrips(parts);
  const place = (x: number, y: number): Place => {
    const { from, to, of } = stripAt(strips, y);
    let isOn = false;
    for (let i = from; i < to && !isOn; i++) isOn = isOnSegment(segments, 4 * of[i]!, x, y);
    if (!isOn) return "outside";
    let endCount = 0;
    for (let i = 0; i < ends.length; i += 2) if (ends[i] === x && ends[i + 1] === y) endCount++;
    return endCount % 2 === 1 ? "boundary" : "inside";
  };
  return { place, work: mostIn(strips) + ends.length / 2 };
}

function isOnSegment(segments: Float64Array, at: number, x: number, y: number): boolean {
  const ax = segments[at]!;
  const ay = segments[at + 1]!;
  const bx = segments[at + 2]!;
  const by = segments[at + 3]!;
  if (x < Math.min(ax, bx) || x > Math.max(ax, bx) || y < Math.min(ay, by) || y > Math.max(ay, by)) return false;
  return orientation(ax, ay, bx, by, x, y) === 0;
}

/** Counts the edges of all rings that a ray to the right crosses, so holes need no special care. */
function ofArea(parts: Parts): Locator {
  const { segments, box } = parts;
  const strips = newStrips(parts);
  const place = (x: number, y: number): Place => {
    if (x < box[0]! || x > box[2]! || y < box[1]! || y > box[3]!) return "outside";
    const { from, to, of } = stripAt(strips, y);
    let isOdd = false;
    for (let i = from; i < to; i++) {
      const at = 4 * of[i]!;
      const ax = segments[at]!;
      const ay = segments[at + 1]!;
      const bx = segments[at + 2]!;
      const by = segments[at + 3]!;
      if (ax < x && bx < x) continue;
      if (x === bx && y === by) return "boundary";
      if (ay === y && by === y) {
        if (x >= Math.min(ax, bx) && x <= Math.max(ax, bx)) return "boundary";
        continue;
      }
      if (ay > y === by > y) continue;
      const side = orientation(ax, ay, bx, by, x, y);
      if (side === 0) return "boundary";
      if (side > 0 === by > ay) isOdd = !isOdd;
    }
    return isOdd ? "inside" : "outside";
  };
  return { place, work: mostIn(strips) };
}

interface Strips {
  readonly bottom: number;
  /** Strips in one unit of y. */
  readonly scale: number;
  /** The segments of strip s are of[starts[s]] to of[starts[s + 1] - 1]. */
  readonly starts: Uint32Array;
  readonly of: Uint32Array;
}

function newStrips({ segments, box }: Parts): Strips {
  const bottom = box[1]!;
  const height = box[3]! - bottom;
  const segmentCount = segments.length / 4;
  let heights = 0;
  for (let i = 0; i < segments.length; i += 4) heights += Math.abs(segments[i + 1]! - segments[i + 3]!);
  const most = (STRIPS_EACH * segmentCount * height) / heights;
  const count = Math.max(1, Math.min(STRIPS_MAX, segmentCount >>> 1, most >= 1 ? Math.floor(most) : 1));
  // A height too small or too large to divide leaves one strip.
  const scale = Number.isFinite(count / height) ? count / height : 0;
  const strips = { bottom, scale, starts: new Uint32Array(count + 1), of: new Uint32Array(0) };
  const { starts } = strips;
  const rangeOf = (i: number): [number, number] => {
    const a = stripOf(strips, segments[4 * i + 1]!);
    const b = stripOf(strips, segments[4 * i + 3]!);
    return a < b ? [a, b] : [b, a];
  };
  for (let i = 0; i < segmentCount; i++) {
    const [first, last] = rangeOf(i);
    for (let s = first; s <= last; s++) starts[s + 1] = starts[s + 1]! + 1;
  }
  for (let s = 0; s < count; s++) starts[s + 1] = starts[s + 1]! + starts[s]!;
  const of = new Uint32Array(starts[count]!);
  const next = starts.slice(0, count);
  for (let i = 0; i < segmentCount; i++) {
    const [first, last] = rangeOf(i);
    for (let s = first; s <= last; s++) {
      of[next[s]!] = i;
      next[s] = next[s]! + 1;
    }
  }
  return { ...strips, of };
}

function mostIn({ starts }: Strips): number {
  let most = 0;
  for (let s = 1; s < starts.length; s++) most = Math.max(most, starts[s]! - starts[s - 1]!);
  return most;
}

/** Grows with y: a y between two others is in a strip between theirs. */
function stripOf({ bottom, scale, starts }: Omit<Strips, "of">, y: number): number {
  const last = starts.length - 2;
  const strip = Math.floor((y - bottom) * scale);
  return strip > last ? last : strip > 0 ? strip : 0;
}

function stripAt(strips: Strips, y: number): { from: number; to: number; of: Uint32Array } {
  const strip = stripOf(strips, y);
  return { from: strips.starts[strip]!, to: strips.starts[strip + 1]!, of: strips.of };
}
