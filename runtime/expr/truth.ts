/**
 * Three-valued logic over whole chunks: a row is TRUE, UNKNOWN or FALSE (neither bit set), and AND, OR and NOT are
 * Kleene's, a word of 32 rows at a time.
 *
 * Rows outside the candidates that a node was asked about may hold anything; the caller ignores them.
 */
import { type Bitset, fullBitset, maskTail, newBitset } from "../segment/bitset.ts";

export interface Truth {
  isTrue: Bitset;
  /** Absent when no row is unknown. Never overlaps isTrue. */
  unknown: Bitset | undefined;
}

export function constantTruth(value: boolean, rowCount: number): Truth {
  return { isTrue: value ? fullBitset(rowCount) : newBitset(rowCount), unknown: undefined };
}

export function unknownTruth(rowCount: number): Truth {
  return { isTrue: newBitset(rowCount), unknown: fullBitset(rowCount) };
}

/** `bits` where the rows are known. Takes ownership of `bits`. */
export function knownTruth(bits: Bitset, unknown: Bitset | undefined): Truth {
  if (unknown !== undefined) for (let w = 0; w < bits.length; w++) bits[w] = bits[w]! & ~unknown[w]!;
  return { isTrue: bits, unknown };
}

export function notTruth(truth: Truth, rowCount: number): Truth {
  const { isTrue, unknown } = truth;
  const bits = new Uint32Array(isTrue.length);
  for (let w = 0; w < bits.length; w++) bits[w] = ~(isTrue[w]! | (unknown === undefined ? 0 : unknown[w]!));
  maskTail(bits, rowCount);
  return { isTrue: bits, unknown };
}

/** Rows of `candidates` that `truth` does not make FALSE: an AND is still open there. */
export function notFalse(truth: Truth, candidates: Bitset): Bitset {
  const { isTrue, unknown } = truth;
  const bits = new Uint32Array(isTrue.length);
  for (let w = 0; w < bits.length; w++) {
    bits[w] = candidates[w]! & (isTrue[w]! | (unknown === undefined ? 0 : unknown[w]!));
  }
  return bits;
}

/** Rows of `candidates` that `truth` does not make TRUE: an OR is still open there. */
export function notTrue(truth: Truth, candidates: Bitset): Bitset {
  const bits = new Uint32Array(truth.isTrue.length);
  for (let w = 0; w < bits.length; w++) bits[w] = candidates[w]! & ~truth.isTrue[w]!;
  return bits;
}

export function andTruth(a: Truth, b: Truth): Truth {
  const isTrue = new Uint32Array(a.isTrue.length);
  for (let w = 0; w < isTrue.length; w++) isTrue[w] = a.isTrue[w]! & b.isTrue[w]!;
  if (a.unknown === undefined && b.unknown === undefined) return { isTrue, unknown: undefined };
  const unknown = new Uint32Array(isTrue.length);
  for (let w = 0; w < isTrue.length; w++) {
    const openA = a.isTrue[w]! | (a.unknown === undefined ? 0 : a.unknown[w]!);
    const openB = b.isTrue[w]! | (b.unknown === undefined ? 0 : b.unknown[w]!);
    unknown[w] = openA & openB & ~isTrue[w]!;
  }
  return { isTrue, unknown };
}

export function orTruth(a: Truth, b: Truth): Truth {
  const isTrue = new Uint32Array(a.isTrue.length);
  for (let w = 0; w < isTrue.length; w++) isTrue[w] = a.isTrue[w]! | b.isTrue[w]!;
  if (a.unknown === undefined && b.unknown === undefined) return { isTrue, unknown: undefined };
  const unknown = new Uint32Array(isTrue.length);
  for (let w = 0; w < isTrue.length; w++) {
    const either = (a.unknown === undefined ? 0 : a.unknown[w]!) | (b.unknown === undefined ? 0 : b.unknown[w]!);
    unknown[w] = either & ~isTrue[w]!;
  }
  return { isTrue, unknown };
}

export function isEmpty(bits: Bitset): boolean {
  for (let w = 0; w < bits.length; w++) if (bits[w] !== 0) return false;
  return true;
}

/** The rows whose bit is clear. */
export function complement(bits: Bitset, rowCount: number): Bitset {
  const result = new Uint32Array(bits.length);
  for (let w = 0; w < bits.length; w++) result[w] = ~bits[w]!;
  maskTail(result, rowCount);
  return result;
}
