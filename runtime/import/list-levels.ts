/**
 * The levels of a page of Parquet lists, read run by run: they tell where lists begin when no list and no item is missing. A
 * list of many numbers then takes a few bytes of levels instead of two entries per number.
 *
 * Levels are a hybrid of repeated values and of values packed bit by bit; a repetition level of 0 begins a list, one of 1
 * goes on with it.
 */

export interface Levels {
  /** The page, and where its levels are within it. */
  bytes: Uint8Array;
  repetition: [start: number, end: number];
  /** Absent: items cannot be missing. */
  definition: [start: number, end: number] | undefined;
  count: number;
}

/** For each list that begins on the page, the position of its first item; undefined when something may be missing. */
export function listStarts(levels: Levels, maxDefinition: number): number[] | undefined {
  const { bytes, definition, repetition, count } = levels;
  if (definition !== undefined && !areAll(bytes, definition, count, maxDefinition)) return undefined;
  const starts: number[] = [];
  let seen = 0;
  let at = repetition[0];
  while (seen < count) {
    if (at >= repetition[1]) return undefined;
    const header = readVarint(bytes, at);
    at = varintEnd;
    if ((header & 1) === 0) {
      const end = Math.min(count, seen + (header >>> 1));
      if (bytes[at++] === 0) for (; seen < end; seen++) starts.push(seen);
      seen = end;
      continue;
    }
    if (at + (header >>> 1) > repetition[1]) return undefined;
    for (let left = header >>> 1; left > 0; left--, seen += 8) {
      const eight = bytes[at++]!;
      if (eight === 0xff) continue;
      for (let bit = 0; bit < 8 && seen + bit < count; bit++) if ((eight & (1 << bit)) === 0) starts.push(seen + bit);
    }
  }
  return starts;
}

/** Whether all levels are the same one, written as such. */
function areAll(bytes: Uint8Array, [start, end]: [number, number], count: number, level: number): boolean {
  // As many bytes as its bits need: never more than one.
  if (level > 0xff) return false;
  for (let seen = 0, at = start; seen < count; ) {
    if (at >= end) return false;
    const header = readVarint(bytes, at);
    at = varintEnd;
    if ((header & 1) === 1 || bytes[at++] !== level) return false;
    seen += header >>> 1;
  }
  return true;
}

let varintEnd = 0;

function readVarint(bytes: Uint8Array, start: number): number {
  let value = 0;
  for (let at = start, shift = 0; ; at++, shift += 7) {
    const byte = bytes[at]!;
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) !== 0 && shift < 28) continue;
    varintEnd = at + 1;
    return value >>> 0;
  }
}
