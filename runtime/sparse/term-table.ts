/** Maps terms to dense numbers, in the order in which they came: open addressing in typed arrays. */
import type { Pace } from "./pace.ts";

const CAPACITY_MIN = 1024;

/** Slots rehashed between two looks at the clock. */
const REHASH_PIECE = 16_384;

export class TermTable {
  #size = 0;
  #mask = CAPACITY_MIN - 1;
  #terms = new Uint32Array(CAPACITY_MIN);
  /** Number + 1; 0: the slot is free. */
  #numbers = new Uint32Array(CAPACITY_MIN);

  get size(): number {
    return this.#size;
  }

  get memoryBytes(): number {
    return this.#terms.byteLength + this.#numbers.byteLength;
  }

  /** Whether that many more terms may be added. */
  hasRoom(count: number): boolean {
    return (this.#size + count) * 1.5 <= this.#terms.length;
  }

  async reserve(count: number, pace: Pace): Promise<void> {
    const needed = (this.#size + count) * 1.5;
    let capacity = this.#terms.length;
    while (capacity < needed) capacity *= 2;
    const [terms, numbers] = [this.#terms, this.#numbers];
    this.#terms = new Uint32Array(capacity);
    this.#numbers = new Uint32Array(capacity);
    this.#mask = capacity - 1;
    for (let slot = 0; slot < terms.length; slot++) {
      if (slot % REHASH_PIECE === 0 && pace.isDue(REHASH_PIECE)) await pace.turn();
      if (numbers[slot] === 0) continue;
      const to = this.#slotOf(terms[slot]!);
      this.#terms[to] = terms[slot]!;
      this.#numbers[to] = numbers[slot]!;
    }
  }

  /** The term's number; a new one if it is new. */
  add(term: number): number {
    const slot = this.#slotOf(term);
    if (this.#numbers[slot] === 0) {
      this.#terms[slot] = term;
      this.#numbers[slot] = ++this.#size;
    }
    return this.#numbers[slot]! - 1;
  }

  /** -1: not here. */
  find(term: number): number {
    return this.#numbers[this.#slotOf(term)]! - 1;
  }

  #slotOf(term: number): number {
    const terms = this.#terms;
    const numbers = this.#numbers;
    const mask = this.#mask;
    // Every bit of a term counts: ids may be small and dense, hashes, or multiples of a large power of two.
    let hash = Math.imul(term ^ (term >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    let slot = (hash ^ (hash >>> 16)) & mask;
    while (numbers[slot] !== 0 && terms[slot] !== term) slot = (slot + 1) & mask;
    return slot;
  }
}
