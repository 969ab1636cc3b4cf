/**
 * Which values a chunk's column may hold: a Bloom filter, in blocks of 256 bits. A value sets one bit in each of the eight
 * words of one block, so a look-up reads one cache line, and about one in a hundred absent values passes. About 10 bits for
 * each different value: 1.25 bytes per row if all differ, next to nothing if few do. The hash is that of keys.
 */
import { nullRows } from "../expr/row-view.ts";
import { hasBit } from "../segment/bitset.ts";
import { hashKey, type KeyColumn } from "../segment/keys.ts";

/** Whole blocks of eight words. */
export type ValueFilter = Uint32Array<ArrayBuffer>;

const BLOCK_WORDS = 8;
const BITS_A_VALUE = 10;

/** Odd, one a word of a block: the upper five bits of a product choose the word's bit (as Parquet's filters do it). */
const SALTS = Int32Array.of(
  0x47b6137b,
  0x44974d91,
  0x8824ad5b,
  0xa2b7289d,
  0x705495c7,
  0x2df1424b,
  0x9efc4947,
  0x5c6bfb31,
);

/** A filter of the values of the first `rowCount` rows. Takes below a millisecond for a chunk of short texts. */
export function newValueFilter(column: KeyColumn, rowCount: number): ValueFilter {
  const nulls = nullRows(column, rowCount);
  const hashes = new Uint32Array(rowCount);
  let count = 0;
  for (let row = 0; row < rowCount; row++) {
    if (nulls !== undefined && hasBit(nulls, row)) continue;
    hashes[count++] = hashKey(column, row);
  }
  const full = blocksFor(count);
  let different = 0;
  for (let i = 0; i < count; i++) if (addHash(full, hashes[i]!)) different++;
  const fitting = blocksFor(different);
  if (fitting.length > full.length / 2) return full;
  for (let i = 0; i < count; i++) addHash(fitting, hashes[i]!);
  return fitting;
}

/** False: no row has the value. @param hash hashKey of a value */
export function mayHold(filter: ValueFilter, hash: number): boolean {
  const block = blockOf(filter, hash);
  for (let word = 0; word < BLOCK_WORDS; word++) {
    if ((filter[block + word]! & (1 << (Math.imul(hash, SALTS[word]!) >>> 27))) === 0) return false;
  }
  return true;
}

function blocksFor(values: number): ValueFilter {
  return new Uint32Array(BLOCK_WORDS * Math.max(1, Math.ceil((values * BITS_A_VALUE) / (32 * BLOCK_WORDS))));
}

/** Whether the value was new, as far as the filter tells. */
function addHash(filter: ValueFilter, hash: number): boolean {
  const block = blockOf(filter, hash);
  let isNew = false;
  for (let word = 0; word < BLOCK_WORDS; word++) {
    const bit = 1 << (Math.imul(hash, SALTS[word]!) >>> 27);
    if ((filter[block + word]! & bit) !== 0) continue;
    filter[block + word] = filter[block + word]! | bit;
    isNew = true;
  }
  return isNew;
}

/**
 * Chosen by the upper bits of the hash, spread anew: keys of one shard share a remainder, and bits are chosen by products of
 * the same hash.
 */
function blockOf(filter: ValueFilter, hash: number): number {
  const spread = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  return BLOCK_WORDS * Math.floor((spread * (filter.length / BLOCK_WORDS)) / 2 ** 32);
}
