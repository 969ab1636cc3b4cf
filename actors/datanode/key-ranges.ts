/**
 * Ranges of a field's values with about as many rows each: found from a sample of the rows, then used to split rows. A
 * range begins at its boundary and ends before the next one. The first begins with rows that have no value (null, or
 * not a number), which order below every value. Numbers order as numbers, texts by their UTF-8 bytes.
 */
import { hasBit } from "../../runtime/segment/bitset.ts";
import type { BytesColumn, Int64Column, NumberColumn } from "../../runtime/segment/column.ts";
import { mix32 } from "../../runtime/segment/keys.ts";

/** Numbers of Int64 are bigints, texts the first bytes of their UTF-8. */
export type Boundary = number | bigint | Uint8Array;

export type ClusteringColumn = NumberColumn | Int64Column | BytesColumn;

/** About half of it at least is kept: a range of 16 is some hundredths too large or small. Sorted at once. */
const SAMPLE_MAX = 8192;

/** Texts that are the same so far are of one range. */
const BOUNDARY_BYTES_MAX = 256;

/**
 * Rows are drawn by lot, by their place among all that it is shown: every n-th would be of one value where values come by
 * turns. Those with a lot below a limit are taken; it is halved when there are too many.
 */
export class KeySample {
  #taken: { lot: number; value: Boundary | null }[] = [];
  #limit = 2 ** 32;
  #seen = 0;

  /** @param column undefined: no row has a value */
  add(column: ClusteringColumn | undefined, rows: Uint32Array): void {
    for (const row of rows) {
      const lot = lotOf(this.#seen++);
      if (lot >= this.#limit) continue;
      this.#taken.push({ lot, value: column === undefined ? null : copied(cellOf(column, row)) });
      if (this.#taken.length < SAMPLE_MAX) continue;
      this.#limit /= 2;
      this.#taken = this.#taken.filter((taken) => taken.lot < this.#limit);
    }
  }

  /**
   * Ascending boundaries of at most `count` ranges, or of a few more: a value that fills ranges alone has one of its own,
   * however many rows that is.
   */
  boundaries(count: number): Boundary[] {
    const sorted = this.#taken.map(({ value }) => value).sort(compare);
    const found: Boundary[] = [];
    let before = sorted[0];
    for (let i = 1; i < count && sorted.length > 0; i++) {
      const candidate = sorted[Math.floor((i * sorted.length) / count)]!;
      const isRepeated = compare(candidate, before!) === 0;
      before = candidate;
      const boundary = isRepeated ? sorted.find((value) => compare(value, candidate) > 0) : candidate;
      if (boundary === undefined || boundary === null) continue;
      if (found.length === 0 || compare(boundary, found.at(-1)!) > 0) found.push(boundary);
    }
    return found;
  }
}

/** The rows of each range, in their order: one list more than there are boundaries. */
export function splitRows(
  column: ClusteringColumn | undefined,
  rows: Uint32Array,
  boundaries: readonly Boundary[],
): Uint32Array[] {
  const ranges = new Uint32Array(rows.length);
  const counts = new Uint32Array(boundaries.length + 1);
  for (let i = 0; i < rows.length; i++) {
    const range = column === undefined ? 0 : rangeOf(cellOf(column, rows[i]!), boundaries);
    ranges[i] = range;
    counts[range]!++;
  }
  const lists = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  for (let i = 0; i < rows.length; i++) {
    const range = ranges[i]!;
    lists[range]![counts[range]!++] = rows[i]!;
  }
  return lists;
}

/** How many boundaries are not above the value. */
function rangeOf(value: Boundary | null, boundaries: readonly Boundary[]): number {
  if (value === null) return 0;
  let low = 0;
  let high = boundaries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(boundaries[middle]!, value) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Of texts a view. */
function cellOf(column: ClusteringColumn, row: number): Boundary | null {
  if (column.valid !== undefined && !hasBit(column.valid, row)) return null;
  if ("offsets" in column) return column.bytes.subarray(column.offsets[row]!, column.offsets[row + 1]!);
  const value = column.values[row]!;
  return Number.isNaN(value) ? null : value;
}

/** Uniform in 32 bits. */
function lotOf(place: number): number {
  return mix32(Math.imul(place, 0x9e3779b1));
}

function copied(value: Boundary | null): Boundary | null {
  return value instanceof Uint8Array ? value.slice(0, BOUNDARY_BYTES_MAX) : value;
}

function compare(a: Boundary | null, b: Boundary | null): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
  if (a instanceof Uint8Array) return Buffer.compare(a, b as Uint8Array);
  return a < (b as number) ? -1 : a > (b as number) ? 1 : 0;
}
