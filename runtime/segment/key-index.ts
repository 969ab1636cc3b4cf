/**
 * Maps a primary key to its rows: open addressing with linear probing over the newest row of each key (8 bytes per key at the
 * load limit), and a link from each row to the next older one of its key (4 bytes per row). A key may have many rows (inserts
 * do not check, upserts leave the old ones); all are found, newest first. Rows are never removed: a segment only grows.
 *
 * The bits of a slot that row numbers do not need hold bits of the key's hash. So for all but one key in some thousands,
 * reading one slot shows that a segment does not have the key. This matters because a delete is looked up in every segment of
 * its shard and found in one.
 */
import { hashKey, type KeyColumn, keysEqual } from "./keys.ts";

/** Small, because a shard has a growing segment for each partition that was written to. */
const INITIAL_SLOTS = 64;

export class KeyIndex {
  /** Newest row of a key, plus 1, in the bits of #rowMask; the other bits are those of its hash. 0: none. */
  #slots: Int32Array;
  /** The low bits that a row number, plus 1, may need. */
  #rowMask: number;
  #keyCount = 0;
  /** For each row: the next older row of its key, plus 1; 0: none. */
  #older: Int32Array;
  /** Finds the key column of a row of the segment, and the row in that column. */
  readonly #locate: (row: number) => { column: KeyColumn; row: number };

  /** @param rowsExpected allocates for that many from the start: growing takes long at once, 100 ms for a million keys */
  constructor(locate: (row: number) => { column: KeyColumn; row: number }, rowsExpected = 0) {
    this.#locate = locate;
    let size = INITIAL_SLOTS;
    while (rowsExpected * 2 > size) size *= 2;
    this.#slots = new Int32Array(size);
    this.#older = new Int32Array(Math.max(INITIAL_SLOTS, rowsExpected));
    this.#rowMask = maskFor(this.#older.length);
  }

  /**
   * Adds rows [firstRow, firstRow + count), above all earlier ones, whose keys are in `column` from `start` on. They must
   * already be locatable.
   */
  add(column: KeyColumn, start: number, firstRow: number, count: number): void {
    this.#reserve(firstRow, count);
    for (let i = 0; i < count; i++) {
      const hash = hashKey(column, start + i);
      const at = this.#slotOf(column, start + i, hash);
      const newest = this.#slots[at]! & this.#rowMask;
      if (newest === 0) this.#keyCount++;
      this.#older[firstRow + i] = newest;
      this.#slots[at] = (hash & ~this.#rowMask) | (firstRow + i + 1);
    }
  }

  /** Different keys. */
  get keyCount(): number {
    return this.#keyCount;
  }

  get memoryBytes(): number {
    return this.#slots.byteLength + this.#older.byteLength;
  }

  /** The newest row that has this key; -1: none. @param hash hashKey of it */
  newest(column: KeyColumn, row: number, hash: number): number {
    return (this.#slots[this.#slotOf(column, row, hash)]! & this.#rowMask) - 1;
  }

  /** The next older row of a row's key; -1: none. */
  olderThan(row: number): number {
    return this.#older[row]! - 1;
  }

  /** Where the key is, or would be. */
  #slotOf(column: KeyColumn, row: number, hash: number): number {
    const slots = this.#slots;
    const rowMask = this.#rowMask;
    const mask = slots.length - 1;
    let at = firstSlot(hash, mask);
    for (let entry = slots[at]!; entry !== 0; entry = slots[at]!) {
      if (((entry ^ hash) & ~rowMask) === 0) {
        const place = this.#locate((entry & rowMask) - 1);
        if (keysEqual(column, row, place.column, place.row)) break;
      }
      at = (at + 1) & mask;
    }
    return at;
  }

  #reserve(firstRow: number, count: number): void {
    if (firstRow + count > this.#older.length) {
      const larger = new Int32Array(Math.max(firstRow + count, this.#older.length * 2));
      larger.set(this.#older);
      this.#older = larger;
      this.#widenRows(maskFor(larger.length));
    }
    // Load at most 1/2: linear probing stays at under two probes a look-up.
    if ((this.#keyCount + count) * 2 <= this.#slots.length) return;
    const old = this.#slots;
    let size = old.length;
    while ((this.#keyCount + count) * 2 > size) size *= 2;
    const slots = new Int32Array(size);
    for (const entry of old) {
      if (entry === 0) continue;
      const place = this.#locate((entry & this.#rowMask) - 1);
      let at = firstSlot(hashKey(place.column, place.row), size - 1);
      while (slots[at] !== 0) at = (at + 1) & (size - 1);
      slots[at] = entry;
    }
    this.#slots = slots;
  }

  /** Bits that held a part of the hash are cleared for row numbers. */
  #widenRows(rowMask: number): void {
    const slots = this.#slots;
    for (let at = 0; at < slots.length; at++) slots[at] = slots[at]! & (~rowMask | this.#rowMask);
    this.#rowMask = rowMask;
  }
}

function maskFor(rows: number): number {
  return 2 ** (32 - Math.clz32(rows)) - 1;
}

/** Fibonacci hashing: a shard holds only keys whose hash is one value modulo the shard count, so low bits alone would cluster. */
function firstSlot(hash: number, mask: number): number {
  return (Math.imul(hash, 0x9e3779b1) >>> 7) & mask;
}
