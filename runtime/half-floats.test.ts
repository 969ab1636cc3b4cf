import fc from "fast-check";
import { expect, test } from "vitest";
import {
  bfloat16Bits,
  float16Bits,
  fromBfloat16,
  fromFloat16,
  isFiniteBfloat16,
  isFiniteFloat16,
} from "./half-floats.ts";

const ALL = Array.from({ length: 0x10000 }, (_, half) => half);

test("every 16-bit float survives the way to a number and back", () => {
  for (const half of ALL) {
    if (isFiniteFloat16(half) || (half & 0x3ff) === 0) expect(float16Bits(fromFloat16(half))).toBe(half);
    if (isFiniteBfloat16(half) || (half & 0x7f) === 0) expect(bfloat16Bits(fromBfloat16(half))).toBe(half);
  }
});

test("known float16 values", () => {
  expect([0, -0, 1, -2, 65504, 2 ** -24, 2 ** -14, 0.1, 1 / 3].map(float16Bits)).toEqual([
    0, 0x8000, 0x3c00, 0xc000, 0x7bff, 1, 0x400, 0x2e66, 0x3555,
  ]);
  expect([65519, 65520, -1e9, Number.POSITIVE_INFINITY, Number.NaN].map(float16Bits)).toEqual([
    0x7bff, 0x7c00, 0xfc00, 0x7c00, 0x7e00,
  ]);
});

test("known bfloat16 values", () => {
  expect([0, -0, 1, -2, 0.1, 3e38, 3.4e38, Number.NEGATIVE_INFINITY].map(bfloat16Bits)).toEqual([
    0, 0x8000, 0x3f80, 0xc000, 0x3dcd, 0x7f62, 0x7f80, 0xff80,
  ]);
  expect(fromBfloat16(bfloat16Bits(Number.NaN))).toBeNaN();
});

/** Of finite neighbours in both directions no one is nearer, and at a tie the last bit is 0. */
function expectNearest(x: number, half: number, decode: (half: number) => number): void {
  const error = Math.abs(decode(half) - x);
  for (const other of [half - 1, half + 1]) {
    if (other < 0 || (other & 0x7fff) === 0x7fff) continue;
    const otherError = Math.abs(decode(other) - x);
    if (!Number.isFinite(otherError)) continue;
    expect(error).toBeLessThanOrEqual(otherError);
    if (error === otherError && error > 0) expect(half & 1).toBe(0);
  }
}

test("numbers are rounded to the nearest, ties to even", () => {
  const finite = (max: number) => fc.float({ min: -max, max, noNaN: true });
  fc.assert(
    fc.property(fc.oneof(finite(65504), finite(0.0009765625)), (x) =>
      expectNearest(x, float16Bits(x), (h) => fromFloat16(h)),
    ),
  );
  fc.assert(fc.property(finite(2 ** 127), (x) => expectNearest(x, bfloat16Bits(x), (h) => fromBfloat16(h))));
});
