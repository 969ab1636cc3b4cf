/**
 * Relations between geometries of any kind, by the topology library, which is loaded when it is first needed: most filters
 * ask about points, which need no library.
 *
 * Geometries that the library cannot relate, such as polygons whose rings cross each other, have no relation: every question is
 * answered with false. A collection counts as the union of its parts; an empty one equals everything empty.
 */
import type Coordinate from "jsts/org/locationtech/jts/geom/Coordinate.js";
import type GeometryFactory from "jsts/org/locationtech/jts/geom/GeometryFactory.js";
import type RelateOp from "jsts/org/locationtech/jts/operation/relate/RelateOp.js";
import type UnaryUnionOp from "jsts/org/locationtech/jts/operation/union/UnaryUnionOp.js";
import type { Relation } from "./relation.ts";
import { type Points, strideOf, type Wkt } from "./wkt.ts";

interface Library {
  Coordinate: typeof Coordinate;
  RelateOp: typeof RelateOp;
  UnaryUnionOp: typeof UnaryUnionOp;
  factory: GeometryFactory;
}

/** A geometry of the library. */
export interface Shape {
  isEmpty(): boolean;
}

let library: Library | undefined;
let loading: Promise<void> | undefined;

/** Loads the library, unless it is loaded. */
export function loadTopology(): Promise<void> {
  loading ??= load();
  return loading;
}

async function load(): Promise<void> {
  const [coordinate, factory, relate, union] = await Promise.all([
    import("jsts/org/locationtech/jts/geom/Coordinate.js"),
    import("jsts/org/locationtech/jts/geom/GeometryFactory.js"),
    import("jsts/org/locationtech/jts/operation/relate/RelateOp.js"),
    import("jsts/org/locationtech/jts/operation/union/UnaryUnionOp.js"),
  ]);
  library = {
    Coordinate: coordinate.default,
    RelateOp: relate.default,
    UnaryUnionOp: union.default,
    factory: new factory.default(),
  };
}

function loaded(): Library {
  if (library === undefined) throw new Error("the topology library has not been loaded");
  return library;
}

/** Undefined when the parts of a collection have no union. */
export function shapeOf(wkt: Wkt): Shape | undefined {
  const shape = build(loaded(), wkt);
  if (wkt.kind !== "GEOMETRYCOLLECTION" || shape.isEmpty()) return shape;
  try {
    return loaded().UnaryUnionOp.union(shape);
  } catch {
    return undefined;
  }
}

/** May take long when the two cross often: heavy.ts tells. */
export function areRelated(relation: Relation, row: Shape, other: Shape): boolean {
  const { RelateOp: op } = loaded();
  if (row.isEmpty() || other.isEmpty()) return relation === "equals" && row.isEmpty() && other.isEmpty();
  try {
    switch (relation) {
      case "within":
        return op.contains(other, row);
      case "equals":
        return op.equalsTopo(row, other);
      default:
        return op[relation](row, other);
    }
  } catch {
    return false;
  }
}

function build(of: Library, wkt: Wkt): ReturnType<GeometryFactory["createPoint"]> {
  const { factory } = of;
  const { kind, lists, polygons, items } = wkt;
  const size = strideOf(wkt);
  const at = (list: Points) => coordinates(of, list, size);
  const polygon = ([shell, ...holes]: Points[]) =>
    factory.createPolygon(
      factory.createLinearRing(at(shell!)),
      holes.map((hole) => factory.createLinearRing(at(hole))),
    );
  switch (kind) {
    case "POINT":
      return lists.length === 0 ? factory.createPoint() : factory.createPoint(at(lists[0]!)[0]);
    case "LINESTRING":
      return factory.createLineString(lists.length === 0 ? [] : at(lists[0]!));
    case "POLYGON":
      return lists.length === 0 ? factory.createPolygon() : polygon(lists);
    case "MULTIPOINT":
      return factory.createMultiPoint(lists.map((list) => factory.createPoint(at(list)[0])));
    case "MULTILINESTRING":
      return factory.createMultiLineString(lists.map((list) => factory.createLineString(at(list))));
    case "MULTIPOLYGON":
      return factory.createMultiPolygon(polygons.map(polygon));
    case "GEOMETRYCOLLECTION":
      return factory.createGeometryCollection(items.map((item) => build(of, item)));
  }
}

function coordinates({ Coordinate: Place }: Library, list: Points, size: number): Coordinate[] {
  const places: Coordinate[] = [];
  for (let i = 0; i < list.length; i += size) places.push(new Place(list[i], list[i + 1]));
  return places;
}
