/**
 * Ranges of a field's values, so that each has about as many rows as the others: found from a sample of the rows, and rows
 * split by them. A range begins at its boundary and ends before the next one; the first begins with what has no value
 * (null, or no number), which orders below every value. Numbers order as numbers, texts by their UTF-8 bytes.
 */
import { hasBit } from "../../runtime/segment/bitset.ts";
import type { BytesColumn, Int64Column, NumberColumn } from "../../runtime/segment/column.ts";

/** Numbers of Int64 are bigints, texts the first bytes of their UTF-8. */
export type Boundary = number | bigint | Uint8Array;

export type ClusteringColumn = NumberColumn | Int64Column | BytesColumn;

/** Half of it at least is kept, evenly spread: a range of 16 is some hundredths too large or small. Sorted at once. */
const SAMPLE_MAX = 8192;

/** Texts that are the same so far are of one range. */
const BOUNDARY_BYTES_MAX = 256;

/** Every n-th of the rows that it is shown; n doubles when there are too many. */
export class KeySample {
  #values: (Boundary | null)[] = [];
  #stride = 1;
  /** Rows to pass over before the next one is taken. */
  #skip = 0;

  /** @param column undefined: no row has a value */
  add(column: ClusteringColumn | undefined, rows: Uint32Array): void {
    let at = this.#skip;
    for (; at < rows.length; at += this.#stride) {
      this.#values.push(column === undefined ? null : copied(cellOf(column, rows[at]!)));
      if (this.#values.length === SAMPLE_MAX) {
        this.#values = this.#values.filter((_, i) => i % 2 === 0);
        // The last one that was taken is not among those that are kept.
        at -= this.#stride;
        this.#stride *= 2;
      }
    }
    this.#skip = at - rows.length;
  }

  /**
   * Ascending boundaries of at most `count` ranges, or of a few more: a value that fills ranges alone has one of its own,
   * however many rows that is.
   */
  boundaries(count: number): Boundary[] {
    const sorted = [...this.#values].sort(compare);
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

function copied(value: Boundary | null): Boundary | null {
  return value instanceof Uint8Array ? value.slice(0, BOUNDARY_BYTES_MAX) : value;
}

function compare(a: Boundary | null, b: Boundary | null): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
  if (a instanceof Uint8Array) return Buffer.compare(a, b as Uint8Array);
  return a < (b as number) ? -1 : a > (b as number) ? 1 : 0;
}
