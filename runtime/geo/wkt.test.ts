import { expect, test } from "vitest";
import { normalWkt } from "./wkt.ts";

test.each([
  ["POINT (30.5 -10)", "POINT (30.5 -10)"],
  ["  point(3.0e1 -0) ", "POINT (30 0)"],
  ["POINT Z (1 2 3)", "POINT Z (1 2 3)"],
  ["POINT EMPTY", "POINT EMPTY"],
  ["LINESTRING(0 0,1 1 , 2 .5)", "LINESTRING (0 0, 1 1, 2 0.5)"],
  ["POLYGON((0 0,4 0,4 4,0 0),(1 1,2 1,2 2,1 1))", "POLYGON ((0 0, 4 0, 4 4, 0 0), (1 1, 2 1, 2 2, 1 1))"],
  ["MULTIPOINT (1 2, 3 4)", "MULTIPOINT ((1 2), (3 4))"],
  ["MULTIPOINT ((1 2), (3 4))", "MULTIPOINT ((1 2), (3 4))"],
  ["MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))", "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))"],
  ["MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))", "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))"],
  ["GEOMETRYCOLLECTION (POINT (1 2), LINESTRING EMPTY)", "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING EMPTY)"],
])("%s is read, and written as %s", (text, normal) => {
  expect(normalWkt(text)).toBe(normal);
  expect(normalWkt(normal)).toBe(normal);
});

test.each([
  ["nothing", ""],
  ["another word", "CIRCLE (1 2)"],
  ["one number", "POINT (1)"],
  ["three numbers without Z", "POINT (1 2 3)"],
  ["two points", "POINT (1 2, 3 4)"],
  ["a number too large", "POINT (1 1e999)"],
  ["a line of one point", "LINESTRING (1 2)"],
  ["a ring that is open", "POLYGON ((0 0, 4 0, 4 4, 0 1))"],
  ["a ring of three points", "POLYGON ((0 0, 4 0, 0 0))"],
  ["no closing bracket", "POINT (1 2"],
  ["more behind it", "POINT (1 2) x"],
  ["two numbers without a space", "POINT (1.2.3)"],
  ["a number and the sign of the next", "POINT (1-2)"],
  ["a number and a word", "POINT (1 2x)"],
  ["collections in collections without end", `${"GEOMETRYCOLLECTION (".repeat(40)}POINT (1 2)${")".repeat(40)}`],
])("%s is none", (_, text) => {
  expect(normalWkt(text)).toBeUndefined();
});
