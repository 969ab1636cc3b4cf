import fc from "fast-check";
import { expect, test } from "vitest";
import { bitsetRows } from "../segment/bitset.ts";
import { compareInt64, hasSmallValues } from "./int64-rows.ts";
import type { Comparison } from "./plan-node.ts";

const TESTS: Readonly<Record<Comparison, (a: bigint, b: bigint) => boolean>> = {
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
/** Around the ends of halves and of what is small. */
const edge = fc
  .tuple(
    fc.constantFrom(...[0, 29, 30, 31, 32, 33, 53, 62, 63].flatMap((n) => [2n ** BigInt(n), -(2n ** BigInt(n))])),
    fc.bigInt({ min: -2n, max: 2n }),
  )
  .map(([at, by]) => BigInt.asIntN(64, at + by));
const small = fc.bigInt({ min: -(2n ** 30n), max: 2n ** 30n - 1n });
const values = (of: fc.Arbitrary<bigint>) => fc.array(of, { minLength: 1, maxLength: 100 });

function check(column: BigInt64Array, constant: bigint): void {
  const pairs = new Int32Array(column.buffer);
  const isSmall = hasSmallValues({ kind: "int64", values: column }, pairs);
  expect(isSmall).toBe(column.every((value) => value >= -(2n ** 30n) && value < 2n ** 30n));
  const asNumber = Number.isSafeInteger(Number(constant)) ? [Number(constant)] : [];
  for (const [comparison, passes] of Object.entries(TESTS)) {
    const wanted = Array.from(column.keys()).filter((row) => passes(column[row]!, constant));
    for (const each of [constant, ...asNumber]) {
      const found = compareInt64(pairs, column.length, comparison as Comparison, each, isSmall);
      expect(Array.from(bitsetRows(found)), `${comparison} ${constant}`).toEqual(wanted);
    }
  }
}

test("Int64 compares with every constant as integers do", () => {
  fc.assert(
    fc.property(values(fc.oneof(int64, edge, small)), fc.oneof(int64, edge, small), (of, constant) =>
      check(BigInt64Array.from(of), constant),
    ),
    { numRuns: 300 },
  );
});

test("so do small values, with constants that are not small too", () => {
  fc.assert(
    fc.property(
      values(fc.oneof(small, fc.bigInt({ min: -3n, max: 3n }))),
      fc.oneof(small, edge, int64),
      (of, constant) => check(BigInt64Array.from(of), constant),
    ),
    { numRuns: 300 },
  );
});

test("constants beyond 64 bits are above or below all values", () => {
  const column = BigInt64Array.of(-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n);
  for (const constant of [2n ** 63n, -(2n ** 63n) - 1n, 2n ** 70n, -(2n ** 70n)]) check(column, constant);
});
