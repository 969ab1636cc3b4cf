/**
 * Hash sets of constants for IN: open addressing, at most half full, no objects a lookup. One form for 64-bit values
 * (the bits of an Int64 or of a double), one for UTF-8 strings.
 */

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
  const { slots, used } = set;
  const mask = used.length - 1;
  for (let slot = hash64(low, high) & mask; used[slot] === 1; slot = (slot + 1) & mask) {
    if (slots[2 * slot] === low && slots[2 * slot + 1] === high) return true;
  }
  return false;
}

export function newTextSet(texts: string[]): TextSet {
  const encoded = [...new Set(texts)].map((text) => new TextEncoder().encode(text));
  const size = tableSize(encoded.length);
  const offsets = new Uint32Array(encoded.length + 1);
  encoded.forEach((bytes, i) => {
    offsets[i + 1] = offsets[i]! + bytes.length;
  });
  const set: TextSet = {
    slots: new Int32Array(size),
    hashes: new Int32Array(encoded.length),
    offsets,
    bytes: new Uint8Array(offsets[encoded.length]!),
    lengthMin: encoded.reduce((min, bytes) => Math.min(min, bytes.length), Number.POSITIVE_INFINITY),
    lengthMax: encoded.reduce((max, bytes) => Math.max(max, bytes.length), 0),
  };
  encoded.forEach((bytes, i) => {
    set.bytes.set(bytes, offsets[i]!);
    const hash = hashBytes(bytes, 0, bytes.length);
    set.hashes[i] = hash;
    let slot = hash & (size - 1);
    while (set.slots[slot] !== 0) slot = (slot + 1) & (size - 1);
    set.slots[slot] = i + 1;
  });
  return set;
}

/** Whether bytes[start, end) is one of the strings. */
export function hasText(set: TextSet, bytes: Uint8Array, start: number, end: number): boolean {
  const length = end - start;
  if (length < set.lengthMin || length > set.lengthMax) return false;
  const hash = hashBytes(bytes, start, end);
  const mask = set.slots.length - 1;
  for (let slot = hash & mask; set.slots[slot] !== 0; slot = (slot + 1) & mask) {
    const i = set.slots[slot]! - 1;
    if (set.hashes[i] === hash && isSlice(set, i, bytes, start, length)) return true;
  }
  return false;
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

/** FNV-1a, 32 bits, with a last mix so that the low bits take part of all. */
function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let b = start; b < end; b++) hash = Math.imul(hash ^ bytes[b]!, 0x01000193);
  return hash ^ (hash >>> 15);
}
