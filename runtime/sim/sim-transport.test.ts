import { expect, test } from "vitest";
import { matches } from "./sim-transport.ts";

test.each([
  ["a.b", "a.b", true],
  ["a.b", "a.c", false],
  ["a.b", "a.b.c", false],
  ["a.b.c", "a.b", false],
  ["a.*", "a.b", true],
  ["a.*", "a.b.c", false],
  ["a.*.c", "a.b.c", true],
  ["a.*.c", "a.b.d", false],
  ["*.b", "a.b", true],
  ["a.>", "a.b.c", true],
  ["a.>", "a", false],
  ["a.>", "ab.c", false],
  ["*.*.>", "a.b.c.d", true],
])("pattern %s, subject %s", (pattern, subject, expected) => {
  expect(matches(pattern, subject)).toBe(expected);
});
