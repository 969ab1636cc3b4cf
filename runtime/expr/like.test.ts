import fc from "fast-check";
import { expect, test } from "vitest";
import { schema } from "./filter-fixture.ts";
import { compileLike, likeText, stepsOf } from "./like.ts";
import { planFilter } from "./plan.ts";

/** As a regular expression: the model. */
function modelOf(pattern: string): RegExp {
  const parts = [...pattern].map((c) => (c === "%" ? ".*" : c === "_" ? "." : c));
  return new RegExp(`^${parts.join("")}$`, "su");
}

const letters = fc.constantFrom("a", "a", "a", "b", "é", "漢", "😀");

test("long values that nearly match everywhere match as short ones do", () => {
  const value = fc.array(letters, { maxLength: 60 }).map((list) => list.join(""));
  const pattern = fc
    .array(fc.oneof(letters, fc.constantFrom("a", "_", "_", "%")), { minLength: 1, maxLength: 70 })
    .map((list) => list.join("").replaceAll(/%+/g, "%"))
    // The model takes exponential time for more.
    .filter((text) => text.split("%").length <= 5);
  fc.assert(
    fc.property(value, pattern, (text, like) => {
      expect(likeText(compileLike(like), text)).toBe(modelOf(like).test(text));
    }),
    { numRuns: 2_000 },
  );
});

test("a value of 64 KiB is matched whatever the pattern's length", () => {
  const value = "a".repeat(65_535);
  const matches = (pattern: string, text = value) => likeText(compileLike(pattern), text);
  expect(matches(`%${"a".repeat(1_000)}_b%`)).toBe(false);
  expect(matches(`%${"a".repeat(1_000)}_b%`, `${value}xb`)).toBe(true);
  expect(matches(`%${"a_".repeat(500)}b`, `${value}b`)).toBe(true);
  expect(matches(`%${"_a".repeat(500)}c%`, `${value}b`)).toBe(false);
});

test("patterns are read by bytes: what is special is never part of another character", () => {
  expect([...stepsOf("é%\\%漢_\\_\\\\")]).toEqual([
    ...Buffer.from("é"),
    257,
    0x25,
    ...Buffer.from("漢"),
    256,
    0x5f,
    0x5c,
  ]);
});

test("a long pattern with wildcards inside is refused, one without is not", () => {
  const planned = (pattern: string) => planFilter(`s like '${pattern}'`, schema);
  expect(() => planned(`%${"a".repeat(5_000)}_`)).toThrow("has at most 4096 bytes at line 1, column 8");
  expect(planned(`%${"a".repeat(5_000)}%`).root.op).toBe("like");
  expect(planned(`%${"a".repeat(4_000)}_`).root.op).toBe("like");
});
