/**
 * Comparison of Int64 values with a constant, over their halves: an Int32Array of [low, high] pairs. The loops have no
 * branches, which a processor mispredicts where about half of the rows pass. If all values are small, as in most columns, only
 * the low halves are compared.
 */
import { type Bitset, bitsetWords, fullBitset, maskTail, newBitset } from "../segment/bitset.ts";
import type { ScalarColumn } from "../segment/column.ts";
import type { Comparison } from "./plan-node.ts";

/** Small values lie in [-SMALL, SMALL): the difference of two fits 32 bits. */
const SMALL = 2 ** 30;

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

const smallColumns = new WeakMap<ScalarColumn, boolean>();

/** Whether all values of a column are small. The column must never change. */
export function hasSmallValues(column: ScalarColumn, pairs: Int32Array): boolean {
  let isSmall = smallColumns.get(column);
  if (isSmall === undefined) {
    let beyond = 0;
    for (let i = 0; i < pairs.length; i += 2) {
      const low = pairs[i]!;
      beyond |= (low ^ (low << 1)) | (pairs[i + 1]! ^ (low >> 31) ? SMALL << 1 : 0);
    }
    isSmall = beyond >= 0;
    smallColumns.set(column, isSmall);
  }
  return isSmall;
}

/** @param constant an integer @param isSmall all values are */
export function compareInt64(
  pairs: Int32Array,
  count: number,
  comparison: Comparison,
  constant: number | bigint,
  isSmall = false,
): Bitset {
  switch (comparison) {
    case "==":
      return equal(pairs, count, constant, isSmall, 0);
    case "!=":
      return equal(pairs, count, constant, isSmall, -1);
    case "<":
      return less(pairs, count, constant, isSmall, 0);
    case ">=":
      return less(pairs, count, constant, isSmall, -1);
    case "<=":
      return less(pairs, count, next(constant), isSmall, 0);
    case ">":
      return less(pairs, count, next(constant), isSmall, -1);
  }
}

function next(constant: number | bigint): number | bigint {
  return typeof constant === "number" && constant < Number.MAX_SAFE_INTEGER ? constant + 1 : BigInt(constant) + 1n;
}

/** @param flip -1: the rows that are not */
function less(pairs: Int32Array, count: number, bound: number | bigint, isSmall: boolean, flip: number): Bitset {
  if (isSmall) {
    if (bound <= -SMALL) return constantRows(count, flip !== 0);
    if (bound >= SMALL) return constantRows(count, flip === 0);
    return lessSmall(pairs, count, Number(bound), flip);
  }
  const exact = BigInt(bound);
  if (exact <= INT64_MIN) return constantRows(count, flip !== 0);
  if (exact > INT64_MAX) return constantRows(count, flip === 0);
  return lessPairs(pairs, count, halvesOf(exact), flip);
}

function equal(pairs: Int32Array, count: number, value: number | bigint, isSmall: boolean, flip: number): Bitset {
  const exact = BigInt(value);
  const isThere = isSmall ? value >= -SMALL && value < SMALL : exact >= INT64_MIN && exact <= INT64_MAX;
  return isThere ? equalPairs(pairs, count, halvesOf(exact), flip) : constantRows(count, flip !== 0);
}

function constantRows(count: number, value: boolean): Bitset {
  return value ? fullBitset(count) : newBitset(count);
}

interface Halves {
  low: number;
  high: number;
}

function halvesOf(value: bigint): Halves {
  return { low: Number(BigInt.asIntN(32, value)), high: Number(BigInt.asIntN(32, value >> 32n)) };
}

/** Four rows at a time, so that their computations do not wait for each other. */
function lessSmall(pairs: Int32Array, count: number, bound: number, flip: number): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  const whole = count >>> 5;
  for (let w = 0; w < whole; w++) {
    const start = w << 6;
    let word = 0;
    for (let i = 0; i < 64; i += 8) {
      const at = start + i;
      const four =
        ((pairs[at]! - bound) >>> 31) |
        (((pairs[at + 2]! - bound) >>> 31) << 1) |
        (((pairs[at + 4]! - bound) >>> 31) << 2) |
        (((pairs[at + 6]! - bound) >>> 31) << 3);
      word |= four << (i >>> 1);
    }
    bits[w] = word ^ flip;
  }
  for (let r = whole << 5; r < count; r++) bits[whole] = bits[whole]! | (((pairs[2 * r]! - bound) >>> 31) << (r & 31));
  return withFlippedTail(bits, count, flip);
}

function lessPairs(pairs: Int32Array, count: number, { low, high }: Halves, flip: number): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let w = 0; w < bits.length; w++) {
    const start = w << 5;
    let word = 0;
    for (let r = Math.min(start + 32, count) - 1; r >= start; r--) {
      const l = pairs[2 * r]!;
      const h = pairs[2 * r + 1]!;
      // The sign of the difference: of the low halves, taken as without one, what is borrowed; of the high ones, with overflow.
      const borrow = ((~l & low) | (~(l ^ low) & (l - low))) >>> 31;
      const difference = (h - high - borrow) | 0;
      word = (word << 1) | ((difference ^ ((h ^ high) & (difference ^ h))) >>> 31);
    }
    bits[w] = start + 32 <= count ? word ^ flip : word;
  }
  return withFlippedTail(bits, count, flip);
}

function equalPairs(pairs: Int32Array, count: number, { low, high }: Halves, flip: number): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let w = 0; w < bits.length; w++) {
    const start = w << 5;
    let word = 0;
    for (let r = Math.min(start + 32, count) - 1; r >= start; r--) {
      const differs = (pairs[2 * r]! ^ low) | (pairs[2 * r + 1]! ^ high);
      word = (word << 1) | (((differs | -differs) >>> 31) ^ 1);
    }
    bits[w] = start + 32 <= count ? word ^ flip : word;
  }
  return withFlippedTail(bits, count, flip);
}

/** Whole words are flipped already. */
function withFlippedTail(bits: Bitset, count: number, flip: number): Bitset {
  if (flip === 0 || (count & 31) === 0) return bits;
  const last = bits.length - 1;
  bits[last] = ~bits[last]!;
  maskTail(bits, count);
  return bits;
}
