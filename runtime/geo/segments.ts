/** What a geometry is made of, as flat arrays: its segments, its points, the box around them. */
import { type Points, strideOf, type Wkt } from "./wkt.ts";

/** Least x, least y, greatest x, greatest y; of an empty geometry the least are infinite. */
export type Box = Float64Array;

export interface Parts {
  /** x and y of both ends, four numbers a segment: edges of polygons, and lines. */
  readonly segments: Float64Array;
  /** x and y of points that are geometries of their own. */
  readonly points: Float64Array;
  /** x and y of the first and the last point of each line that is not a ring. */
  readonly ends: Float64Array;
  /** x and y of the first point of each line and ring. */
  readonly firsts: Float64Array;
  readonly box: Box;
  /** Set if there are only polygons, only lines or only points; undefined: several kinds, or nothing. */
  readonly kind: "area" | "line" | "point" | undefined;
  /** Points, lines and rings. */
  readonly count: number;
}

export function partsOf(wkt: Wkt): Parts {
  const segments: number[] = [];
  const points: number[] = [];
  const ends: number[] = [];
  const firsts: number[] = [];
  const kinds = new Set<"area" | "line" | "point">();
  const box = emptyBox();
  let count = 0;
  const addLine = (list: Points, size: number) => {
    count++;
    firsts.push(list[0]!, list[1]!);
    for (let i = 0; i < list.length; i += size) {
      widen(box, list[i]!, list[i + 1]!);
      if (i > 0) segments.push(list[i - size]!, list[i - size + 1]!, list[i]!, list[i + 1]!);
    }
  };
  const add = (of: Wkt) => {
    const size = strideOf(of);
    switch (of.kind) {
      case "POINT":
      case "MULTIPOINT":
        for (const [x, y] of of.lists) {
          count++;
          kinds.add("point");
          widen(box, x!, y!);
          points.push(x!, y!);
        }
        return;
      case "LINESTRING":
      case "MULTILINESTRING":
        for (const list of of.lists) {
          kinds.add("line");
          addLine(list, size);
          const last = list.length - size;
          ends.push(list[0]!, list[1]!, list[last]!, list[last + 1]!);
        }
        return;
      case "POLYGON":
      case "MULTIPOLYGON":
        for (const ring of [...of.lists, ...of.polygons.flat()]) {
          kinds.add("area");
          addLine(ring, size);
        }
        return;
      case "GEOMETRYCOLLECTION":
        for (const item of of.items) add(item);
    }
  };
  add(wkt);
  const isOne = kinds.size === 1 && wkt.kind !== "GEOMETRYCOLLECTION";
  return {
    segments: Float64Array.from(segments),
    points: Float64Array.from(points),
    ends: Float64Array.from(ends),
    firsts: Float64Array.from(firsts),
    box,
    kind: isOne ? [...kinds][0] : undefined,
    count,
  };
}

function emptyBox(): Box {
  return Float64Array.of(
    Number.POSITIVE_INFINITY,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  );
}

function widen(box: Box, x: number, y: number): void {
  if (x < box[0]!) box[0] = x;
  if (y < box[1]!) box[1] = y;
  if (x > box[2]!) box[2] = x;
  if (y > box[3]!) box[3] = y;
}
