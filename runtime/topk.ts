/**
 * The best k (distance, row) pairs of one query, in typed arrays: a binary heap with the worst on top, so that a
 * candidate that cannot enter costs one comparison.
 *
 * Distances are float32, as engines report them and as they travel. Equal distances: the smaller row is better, so a
 * result does not depend on the order in which rows were seen.
 */
export interface TopRows {
  /** Best first. */
  rows: Int32Array;
  distances: Float32Array;
}

export class TopK {
  readonly k: number;
  /** True where the greater distance is the better (IP, COSINE). */
  readonly descending: boolean;
  /** Keys order distances with the smaller first in either direction. */
  readonly #keys: Float32Array;
  readonly #rows: Int32Array;
  #size = 0;

  constructor(k: number, descending: boolean) {
    this.k = k;
    this.descending = descending;
    this.#keys = new Float32Array(k);
    this.#rows = new Int32Array(k);
  }

  get size(): number {
    return this.#size;
  }

  /** The distance to beat: of the worst row kept, or the worst there is while fewer than k rows are kept. */
  worst(): number {
    if (this.#size < this.k) return this.descending ? -Infinity : Infinity;
    const key = this.k === 0 ? -Infinity : this.#keys[0]!;
    return this.descending ? -key : key;
  }

  /** Offers a row; NaN (an overflow) counts as the worst distance there is. */
  push(distance: number, row: number): void {
    let key = Math.fround(this.descending ? -distance : distance);
    if (Number.isNaN(key)) key = Infinity;
    if (this.#size < this.k) {
      this.#siftUp(this.#size++, key, row);
    } else if (this.k > 0 && (key < this.#keys[0]! || (key === this.#keys[0]! && row < this.#rows[0]!))) {
      this.#siftDown(this.#size, key, row);
    }
  }

  /** Takes everything out, best first; the structure is empty afterwards. */
  drain(): TopRows {
    const count = this.#size;
    const rows = new Int32Array(count);
    const distances = new Float32Array(count);
    for (let i = count - 1; i >= 0; i--) {
      rows[i] = this.#rows[0]!;
      // Subtraction rather than negation: a distance of zero is 0, never -0.
      distances[i] = this.descending ? 0 - this.#keys[0]! : this.#keys[0]!;
      this.#siftDown(i, this.#keys[i]!, this.#rows[i]!);
    }
    this.#size = 0;
    return { rows, distances };
  }

  /** Places a pair at a leaf and lifts it over better parents. */
  #siftUp(leaf: number, key: number, row: number): void {
    const keys = this.#keys;
    const rows = this.#rows;
    let i = leaf;
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      if (!isWorse(key, row, keys[parent]!, rows[parent]!)) break;
      keys[i] = keys[parent]!;
      rows[i] = rows[parent]!;
      i = parent;
    }
    keys[i] = key;
    rows[i] = row;
  }

  /** Replaces the top by a pair, within the first `size` places. */
  #siftDown(size: number, key: number, row: number): void {
    const keys = this.#keys;
    const rows = this.#rows;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      const right = child + 1;
      if (right < size && isWorse(keys[right]!, rows[right]!, keys[child]!, rows[child]!)) child = right;
      if (!isWorse(keys[child]!, rows[child]!, key, row)) break;
      keys[i] = keys[child]!;
      rows[i] = rows[child]!;
      i = child;
    }
    if (size > 0) {
      keys[i] = key;
      rows[i] = row;
    }
  }
}

function isWorse(keyA: number, rowA: number, keyB: number, rowB: number): boolean {
  return keyA > keyB || (keyA === keyB && rowA > rowB);
}
