/** Random geometries of few places, so that they meet in all ways, against the library's matrix of each pair. */
import fc from "fast-check";
import Orientation from "jsts/org/locationtech/jts/algorithm/Orientation.js";
import Coordinate from "jsts/org/locationtech/jts/geom/Coordinate.js";
import WKTReader from "jsts/org/locationtech/jts/io/WKTReader.js";
import RelateOp from "jsts/org/locationtech/jts/operation/relate/RelateOp.js";
import { expect, test } from "vitest";
import { bitsetRows, fullBitset } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { systemClock as clock } from "../system-clock.ts";
import { newBoxTree } from "./box-tree.ts";
import type { GeometryCondition } from "./geometry-test.ts";
import { orientation } from "./orientation.ts";
import { RELATIONS, type Relation } from "./relation.ts";
import { metresBetween } from "./sphere.ts";
import { testGeometries } from "./test-rows.ts";
import { normalWkt } from "./wkt.ts";

/** All of its arguments may be left out. */
const reader: WKTReader = Reflect.construct(WKTReader, []);

function columnOf(texts: readonly string[]): BytesColumn {
  const parts = texts.map((text) => Buffer.from(normalWkt(text)!));
  const offsets = new Uint32Array(parts.length + 1);
  parts.forEach((part, i) => {
    offsets[i + 1] = offsets[i]! + part.length;
  });
  return { kind: "varchar", offsets, bytes: new Uint8Array(Buffer.concat(parts)) };
}

/** The rows that pass: by a tree of their boxes, which must be those that pass without. */
async function passing(condition: GeometryCondition, texts: readonly string[]): Promise<number[]> {
  const column = columnOf(texts);
  const all = fullBitset(texts.length);
  const tree = await newBoxTree(column, texts.length, clock);
  const found = [...bitsetRows(await testGeometries(condition, column, tree, all, { clock }))];
  expect([...bitsetRows(await testGeometries({ ...condition }, column, undefined, all, { clock }))]).toEqual(found);
  return found;
}

const place = fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 })).map(([x, y]) => `${x} ${y}`);
const different = (min: number, max: number) => fc.uniqueArray(place, { minLength: min, maxLength: max });
const line = different(2, 4).map((places) => `(${places.join(", ")})`);
/** A rectangle, maybe with a hole, at one of three places that do not meet. */
const rectangle = fc
  .tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 }), fc.boolean())
  .map(([left, width, height, hasHole]) => {
    const ring = (x: number, y: number, w: number, h: number) =>
      `(${x} ${y}, ${x + w} ${y}, ${x + w} ${y + h}, ${x} ${y + h}, ${x} ${y})`;
    return `(${ring(left, 0, width, height)}${hasHole ? `, ${ring(left + 0.5, 0.5, width - 1 || 0.25, height - 1 || 0.25)}` : ""})`;
  });
const triangle = different(3, 3).map((places) => `((${[...places, places[0]].join(", ")}))`);
const hasArea = (polygon: string) => reader.read(`POLYGON ${polygon}`).getArea() > 0;
const polygon = fc.oneof(rectangle, triangle.filter(hasArea));

const point = place.map((at) => `POINT (${at})`);
const geometry = fc.oneof(
  point,
  different(1, 3).map((places) => `MULTIPOINT (${places.map((at) => `(${at})`).join(", ")})`),
  line.map((of) => `LINESTRING ${of}`),
  fc.array(line, { minLength: 1, maxLength: 3 }).map((lines) => `MULTILINESTRING (${lines.join(", ")})`),
  polygon.map((of) => `POLYGON ${of}`),
  polygon.map((of) => `MULTIPOLYGON (${of}, ((10 10, 11 10, 11 11, 10 10)))`),
  fc.constantFrom("POINT EMPTY", "POLYGON EMPTY"),
);

function isRelated(relation: Relation, row: string, other: string): boolean {
  const a = reader.read(row);
  const b = reader.read(other);
  if (a.isEmpty() && b.isEmpty()) return relation === "equals";
  const matrix = RelateOp.relate(a, b);
  const [aSize, bSize] = [a.getDimension(), b.getDimension()];
  switch (relation) {
    case "equals":
      return matrix.isEquals(aSize, bSize);
    case "touches":
      return matrix.isTouches(aSize, bSize);
    case "overlaps":
      return matrix.isOverlaps(aSize, bSize);
    case "crosses":
      return matrix.isCrosses(aSize, bSize);
    case "contains":
      return matrix.isContains();
    case "intersects":
      return matrix.isIntersects();
    case "within":
      return matrix.isWithin();
  }
}

test("every relation keeps the rows whose matrix says so", async () => {
  const rows = fc.array(fc.oneof(point, geometry), { minLength: 1, maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(geometry, rows, fc.constantFrom(...RELATIONS), async (other, texts, relation) => {
      const wanted = texts.flatMap((text, row) => (isRelated(relation, text, other) ? [row] : []));
      expect(await passing({ relation, wkt: normalWkt(other)! }, texts), `${relation} ${other}`).toEqual(wanted);
    }),
    { numRuns: 300 },
  );
});

const RING = "POLYGON ((0 0, 20 0, 20 20, 0 20, 0 0), (5 5, 15 5, 15 15, 5 15, 5 5))";
const square = (from: number, to: number) =>
  `${from} ${from}, ${to} ${from}, ${to} ${to}, ${from} ${to}, ${from} ${from}`;

test.each([
  ["around all of it", `POLYGON ((${square(-5, 25)}))`],
  ["around its hole, within it", `POLYGON ((${square(3, 17)}))`],
  ["around its hole, with a hole around that", `POLYGON ((${square(2, 18)}), (${square(3, 17)}))`],
  ["around it, with a hole for it", `POLYGON ((${square(-9, 29)}), (${square(-5, 25)}))`],
  ["in its hole", `POLYGON ((${square(8, 9)}))`],
  ["one in it, one in its hole", `MULTIPOLYGON (((${square(1, 2)})), ((${square(8, 9)})))`],
  ["one in its hole, one in it", `MULTILINESTRING ((8 8, 9 9), (1 1, 2 2))`],
  ["all in it", `MULTILINESTRING ((17 17, 18 18), (1 1, 2 2))`],
  ["far away", `POLYGON ((${square(30, 40)}))`],
])("polygons that do not meet: %s", async (_, text) => {
  for (const relation of RELATIONS) {
    expect(await passing({ relation, wkt: RING }, [text]), relation).toEqual(
      isRelated(relation, text, RING) ? [0] : [],
    );
  }
});

test("where two lines end together, or one ends where it begins, is no boundary", async () => {
  const lines = "MULTILINESTRING ((0 0, 1 1), (1 1, 2 0), (1 1, 3 3), (5 5, 6 5, 6 6, 5 5))";
  const texts = ["POINT (0 0)", "POINT (1 1)", "POINT (5 5)", "POINT (3 3)"];
  expect(await passing({ relation: "touches", wkt: lines }, texts)).toEqual([0, 1, 3]);
  expect(await passing({ relation: "within", wkt: lines.replace("(1 1, 3 3), ", "") }, texts)).toEqual([1, 2]);
});

test("a point is on a line where it is so exactly", () => {
  // Both sides round where magnitudes are 10^30 apart, as no coordinates are.
  const ninth = (n: number) => Number(n.toFixed(9));
  const number = fc.double({ min: -180, max: 180, noNaN: true }).map(ninth);
  const share = fc.double({ min: 0, max: 1, noNaN: true }).map(ninth);
  fc.assert(
    fc.property(number, number, number, number, share, (ax, ay, bx, by, part) => {
      const [x, y] = [ax + part * (bx - ax), ay + part * (by - ay)];
      const wanted = Orientation.index(new Coordinate(ax, ay), new Coordinate(bx, by), new Coordinate(x, y));
      expect(orientation(ax, ay, bx, by, x, y)).toBe(wanted);
    }),
    { numRuns: 500 },
  );
});

const degrees = (most: number) =>
  fc.oneof(fc.constantFrom(0, most, -most, most - 0.001), fc.double({ min: -most, max: most, noNaN: true }));
const spot = fc.tuple(degrees(180), degrees(90));

test("points within a distance are those that the great circle says, around poles and the date line too", async () => {
  const rows = fc.array(spot, { minLength: 1, maxLength: 40 });
  const distance = fc.oneof(fc.constantFrom(0, 1, 1e3, 1e5, 1e6), fc.double({ min: 0, max: 2.1e7, noNaN: true }));
  await fc.assert(
    fc.asyncProperty(spot, rows, distance, async ([lon, lat], spots, metres) => {
      const near = spots.map(([x, y]) => [x, Math.min(90, y), metresBetween(lon, lat, x, y)] as const);
      // Also as far as one of them is, exactly.
      for (const most of [metres, near[0]![2]]) {
        const wanted = near.flatMap(([, , far], row) => (far <= most ? [row] : []));
        const texts = spots.map(([x, y]) => `POINT (${x} ${y})`);
        expect(await passing({ metres: most, wkt: normalWkt(`POINT (${lon} ${lat})`)! }, texts)).toEqual(wanted);
        expect(
          await passing(
            { metres: most, wkt: normalWkt(`POINT (${lon} ${lat})`)! },
            texts.map((text) => text.replace("POINT", "MULTIPOINT")),
          ),
        ).toEqual(wanted);
      }
    }),
    { numRuns: 120 },
  );
});

const DEGREE_METRES = (6_371_000 * Math.PI) / 180;

test.each([
  ["a line, by its nearest place", "LINESTRING (1 -5, 1 5)", 1],
  ["a line's end", "LINESTRING (0 2, 0 5)", 2],
  ["a polygon around", "POLYGON ((-5 -5, 5 -5, 5 5, -5 5, -5 -5))", 0],
  ["a polygon's hole", "POLYGON ((-5 -5, 5 -5, 5 5, -5 5, -5 -5), (-3 -1, 3 -1, 3 1, -3 1, -3 -1))", 1],
  ["the nearest of several", "GEOMETRYCOLLECTION (LINESTRING (9 0, 9 1), MULTIPOINT (7 0, 3 0), POINT EMPTY)", 3],
  [
    "one of polygons that overlap",
    "GEOMETRYCOLLECTION (POLYGON ((-1 -1, 2 -1, 0 3, -1 -1)), POLYGON ((-1 -1, 3 0, 0 2, -1 -1)))",
    0,
  ],
])("the distance to %s", async (_, text, far) => {
  const wkt = "POINT (0 0)";
  expect(await passing({ metres: far * DEGREE_METRES * 1.0001, wkt }, [text])).toEqual([0]);
  if (far > 0) expect(await passing({ metres: far * DEGREE_METRES * 0.9999, wkt }, [text])).toEqual([]);
});

test("longitudes are shorter away from the equator, and what is beyond the date line is near", async () => {
  const line = (lon: number) => `LINESTRING (${lon} 59, ${lon} 61)`;
  expect(await passing({ metres: 0.51 * DEGREE_METRES, wkt: "POINT (0 60)" }, [line(1), line(1.1)])).toEqual([0]);
  expect(
    await passing({ metres: 1.1 * DEGREE_METRES, wkt: "POINT (179 0)" }, ["LINESTRING (-180 -1, -180 1)"]),
  ).toEqual([0]);
});

test("nothing is near what has no points", async () => {
  expect(await passing({ metres: 1e9, wkt: "POINT (0 0)" }, ["POINT EMPTY", "GEOMETRYCOLLECTION EMPTY"])).toEqual([]);
});

test("a collection is the union of its parts", async () => {
  const halves =
    "GEOMETRYCOLLECTION (POLYGON ((0 0, 3 0, 3 4, 0 4, 0 0)), POLYGON ((2 0, 6 0, 6 4, 2 4, 2 0)), POINT (1 1), POINT (9 9))";
  const texts = ["POINT (2 2)", "POLYGON ((1 1, 5 1, 5 3, 1 3, 1 1))", "POINT (9 9)", "POINT (6 2)", "POINT (8 8)"];
  expect(await passing({ relation: "within", wkt: halves }, texts)).toEqual([0, 1, 2]);
  expect(await passing({ relation: "touches", wkt: halves }, texts)).toEqual([3]);
  expect(await passing({ relation: "contains", wkt: "POLYGON ((1 1, 5 1, 5 3, 1 3, 1 1))" }, [halves])).toEqual([0]);
  expect(await passing({ relation: "equals", wkt: "POINT (1 1)" }, ["GEOMETRYCOLLECTION (POINT (1 1))"])).toEqual([0]);
});

test("Z and M count for nothing", async () => {
  const texts = ["POINT Z (1 1 9)", "POLYGON ZM ((0 0 1 1, 2 0 1 1, 2 2 1 1, 0 0 1 1))", "POINT M (3 3 3)"];
  expect(await passing({ relation: "intersects", wkt: "POINT Z (1 1 5)" }, texts)).toEqual([0, 1]);
});

test("a polygon that crosses itself can be asked about", async () => {
  const texts = ["POLYGON ((0 0, 4 4, 4 0, 0 4, 0 0))", "POLYGON ((0 0, 4 0, 4 0, 0 0))", "LINESTRING (1 1, 1 1)"];
  for (const relation of RELATIONS) {
    for (const wkt of [...texts, "POLYGON ((1 1, 5 1, 5 3, 1 3, 1 1))", "POINT (3 2)"]) {
      await passing({ relation, wkt }, [...texts, "POINT (1 1)"]);
    }
  }
});

test("polygons whose parts overlap have no relation to what is no point", async () => {
  const wrong = "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0)), ((2 0, 6 0, 6 4, 2 4, 2 0)))";
  for (const relation of RELATIONS) {
    expect(await passing({ relation, wkt: "LINESTRING (-1 2, 9 2)" }, [wrong])).toEqual([]);
  }
});

/** Corners of a wave around a place: none of them on a straight line with its neighbours. */
function wave(corners: number, x: number): string {
  const places = Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners;
    const radius = 10 + Math.sin(17 * angle);
    return `${x + radius * Math.cos(angle)} ${radius * Math.sin(angle)}`;
  });
  return normalWkt(`POLYGON ((${[...places, places[0]].join(", ")}))`)!;
}

test("with Z and M too", async () => {
  const measured = wave(500, 0)
    .replaceAll(/[^(), ]+ [^(), ]+(?=[,)])/g, "$& 1 2")
    .replace("POLYGON", "POLYGON ZM");
  expect(await passing({ relation: "equals", wkt: wave(500, 0) }, [measured])).toEqual([0]);
  expect(await passing({ relation: "equals", wkt: normalWkt(measured)! }, [wave(500, 0)])).toEqual([0]);
});

test("to test points against edges that all span a polygon takes turns", async () => {
  const corners = Array.from({ length: 5_000 }, (_, i) => `${i} ${i % 2 === 0 ? 1 : 9}`);
  const saw = normalWkt(`POLYGON ((${[...corners, "5000 0", "0 0", corners[0]].join(", ")}))`)!;
  const texts = Array.from({ length: 200 }, (_, i) => `POINT (${i + 0.5} ${i % 9})`);
  const wanted = texts.flatMap((_, i) => (i % 9 > 0 && i % 9 < 5 ? [i] : []));
  let turns = 0;
  let ms = 0;
  // Each look at the time is 3 ms after the last: a turn has room for one piece.
  const busy: typeof clock = {
    ...clock,
    monotonic: () => (ms += 3),
    yield: () => {
      turns++;
      return clock.yield();
    },
  };
  const column = columnOf(texts);
  const all = fullBitset(texts.length);
  for (const tree of [undefined, await newBoxTree(column, texts.length, clock)]) {
    turns = 0;
    const condition: GeometryCondition = { relation: "within", wkt: saw };
    expect([...bitsetRows(await testGeometries(condition, column, tree, all, { clock: busy }))]).toEqual(wanted);
    expect(turns).toBeGreaterThan(10);
  }
});

test("geometries that meet too often for one turn are related in a thread", async () => {
  const texts = [wave(500, 0), wave(500, 1), wave(500, 100)];
  expect(await passing({ relation: "equals", wkt: texts[0]! }, texts)).toEqual([0]);
  expect(await passing({ relation: "overlaps", wkt: texts[0]! }, texts)).toEqual([1]);
  expect(await passing({ relation: "within", wkt: texts[0]! }, texts)).toEqual([0]);
});

test("only rows that are asked about are read", async () => {
  const column = columnOf(["POINT (1 1)", "POINT (1 1)"]);
  const condition: GeometryCondition = { relation: "equals", wkt: "POINT (1 1)" };
  expect([...(await testGeometries(condition, column, undefined, Uint32Array.of(2), { clock }))]).toEqual([2]);
});

test("rows are read until the deadline, and no longer", async () => {
  const texts = Array.from({ length: 2_000 }, (_, i) => `LINESTRING (${i} 0, ${i} 9)`);
  let looks = 0;
  const slow: typeof clock = { ...clock, monotonic: () => looks++ };
  const column = columnOf(texts);
  const asked = testGeometries(
    { relation: "crosses", wkt: "LINESTRING (0 5, 2000 5)" },
    column,
    undefined,
    fullBitset(2_000),
    {
      clock: slow,
      deadline: 30,
    },
  );
  await expect(asked).rejects.toMatchObject({ code: 10001 });
  expect(looks).toBeLessThan(40);
});
