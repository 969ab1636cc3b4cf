/**
 * Strings row by row, as slices of UTF-8 bytes: comparison (byte order is code point order), membership, LIKE. Only
 * candidate rows are looked at. `offsets` holds row r at [offsets[r], offsets[r + 1]).
 */
import { type Bitset, bitsetWords } from "../segment/bitset.ts";
import { hasText, type TextSet } from "./key-set.ts";
import { equalAt, type LikePattern, matchesSteps } from "./like.ts";
import type { Comparison } from "./plan-node.ts";

/** The orders (-1, 0, 1) of value against constant that satisfy a comparison. */
const ORDERS: Record<Exclude<Comparison, "!=">, readonly [number, number]> = {
  "==": [0, 0],
  "<": [-1, -1],
  "<=": [-1, 0],
  ">": [1, 1],
  ">=": [0, 1],
};

export function compareTexts(
  offsets: Uint32Array,
  bytes: Uint8Array,
  candidates: Bitset,
  comparison: Comparison,
  constant: Uint8Array,
): Bitset {
  if (comparison === "==") return equalTexts(offsets, bytes, candidates, constant);
  if (comparison === "!=") return without(candidates, equalTexts(offsets, bytes, candidates, constant));
  const [orderMin, orderMax] = ORDERS[comparison];
  return orderedTexts(offsets, bytes, candidates, constant, orderMin, orderMax);
}

function without(candidates: Bitset, bits: Bitset): Bitset {
  for (let w = 0; w < bits.length; w++) bits[w] = candidates[w]! & ~bits[w]!;
  return bits;
}

function equalTexts(offsets: Uint32Array, bytes: Uint8Array, candidates: Bitset, constant: Uint8Array): Bitset {
  const bits = new Uint32Array(candidates.length);
  for (let w = 0; w < bits.length; w++) {
    let word = 0;
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = 31 - Math.clz32(open & -open);
      const row = (w << 5) + bit;
      const start = offsets[row]!;
      if (offsets[row + 1]! - start === constant.length && equalAt(constant, bytes, start)) word |= 1 << bit;
    }
    bits[w] = word;
  }
  return bits;
}

/** Rows whose order against the constant (-1, 0, 1) lies in [orderMin, orderMax]. */
function orderedTexts(
  offsets: Uint32Array,
  bytes: Uint8Array,
  candidates: Bitset,
  constant: Uint8Array,
  orderMin: number,
  orderMax: number,
): Bitset {
  const bits = new Uint32Array(candidates.length);
  for (let w = 0; w < bits.length; w++) {
    let word = 0;
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = 31 - Math.clz32(open & -open);
      const row = (w << 5) + bit;
      const order = orderBytes(bytes, offsets[row]!, offsets[row + 1]!, constant, 0, constant.length);
      if (order >= orderMin && order <= orderMax) word |= 1 << bit;
    }
    bits[w] = word;
  }
  return bits;
}

/** -1, 0 or 1. */
export function orderBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const common = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < common; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return Math.sign(aEnd - aStart - (bEnd - bStart));
}

export function textsIn(offsets: Uint32Array, bytes: Uint8Array, candidates: Bitset, texts: TextSet): Bitset {
  const bits = new Uint32Array(candidates.length);
  for (let w = 0; w < bits.length; w++) {
    let word = 0;
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = 31 - Math.clz32(open & -open);
      const row = (w << 5) + bit;
      if (hasText(texts, bytes, offsets[row]!, offsets[row + 1]!)) word |= 1 << bit;
    }
    bits[w] = word;
  }
  return bits;
}

export function likeTexts(
  offsets: Uint32Array,
  bytes: Uint8Array,
  candidates: Bitset,
  count: number,
  pattern: LikePattern,
): Bitset {
  switch (pattern.kind) {
    case "all":
      return candidates.slice();
    case "equal":
      return equalTexts(offsets, bytes, candidates, pattern.bytes);
    case "prefix":
      return affixedTexts(offsets, bytes, candidates, pattern.bytes, false);
    case "suffix":
      return affixedTexts(offsets, bytes, candidates, pattern.bytes, true);
    case "infix":
      return holdingTexts(offsets, bytes, candidates, count, pattern.bytes);
    case "general":
      return matchingTexts(offsets, bytes, candidates, pattern.steps);
  }
}

function affixedTexts(
  offsets: Uint32Array,
  bytes: Uint8Array,
  candidates: Bitset,
  affix: Uint8Array,
  isSuffix: boolean,
): Bitset {
  const bits = new Uint32Array(candidates.length);
  for (let w = 0; w < bits.length; w++) {
    let word = 0;
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = 31 - Math.clz32(open & -open);
      const row = (w << 5) + bit;
      const start = offsets[row]!;
      const spare = offsets[row + 1]! - start - affix.length;
      if (spare >= 0 && equalAt(affix, bytes, isSuffix ? start + spare : start)) word |= 1 << bit;
    }
    bits[w] = word;
  }
  return bits;
}

/** One native search through the bytes from the first candidate to the last; a hit that spans two rows does not count. */
function holdingTexts(
  offsets: Uint32Array,
  bytes: Uint8Array,
  candidates: Bitset,
  count: number,
  needle: Uint8Array,
): Bitset {
  const bits = new Uint32Array(bitsetWords(count));
  let first = 0;
  while (first < bits.length && candidates[first] === 0) first++;
  let last = bits.length;
  while (last > first && candidates[last - 1] === 0) last--;
  if (first === last) return bits;
  let row = first << 5;
  const haystack = Buffer.from(bytes.buffer, bytes.byteOffset, offsets[Math.min(count, last << 5)]!);
  for (let hit = haystack.indexOf(needle, offsets[row]!); hit >= 0; ) {
    while (offsets[row + 1]! <= hit) row++;
    const end = offsets[row + 1]!;
    const isInside = hit + needle.length <= end;
    if (isInside) bits[row >>> 5] = bits[row >>> 5]! | (1 << (row & 31));
    hit = haystack.indexOf(needle, isInside ? end : hit + 1);
  }
  for (let w = 0; w < bits.length; w++) bits[w] = bits[w]! & candidates[w]!;
  return bits;
}

function matchingTexts(offsets: Uint32Array, bytes: Uint8Array, candidates: Bitset, steps: Uint16Array): Bitset {
  const bits = new Uint32Array(candidates.length);
  for (let w = 0; w < bits.length; w++) {
    let word = 0;
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = 31 - Math.clz32(open & -open);
      const row = (w << 5) + bit;
      if (matchesSteps(steps, bytes, offsets[row]!, offsets[row + 1]!)) word |= 1 << bit;
    }
    bits[w] = word;
  }
  return bits;
}

export function compareTextColumns(
  a: { offsets: Uint32Array; bytes: Uint8Array },
  b: { offsets: Uint32Array; bytes: Uint8Array },
  candidates: Bitset,
  comparison: Comparison,
): Bitset {
  const [orderMin, orderMax] = ORDERS[comparison === "!=" ? "==" : comparison];
  const bits = new Uint32Array(candidates.length);
  for (let w = 0; w < bits.length; w++) {
    let word = 0;
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const bit = 31 - Math.clz32(open & -open);
      const r = (w << 5) + bit;
      const order = orderBytes(a.bytes, a.offsets[r]!, a.offsets[r + 1]!, b.bytes, b.offsets[r]!, b.offsets[r + 1]!);
      if (order >= orderMin && order <= orderMax) word |= 1 << bit;
    }
    bits[w] = word;
  }
  return comparison === "!=" ? without(candidates, bits) : bits;
}
