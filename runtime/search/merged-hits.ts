/** Merges the hits that several parts have for one query: best first, equal ones by ascending key. */
import type { SearchHits } from "../protocol/values.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { compareKeys, keyAt } from "../segment/keys.ts";

/** Nothing is copied: a heap of the parts by their next hits. Each part is in order itself. */
export class MergedHits {
  /** About the hit that `next` moved to. */
  part = -1;
  at = -1;
  key: PrimaryKey = 0;
  readonly #parts: readonly SearchHits[];
  readonly #sign: number;
  readonly #heap: number[] = [];
  /** For each part: its next hit. */
  readonly #at: Uint32Array;
  readonly #end: Uint32Array;
  readonly #distances: Float64Array;
  readonly #keys: PrimaryKey[];

  /** @param starts where the query's hits begin in each part */
  constructor(parts: readonly SearchHits[], starts: readonly number[], query: number, descending: boolean) {
    this.#parts = parts;
    this.#sign = descending ? -1 : 1;
    this.#at = Uint32Array.from(starts);
    this.#end = Uint32Array.from(parts, ({ counts }, part) => starts[part]! + counts[query]!);
    this.#distances = new Float64Array(parts.length);
    this.#keys = new Array<PrimaryKey>(parts.length).fill(0);
    for (let part = 0; part < parts.length; part++) {
      if (this.#at[part]! === this.#end[part]!) continue;
      this.#look(part);
      this.#heap.push(part);
    }
    for (let place = (this.#heap.length >>> 1) - 1; place >= 0; place--) this.#sink(place);
  }

  /** False when there are no more. */
  next(): boolean {
    const part = this.#heap[0];
    if (part === undefined) return false;
    this.part = part;
    this.at = this.#at[part]!;
    this.key = this.#keys[part]!;
    this.#at[part] = this.at + 1;
    if (this.at + 1 < this.#end[part]!) this.#look(part);
    else {
      const last = this.#heap.pop()!;
      if (this.#heap.length === 0) return true;
      this.#heap[0] = last;
    }
    this.#sink(0);
    return true;
  }

  #look(part: number): void {
    const { distances, keys } = this.#parts[part]!;
    this.#distances[part] = this.#sign * distances[this.#at[part]!]!;
    this.#keys[part] = keyAt(keys, this.#at[part]!);
  }

  #sink(place: number): void {
    const heap = this.#heap;
    const part = heap[place]!;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#isBefore(heap[child]!, part)) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = part;
  }

  #isBefore(a: number, b: number): boolean {
    const order = this.#distances[a]! - this.#distances[b]! || compareKeys(this.#keys[a]!, this.#keys[b]!);
    // The choice between equal hits of two parts is always the same.
    return order < 0 || (order === 0 && a < b);
  }
}
