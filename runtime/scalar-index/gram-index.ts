/**
 * Rows of a chunk by the grams of their texts: sequences of a few bytes, hashed into buckets. A text that LIKE finds has every
 * gram of the pattern's plain parts, so only rows in all of their buckets need to be tested.
 */
import type { Clock } from "../clock.ts";
import { ANY_CHARACTER, stepsOf } from "../expr/like.ts";
import { nullRows } from "../expr/row-view.ts";
import { type Bitset, newBitset, setBit } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { takeTurn } from "../turns.ts";

const BUCKETS = 4096;

/** Most grams of a pattern that are looked up: each further one excludes fewer rows. */
const GRAMS_MAX = 6;

export interface GramIndex {
  readonly kind: "grams";
  readonly fieldId: number;
  readonly gram: number;
  /** BUCKETS + 1 offsets into rows. */
  readonly starts: Uint32Array;
  readonly rows: Uint16Array;
  readonly unknown: Bitset | undefined;
  readonly bytes: number;
}

/** Bytes of texts read in one turn: a millisecond or two. */
const PIECE_BYTES = 1 << 18;

/** Takes some milliseconds per megabyte, in turns. */
export async function newGramIndex(
  fieldId: number,
  column: BytesColumn,
  { rowCount, gram }: { rowCount: number; gram: number },
  clock: Clock,
): Promise<GramIndex> {
  const { offsets, bytes } = column;
  const last = new Int32Array(BUCKETS).fill(-1);
  const starts = new Uint32Array(BUCKETS + 1);
  const visit = async (take: (bucket: number, row: number) => void) => {
    last.fill(-1);
    let turnEnd = 0;
    for (let row = 0; row < rowCount; row++) {
      if (offsets[row]! >= turnEnd) {
        await takeTurn(clock);
        turnEnd = offsets[row]! + PIECE_BYTES;
      }
      for (let at = offsets[row]!, end = offsets[row + 1]! - gram; at <= end; at++) {
        const bucket = bucketOf(bytes, at, gram);
        if (last[bucket] === row) continue;
        last[bucket] = row;
        take(bucket, row);
      }
    }
  };
  await visit((bucket) => {
    starts[bucket + 1] = starts[bucket + 1]! + 1;
  });
  for (let bucket = 0; bucket < BUCKETS; bucket++) starts[bucket + 1] = starts[bucket + 1]! + starts[bucket]!;
  const rows = new Uint16Array(starts[BUCKETS]!);
  const next = starts.slice(0, BUCKETS);
  await visit((bucket, row) => {
    rows[next[bucket]!] = row;
    next[bucket] = next[bucket]! + 1;
  });
  const unknown = nullRows(column, rowCount);
  return { kind: "grams", fieldId, gram, starts, rows, unknown, bytes: starts.byteLength + rows.byteLength };
}

function bucketOf(bytes: Uint8Array, at: number, gram: number): number {
  let hash = 0;
  for (let i = 0; i < gram; i++) hash = Math.imul(hash, 31) + bytes[at + i]!;
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) >>> 20;
}

/** A superset of the rows that match; undefined when the pattern's plain parts are too short to tell. */
export function gramCandidates(index: GramIndex, pattern: string, rowCount: number): Bitset | undefined {
  const buckets = bucketsOf(pattern, index.gram);
  if (buckets.size === 0) return undefined;
  const sizeOf = (bucket: number) => index.starts[bucket + 1]! - index.starts[bucket]!;
  const [first, ...rest] = [...buckets].sort((a, b) => sizeOf(a) - sizeOf(b)).slice(0, GRAMS_MAX);
  const candidates = rowsOf(index, first!, rowCount);
  for (const bucket of rest) {
    const bits = rowsOf(index, bucket, rowCount);
    for (let w = 0; w < candidates.length; w++) candidates[w] = candidates[w]! & bits[w]!;
  }
  return candidates;
}

function rowsOf({ starts, rows }: GramIndex, bucket: number, rowCount: number): Bitset {
  const bits = newBitset(rowCount);
  for (let i = starts[bucket]!; i < starts[bucket + 1]!; i++) setBit(bits, rows[i]!);
  return bits;
}

function bucketsOf(pattern: string, gram: number): Set<number> {
  const buckets = new Set<number>();
  let run: number[] = [];
  for (const step of [...stepsOf(pattern), ANY_CHARACTER]) {
    if (step < ANY_CHARACTER) {
      run.push(step);
      continue;
    }
    const bytes = Uint8Array.from(run);
    for (let at = 0; at + gram <= bytes.length; at++) buckets.add(bucketOf(bytes, at, gram));
    run = [];
  }
  return buckets;
}
