import fc from "fast-check";
import { expect, test } from "vitest";
import { compileLike, likeText } from "./like.ts";

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
