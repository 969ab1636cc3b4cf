/**
 * A filter's condition on a geometry field, prepared once: tests of a row's box, of a point, and of any other geometry. A long
 * geometry is read and tested in steps of some milliseconds, each in its own turn.
 */
import { takeTurnFor, type Work } from "../turns.ts";
import { areApart, isHeavy, isHeavyPair } from "./heavy.ts";
import { type Locator, locatorOf } from "./locate.ts";
import type { Relation } from "./relation.ts";
import { type Box, type Parts, partsOf } from "./segments.ts";
import { isNear, metresBetween, nearWindows } from "./sphere.ts";
import { areRelated, type Shape, shapeOf } from "./topology.ts";
import { ANY_BOX, type Window, windowAround, windowInside, windowMeeting, windowOf } from "./windows.ts";
import { flatWkt, readWkt, type Wkt, writeWkt } from "./wkt.ts";

/** The relation that a row's geometry must have to the filter's. */
export interface GeometryCondition {
  /** Absent: within `metres`. */
  relation?: Relation;
  /** Without a relation: the greatest distance to the point in `wkt`. */
  metres?: number;
  /** In canonical form. */
  wkt: string;
}

export interface GeometryTest {
  /** Geometries that pass have a box in one of these. */
  readonly windows: readonly Window[];
  /** The test of a POINT; undefined: it is tested as any other geometry. */
  testPoint: ((x: number, y: number) => boolean) | undefined;
  /** Its cost, in units of Locator's work. */
  readonly pointWork: number;
  /** The result for a geometry without points. */
  readonly ofEmpty: boolean;
  /**
   * Undefined when it would take long: then relate-thread.ts does it. The topology library has been loaded if it is needed.
   * @param textLength of the row, bytes
   * @throws VdbError as takeTurnFor
   */
  testRow(row: Wkt, textLength: number, work: Work): Promise<boolean | undefined>;
  readonly needsTopology: boolean;
  /** The input of relate-thread.ts. */
  readonly flatText: string;
}

/** Longer texts take turns. */
const SHORT_BYTES = 32_768;

/** Awaited between two steps with a text. */
export function pauseOf(textLength: number, work: Work): (() => Promise<void>) | undefined {
  return textLength > SHORT_BYTES ? () => takeTurnFor(work) : undefined;
}

/** @throws Error when the text is no geometry, or none that the condition takes; VdbError as takeTurnFor */
export async function geometryTest(
  { relation, metres, wkt: text }: GeometryCondition,
  work: Work,
): Promise<GeometryTest> {
  const wkt = readWkt(text);
  if (wkt === undefined) throw new Error("the geometry of a filter is none");
  if (relation !== undefined) return relationTest(relation, wkt, text, work);
  const [point] = wkt.lists;
  if (wkt.kind !== "POINT" || point === undefined || metres === undefined)
    throw new Error("a distance is not from a point");
  return distanceTest(point[0]!, point[1]!, metres);
}

async function relationTest(relation: Relation, wkt: Wkt, text: string, work: Work): Promise<GeometryTest> {
  const pause = pauseOf(text.length, work);
  await pause?.();
  const flat = flatWkt(wkt);
  const flatText = flat === wkt ? text : writeWkt(flat);
  await pause?.();
  const parts = partsOf(wkt);
  await pause?.();
  const isAlwaysHeavy = isHeavy(parts);
  await pause?.();
  const locator = parts.kind === undefined ? undefined : locatorOf(parts);
  let shape: Shape | undefined | null = null;
  const isEmpty = parts.box[0]! > parts.box[2]!;
  return {
    windows: isEmpty ? (relation === "equals" ? [ANY_BOX] : []) : [windowOfRelation(relation, parts.box)],
    testPoint: locator === undefined ? undefined : pointTest(relation, parts, locator),
    pointWork: locator?.work ?? 0,
    ofEmpty: relation === "equals" && isEmpty,
    needsTopology: true,
    flatText,
    testRow: async (row, textLength, ofRow) => {
      const pauseInRow = pauseOf(Math.max(textLength, text.length), ofRow);
      const rowParts = partsOf(row);
      await pauseInRow?.();
      const apart = parts.kind === "area" ? testApart(relation, rowParts, parts, locator!) : undefined;
      if (apart !== undefined) return apart;
      if (isAlwaysHeavy) return undefined;
      await pauseInRow?.();
      if (isHeavy(rowParts)) return undefined;
      await pauseInRow?.();
      if (isHeavyPair(rowParts, parts)) return undefined;
      await pauseInRow?.();
      if (shape === null) shape = shapeOf(wkt);
      const rowShape = shape === undefined ? undefined : shapeOf(row);
      return shape !== undefined && rowShape !== undefined && areRelated(relation, rowShape, shape);
    },
  };
}

/** Boxes have the relation of their contents, or a weaker one. */
function windowOfRelation(relation: Relation, box: Box): Window {
  switch (relation) {
    case "within":
      return windowInside(box);
    case "contains":
      return windowAround(box);
    case "equals":
      return windowOf(box);
    default:
      return windowMeeting(box);
  }
}

/** Most points to locate: more take too long. */
const APART_WORK_MAX = 100_000;

/**
 * The relation of a line or an area to an area whose edges it does not meet: each of its parts is inside or outside as a whole.
 * Undefined when it must be related in full: for example, if it surrounds a part of the area.
 */
function testApart(relation: Relation, row: Parts, area: Parts, { place, work }: Locator): boolean | undefined {
  if (row.count * work > APART_WORK_MAX) return undefined;
  if ((row.kind !== "line" && row.kind !== "area") || !areApart(row, area)) return undefined;
  if (row.kind === "area" && hasPoint(area.firsts, row.box)) return undefined;
  const { firsts } = row;
  const first = place(firsts[0]!, firsts[1]!);
  for (let i = 2; i < firsts.length; i += 2) if (place(firsts[i]!, firsts[i + 1]!) !== first) return undefined;
  return first === "inside" && (relation === "within" || relation === "intersects");
}

function hasPoint(points: Float64Array, box: Box): boolean {
  for (let i = 0; i < points.length; i += 2) {
    const isX = points[i]! >= box[0]! && points[i]! <= box[2]!;
    if (isX && points[i + 1]! >= box[1]! && points[i + 1]! <= box[3]!) return true;
  }
  return false;
}

/** A point has no boundary, and no part of it can be elsewhere. */
function pointTest(relation: Relation, parts: Parts, { place }: Locator): (x: number, y: number) => boolean {
  switch (relation) {
    case "intersects":
      return (x, y) => place(x, y) !== "outside";
    case "within":
      return (x, y) => place(x, y) === "inside";
    case "touches":
      return (x, y) => place(x, y) === "boundary";
    case "equals":
    case "contains": {
      // Its box shows that there is no other point than this one.
      const isPoint = parts.kind === "point";
      return (x, y) => isPoint && place(x, y) === "inside";
    }
    default:
      return () => false;
  }
}

function distanceTest(lon: number, lat: number, metres: number): GeometryTest {
  return {
    windows: nearWindows(lon, lat, metres),
    testPoint: (x, y) => metresBetween(lon, lat, x, y) <= metres,
    pointWork: 10,
    ofEmpty: false,
    needsTopology: false,
    flatText: `POINT (${lon} ${lat})`,
    testRow: async (row) =>
      isNear(partsOf(row), lon, lat, metres, (x, y) => areasOf(row).some((area) => holds(area, x, y))),
  };
}

function holds(area: Wkt, x: number, y: number): boolean {
  const parts = partsOf(area);
  const { box } = parts;
  if (x < box[0]! || x > box[2]! || y < box[1]! || y > box[3]!) return false;
  return locatorOf(parts).place(x, y) !== "outside";
}

/** Each polygon of a geometry by itself: those of a collection may overlap. */
function areasOf(wkt: Wkt): Wkt[] {
  if (wkt.kind === "GEOMETRYCOLLECTION") return wkt.items.flatMap(areasOf);
  if (wkt.kind === "POLYGON" && wkt.lists.length > 0) return [wkt];
  return wkt.polygons.map((lists) => ({ ...wkt, kind: "POLYGON", lists, polygons: [] }));
}
