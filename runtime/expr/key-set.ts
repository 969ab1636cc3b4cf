/**
 * Hash sets of constants for IN: open addressing, at most half full, no object per look-up. One form for 64-bit values (the
 * bits of an Int64 or of a double), one for UTF-8 strings.
 */
import type { Scalar } from "../schema.ts";
import { varcharColumn } from "../segment/keys.ts";
import type { ValueType } from "./plan-node.ts";

export interface KeySet {
  /** Pairs [low, high]; a slot is in use when its byte in `used` is 1. Size is a power of two. */
  slots: Int32Array;
  used: Uint8Array;
}

export interface TextSet {
  /** Index of the string + 1, or 0. */
  slots: Int32Array;
  hashes: Int32Array;
  offsets: Uint32Array;
  bytes: Uint8Array;
  lengthMin: number;
  lengthMax: number;
}

/** The keys of constants that are compared with a column or elements of a type: low and high halves of each. */
export function pairsOfConstants(type: ValueType, values: readonly Scalar[]): Int32Array {
  if (type === "Int64" || type === "Timestamptz") return int64Pairs(values);
  const numbers = values.map(Number);
  // Zero has two encodings as a double.
  const zeros = numbers.includes(0) ? [0, -0] : [];
  return new Int32Array(Float64Array.from([...numbers, ...zeros]).buffer);
}

function int64Pairs(values: readonly Scalar[]): Int32Array {
  const pairs = new Int32Array(2 * values.length);
  values.forEach((value, i) => {
    const isExact = typeof value === "number" && Number.isSafeInteger(value);
    pairs[2 * i] = isExact ? value | 0 : Number(BigInt.asIntN(32, BigInt(value)));
    pairs[2 * i + 1] = isExact ? Math.floor(value / 2 ** 32) : Number(BigInt(value) >> 32n);
  });
  return pairs;
}

/** @param pairs low and high halves of each key */
export function newKeySet(pairs: Int32Array): KeySet {
  const size = tableSize(pairs.length / 2);
  const set: KeySet = { slots: new Int32Array(2 * size), used: new Uint8Array(size) };
  for (let k = 0; k < pairs.length; k += 2) {
    const low = pairs[k]!;
    const high = pairs[k + 1]!;
    if (has64(set, low, high)) continue;
    let slot = hash64(low, high) & (size - 1);
    while (set.used[slot] === 1) slot = (slot + 1) & (size - 1);
    set.used[slot] = 1;
    set.slots[2 * slot] = low;
    set.slots[2 * slot + 1] = high;
  }
  return set;
}

export function has64(set: KeySet, low: number, high: number): boolean {
  return slotOf(set, low, high) >= 0;
}

/** The position of the key; -1: not there. */
export function slotOf({ slots, used }: KeySet, low: number, high: number): number {
  const mask = used.length - 1;
  for (let slot = hash64(low, high) & mask; used[slot] === 1; slot = (slot + 1) & mask) {
    if (slots[2 * slot] === low && slots[2 * slot + 1] === high) return slot;
  }
  return -1;
}

export function newTextSet(texts: string[]): TextSet {
  const different = [...new Set(texts)];
  const size = tableSize(different.length);
  const { offsets, bytes } = varcharColumn(different);
  const slots = new Int32Array(size);
  const hashes = new Int32Array(different.length);
  let lengthMin = Number.POSITIVE_INFINITY;
  let lengthMax = 0;
  for (let i = 0; i < different.length; i++) {
    const start = offsets[i]!;
    const end = offsets[i + 1]!;
    lengthMin = Math.min(lengthMin, end - start);
    lengthMax = Math.max(lengthMax, end - start);
    const hash = hashBytes(bytes, start, end);
    hashes[i] = hash;
    let slot = hash & (size - 1);
    while (slots[slot] !== 0) slot = (slot + 1) & (size - 1);
    slots[slot] = i + 1;
  }
  return { slots, hashes, offsets, bytes, lengthMin, lengthMax };
}

/** Whether bytes[start, end) is one of the strings. */
export function hasText(set: TextSet, bytes: Uint8Array, start: number, end: number): boolean {
  return textAt(set, bytes, start, end) >= 0;
}

/** Which of the strings bytes[start, end) is; -1: none. */
export function textAt(set: TextSet, bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  if (length < set.lengthMin || length > set.lengthMax) return -1;
  const hash = hashBytes(bytes, start, end);
  const mask = set.slots.length - 1;
  for (let slot = hash & mask; set.slots[slot] !== 0; slot = (slot + 1) & mask) {
    const i = set.slots[slot]! - 1;
    if (set.hashes[i] === hash && isSlice(set, i, bytes, start, length)) return i;
  }
  return -1;
}

function isSlice(set: TextSet, i: number, bytes: Uint8Array, start: number, length: number): boolean {
  const from = set.offsets[i]!;
  if (set.offsets[i + 1]! - from !== length) return false;
  for (let b = 0; b < length; b++) if (set.bytes[from + b] !== bytes[start + b]) return false;
  return true;
}

function tableSize(keys: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(2 * keys, 2)));
}

/** Mixes both halves by odd multipliers (MurmurHash3's finaliser, shortened). */
function hash64(low: number, high: number): number {
  let hash = Math.imul(low, 0x85ebca6b) ^ Math.imul(high, 0xc2b2ae35);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return hash ^ (hash >>> 13);
}

/** FNV-1a, 32 bits, with a final mix so that the low bits depend on all others. */
function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let b = start; b < end; b++) hash = Math.imul(hash ^ bytes[b]!, 0x01000193);
  return hash ^ (hash >>> 15);
}
