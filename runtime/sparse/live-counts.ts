/**
 * What BM25 must know about an index's rows: their number, their total length, and how many have a term, counting only the rows
 * that a read sees, without deleted and expired ones. Counts are kept for the rows that the last read saw and adjusted by the
 * difference for the next read, so that each delete costs once and reads cost next to nothing.
 */
import type { TermStatistics } from "../protocol/values.ts";
import { type Bitset, fullBitset } from "../segment/bitset.ts";
import type { Pace } from "./pace.ts";
import type { SparseIndex } from "./sparse-index.ts";
import { firstPair, placeOf, rowLength, type SparsePairs } from "./sparse-rows.ts";

/** The positions of a row's pairs, for rows of an index. */
export type RowPairs = (row: number) => { pairs: SparsePairs; row: number } | undefined;

export class LiveCounts {
  readonly #index: SparseIndex;
  readonly #rowPairs: RowPairs;
  /** Rows that are counted; undefined: all. */
  #counted: Bitset | undefined;
  /** By term number: rows that have it and are not counted. */
  #missing: Uint32Array | undefined;
  #rowCount: number;
  #totalLength: number;
  /** Serves one read at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(index: SparseIndex, rowPairs: RowPairs) {
    this.#index = index;
    this.#rowPairs = rowPairs;
    this.#rowCount = index.rowCount;
    this.#totalLength = index.totalLength;
  }

  get memoryBytes(): number {
    return (this.#counted?.byteLength ?? 0) + (this.#missing?.byteLength ?? 0);
  }

  /** Adds the rows that are visible to `sum`. @param visible null: all rows of the index */
  add(terms: Uint32Array, visible: Bitset | null, sum: TermStatistics, pace: Pace): Promise<void> {
    const added = this.#last.then(async () => {
      await this.#count(visible, pace);
      const { starts, terms: table } = this.#index;
      sum.rowCount += this.#rowCount;
      sum.totalLength += this.#totalLength;
      for (let i = 0; i < terms.length; i++) {
        if (pace.isDue(4)) await pace.turn();
        const term = table.find(terms[i]!);
        if (term < 0) continue;
        sum.counts[i] = sum.counts[i]! + starts[term + 1]! - starts[term]! - (this.#missing?.[term] ?? 0);
      }
    });
    this.#last = added.catch(() => undefined);
    return added;
  }

  async #count(visible: Bitset | null, pace: Pace): Promise<void> {
    if (visible === null && this.#counted === undefined) return;
    this.#counted ??= fullBitset(this.#index.rowCount);
    this.#missing ??= new Uint32Array(this.#index.terms.size);
    const all = visible === null ? fullBitset(this.#index.rowCount) : undefined;
    const wanted = visible ?? all!;
    for (let word = 0; word < this.#counted.length; word++) {
      let changed = (this.#counted[word]! ^ wanted[word]!) >>> 0;
      while (changed !== 0) {
        const bit = 31 - Math.clz32(changed & -changed);
        changed &= changed - 1;
        const row = (word << 5) + bit;
        // A row's bit changes with its counts: a turn that ends in an error leaves both right.
        if (pace.isDue(64 + this.#toggle(row, (wanted[word]! >>> bit) & 1))) await pace.turn();
      }
    }
  }

  /** @returns the work done */
  #toggle(row: number, isVisible: number): number {
    const step = isVisible === 1 ? 1 : -1;
    this.#counted![row >>> 5] = this.#counted![row >>> 5]! ^ (1 << (row & 31));
    this.#rowCount += step;
    this.#totalLength += step * this.#index.lengths[row]!;
    const found = this.#rowPairs(row);
    if (found === undefined) return 0;
    const missing = this.#missing!;
    const end = firstPair(found.pairs, found.row + 1);
    const start = firstPair(found.pairs, found.row);
    for (let pair = start; pair < end; pair++) {
      if (found.pairs.values[2 * pair + 1] === 0) continue;
      const term = this.#index.terms.find(found.pairs.terms[2 * pair]!);
      missing[term] = missing[term]! - step;
    }
    return 4 * (end - start);
  }
}

/** The same for rows without an index, by looking at each. @param visible null: all */
export async function countRows(
  { pairs, rowCount }: { pairs: SparsePairs; rowCount: number },
  terms: Uint32Array,
  visible: Bitset | null,
  sum: TermStatistics,
  pace: Pace,
): Promise<void> {
  for (let row = 0; row < rowCount; row++) {
    if (visible !== null && ((visible[row >>> 5]! >>> (row & 31)) & 1) === 0) continue;
    const start = 2 * firstPair(pairs, row);
    const end = 2 * firstPair(pairs, row + 1);
    if (pace.isDue(8 + end - start)) await pace.turn();
    sum.rowCount++;
    sum.totalLength += Math.fround(rowLength(pairs, row));
    for (let i = 0, at = start; i < terms.length && at < end; ) {
      const term = pairs.terms[at]!;
      if (term < terms[i]!) at += 2;
      else if (term > terms[i]!) i = placeOf(terms, term, i + 1);
      else {
        if (pairs.values[at + 1] !== 0) sum.counts[i] = sum.counts[i]! + 1;
        at += 2;
        i++;
      }
    }
  }
}
