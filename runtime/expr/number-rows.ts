/**
 * Numbers row by row: comparison, membership and arithmetic over Float64Array (every numeric type converts to it without loss
 * but Int64, see int64-rows.ts) and, where an Int64 may be beyond 2^53, over its halves: Int32Array of [low, high] pairs. Each
 * loop handles one element type, which keeps it fast, and builds a bitset word by word without branches, which a processor
 * mispredicts where about half of the rows pass.
 *
 * Columns hold no NaN (inserts refuse it), so `>=` is `not <`.
 */
import { type Bitset, bitsetWords, setBit } from "../segment/bitset.ts";
import { addInterval, type Interval } from "../timestamptz.ts";
import { calculateBig } from "./arithmetic.ts";
import { has64, type KeySet } from "./key-set.ts";
import type { Arithmetic, Comparison } from "./plan-node.ts";
import { complement } from "./truth.ts";

export function compareNumbers(values: Float64Array, count: number, comparison: Comparison, constant: number): Bitset {
  switch (comparison) {
    case "==":
      return equalNumbers(values, count, constant);
    case "!=":
      return complement(equalNumbers(values, count, constant), count);
    case "<":
      return lessNumbers(values, count, constant);
    case ">=":
      return complement(lessNumbers(values, count, constant), count);
    case ">":
      return greaterNumbers(values, count, constant);
    case "<=":
      return complement(greaterNumbers(values, count, constant), count);
  }
}

function equalNumbers(values: Float64Array, count: number, constant: number): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let w = 0; w < bits.length; w++) {
    const start = w << 5;
    let word = 0;
    for (let r = Math.min(start + 32, count) - 1; r >= start; r--) word = (word << 1) | Number(values[r]! === constant);
    bits[w] = word;
  }
  return bits;
}

function lessNumbers(values: Float64Array, count: number, constant: number): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let w = 0; w < bits.length; w++) {
    const start = w << 5;
    let word = 0;
    for (let r = Math.min(start + 32, count) - 1; r >= start; r--) word = (word << 1) | Number(values[r]! < constant);
    bits[w] = word;
  }
  return bits;
}

function greaterNumbers(values: Float64Array, count: number, constant: number): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let w = 0; w < bits.length; w++) {
    const start = w << 5;
    let word = 0;
    for (let r = Math.min(start + 32, count) - 1; r >= start; r--) word = (word << 1) | Number(values[r]! > constant);
    bits[w] = word;
  }
  return bits;
}

/** Whether a difference (negative, zero, positive) satisfies the comparison. */
function matches(comparison: Comparison, difference: number): boolean {
  switch (comparison) {
    case "==":
      return difference === 0;
    case "!=":
      return difference !== 0;
    case "<":
      return difference < 0;
    case "<=":
      return difference <= 0;
    case ">":
      return difference > 0;
    case ">=":
      return difference >= 0;
  }
}

export function compareNumberColumns(a: Float64Array, b: Float64Array, count: number, comparison: Comparison): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let r = 0; r < count; r++) {
    const difference = a[r]! < b[r]! ? -1 : a[r]! > b[r]! ? 1 : 0;
    if (matches(comparison, difference)) bits[r >>> 5] = bits[r >>> 5]! | (1 << (r & 31));
  }
  return bits;
}

export function compareInt64Columns(a: Int32Array, b: Int32Array, count: number, comparison: Comparison): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let r = 0; r < count; r++) {
    const high = a[2 * r + 1]! - b[2 * r + 1]!;
    const difference = high !== 0 ? high : (a[2 * r]! >>> 0) - (b[2 * r]! >>> 0);
    if (matches(comparison, difference)) bits[r >>> 5] = bits[r >>> 5]! | (1 << (r & 31));
  }
  return bits;
}

/** @param pairs the 64 bits of each value, low half first: of an Int64, or of a double */
export function numbersIn(pairs: Int32Array, count: number, keys: KeySet): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  for (let w = 0; w < bits.length; w++) {
    const start = w << 5;
    let word = 0;
    for (let r = Math.min(start + 32, count) - 1; r >= start; r--) {
      word = (word << 1) | (has64(keys, pairs[2 * r]!, pairs[2 * r + 1]!) ? 1 : 0);
    }
    bits[w] = word;
  }
  return bits;
}

/**
 * `value operator constant`, compared with `result`.
 * @param pairs of an Int64 column, whose `values` are rounded
 */
export function compareArithmetic(
  values: Float64Array,
  pairs: Int32Array | undefined,
  count: number,
  arithmetic: Arithmetic,
  comparison: Comparison,
  result: number | bigint,
): Bitset {
  const { operator, value, isInteger } = arithmetic;
  if (!isInteger)
    return compareNumbers(calculateFloats(values, count, operator, Number(value)), count, comparison, Number(result));
  // Doubles are enough while operands are exact in them: a result beyond 2^53 may be rounded, but not past `result`.
  const isExact = isSafe(value) && isSafe(result) && (pairs === undefined || allSafe(values, count));
  if (isExact) return compareNumbers(calculateIntegers(values, count, operator, value), count, comparison, result);
  return compareBigArithmetic(values, pairs, count, arithmetic, comparison, BigInt(result));
}

function isSafe(value: number | bigint): value is number {
  return Number.isSafeInteger(value);
}

function allSafe(values: Float64Array, count: number): boolean {
  for (let r = 0; r < count; r++) if (Math.abs(values[r]!) > Number.MAX_SAFE_INTEGER) return false;
  return true;
}

function calculateIntegers(
  values: Float64Array,
  count: number,
  operator: Arithmetic["operator"],
  constant: number,
): Float64Array {
  const result = calculateFloats(values, count, operator, constant);
  if (operator === "/") for (let r = 0; r < count; r++) result[r] = Math.trunc(result[r]!);
  return result;
}

function calculateFloats(
  values: Float64Array,
  count: number,
  operator: Arithmetic["operator"],
  constant: number,
): Float64Array {
  const result = new Float64Array(count);
  switch (operator) {
    case "+":
      for (let r = 0; r < count; r++) result[r] = values[r]! + constant;
      break;
    case "-":
      for (let r = 0; r < count; r++) result[r] = values[r]! - constant;
      break;
    case "*":
      for (let r = 0; r < count; r++) result[r] = values[r]! * constant;
      break;
    case "/":
      for (let r = 0; r < count; r++) result[r] = values[r]! / constant;
      break;
    case "%":
      for (let r = 0; r < count; r++) result[r] = values[r]! % constant;
  }
  return result;
}

/** The slow, exact way: used only for chunks that hold integers beyond 2^53, or filters that name them. */
function compareBigArithmetic(
  values: Float64Array,
  pairs: Int32Array | undefined,
  count: number,
  arithmetic: Arithmetic,
  comparison: Comparison,
  result: bigint,
): Bitset {
  const exact = pairs === undefined ? undefined : new BigInt64Array(pairs.buffer, pairs.byteOffset, count);
  const constant = BigInt(arithmetic.value);
  const bits = new Uint32Array(bitsetWords(count));
  for (let r = 0; r < count; r++) {
    const value = calculateBig(exact === undefined ? BigInt(values[r]!) : exact[r]!, arithmetic.operator, constant);
    const difference = value < result ? -1 : value > result ? 1 : 0;
    if (matches(comparison, difference)) bits[r >>> 5] = bits[r >>> 5]! | (1 << (r & 31));
  }
  return bits;
}

/** Timestamps with an interval of calendar months added, compared with `result`. @param pairs of a Timestamptz column */
export function compareMoved(
  pairs: Int32Array,
  count: number,
  interval: Interval,
  comparison: Comparison,
  result: bigint,
): Bitset {
  const exact = new BigInt64Array(pairs.buffer, pairs.byteOffset, count);
  const bits = new Uint32Array(bitsetWords(count));
  for (let r = 0; r < count; r++) {
    const value = addInterval(exact[r]!, interval);
    if (matches(comparison, value < result ? -1 : value > result ? 1 : 0)) setBit(bits, r);
  }
  return bits;
}
