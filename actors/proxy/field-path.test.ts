import { expect, test } from "vitest";
import { valueAtPath } from "../../runtime/expr/json-rows.ts";
import { pathOf } from "./field-path.ts";

const DOCUMENT = { a: ["x", { b: 1 }], "b/c": 2, "d~e": 3, "0": { "007": 4 } };

test.each([
  ["/a/0", "x"],
  ["/a/1/b", 1],
  ["/b~1c", 2],
  ["/d~0e", 3],
  ["/0/007", 4],
  ["/a/00", undefined],
  ['m["a"][1]["b"]', 1],
  ['["b/c"]', 2],
])("%s", (text, value) => {
  expect(valueAtPath(DOCUMENT, pathOf(text))).toBe(value);
});
