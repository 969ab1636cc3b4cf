import { expect, test } from "vitest";
import { areApart, isHeavy, isHeavyPair } from "./heavy.ts";
import { partsOf } from "./segments.ts";
import { readWkt } from "./wkt.ts";

const circle = (corners: number, x: number, radius: number) => {
  const places = Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners;
    return `${x + radius * Math.cos(angle)} ${radius * Math.sin(angle)}`;
  });
  return partsOf(readWkt(`POLYGON ((${[...places, places[0]].join(", ")}))`)!);
};
const zigzag = (corners: number, isUp: boolean) => {
  const places = Array.from({ length: corners }, (_, i) => (isUp ? `${i} ${i % 2}000` : `${i % 2}000 ${i}`));
  return partsOf(readWkt(`LINESTRING (${places.join(", ")})`)!);
};

test("what meets in a few places is not heavy, however many corners it has", () => {
  expect(isHeavyPair(circle(4_000, 0, 10), circle(4_000, 5, 10))).toBe(false);
  expect(isHeavyPair(circle(4_000, 0, 10), circle(4_000, 0, 5))).toBe(false);
  expect(isHeavy(zigzag(2_000, true))).toBe(false);
});

test("what meets in many is", () => {
  expect(isHeavyPair(circle(4_000, 0, 10), circle(4_000, 0, 10))).toBe(true);
  expect(isHeavyPair(zigzag(100, true), zigzag(100, false))).toBe(true);
  expect(isHeavyPair(circle(13_000, 0, 10), circle(4_000, 50, 10))).toBe(true);
});

test("a line that crosses itself often is heavy alone", () => {
  const places = Array.from({ length: 400 }, (_, i) => `${i % 2 === 0 ? -500 : 500} ${(i * 199) % 400}`);
  expect(isHeavy(partsOf(readWkt(`LINESTRING (${places.join(", ")})`)!))).toBe(true);
});

test("points of many places are compared with every edge", () => {
  const points = Array.from({ length: 1_000 }, (_, i) => `(${i / 100} 0)`);
  const many = partsOf(readWkt(`MULTIPOINT (${points.join(", ")})`)!);
  expect(isHeavyPair(many, circle(4_000, 0, 10))).toBe(true);
  expect(isHeavyPair(many, circle(100, 0, 10))).toBe(false);
});

test("so are many points alone", () => {
  const many = partsOf(readWkt(`MULTIPOINT (${Array.from({ length: 3_000 }, (_, i) => `${i} 0`).join(", ")})`)!);
  expect(isHeavyPair(many, many)).toBe(true);
  expect(isHeavyPair(many, partsOf(readWkt("LINESTRING (0 0, 9 9)")!))).toBe(true);
});

test("edges that do not meet are apart", () => {
  expect(areApart(circle(1_000, 0, 10), circle(1_000, 0, 5))).toBe(true);
  expect(areApart(circle(1_000, 0, 10), circle(1_000, 30, 10))).toBe(true);
  expect(areApart(circle(1_000, 0, 10), circle(1_000, 5, 10))).toBe(false);
});
