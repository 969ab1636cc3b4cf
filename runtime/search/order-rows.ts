/**
 * Orders rows and finds the first: by the requested values, then by primary key, then newest first. Rows come chunk by chunk;
 * once there are enough, one comparison excludes nearly every row of the next chunks.
 */
import type { Clock } from "../clock.ts";
import type { RowOrder, RowValue } from "../protocol/values.ts";
import type { ColumnBatch } from "../segment/column.ts";
import { compareKeyRows, type KeyColumn } from "../segment/keys.ts";
import { takeTurn } from "../turns.ts";
import { compareValues, rememberLast, valueReader } from "./row-values.ts";

/** Sorted rows that can be compared with those of other sources. */
export interface RowSource {
  /** The position of a row's key: compared in place, since decoding it costs more than everything else. */
  keysOf(row: number): KeyColumn;
  keyRowOf(row: number): number;
  timestampOf(row: number): bigint;
  /** Indexed by the position in the order. */
  readonly values: readonly ((row: number) => RowValue)[];
}

export function rowSource(keys: KeyColumn, timestamps: BigInt64Array, batch: ColumnBatch, order: RowOrder): RowSource {
  return {
    keysOf: () => keys,
    keyRowOf: (row) => row,
    timestampOf: (row) => timestamps[row]!,
    values: order.map((ref) => rememberLast(valueReader(batch, ref))),
  };
}

/** Negative: row i of source a comes first. */
export function compareRows(order: RowOrder, a: RowSource, i: number, b: RowSource, j: number): number {
  for (let k = 0; k < order.length; k++) {
    const compared = compareValues(a.values[k]!(i), b.values[k]!(j), order[k]!.isDescending);
    if (compared !== 0) return compared;
  }
  const compared = compareKeyRows(a.keysOf(i), a.keyRowOf(i), b.keysOf(j), b.keyRowOf(j));
  if (compared !== 0) return compared;
  const tsA = a.timestampOf(i);
  const tsB = b.timestampOf(j);
  return tsA > tsB ? -1 : tsA < tsB ? 1 : 0;
}

/** Rows between two turns: comparing takes up to a microsecond for each field of the order. */
const SLICE_ROWS = 512;

/** Each row may need its document parsed, which takes up to half a millisecond. */
const READ_ROWS = 16;

/**
 * Row numbers of the first `limit` rows (null: all), in order.
 * @param chunks rows of each chunk, in any order
 */
export async function firstRows(
  chunks: readonly Uint32Array[],
  compare: (a: number, b: number) => number,
  limit: number | null,
  clock: Clock,
): Promise<Uint32Array> {
  const runs: Uint32Array[] = [];
  let best: Uint32Array = new Uint32Array(0);
  for (const rows of chunks) {
    const worst = limit !== null && best.length === limit ? best[limit - 1]! : undefined;
    const slices: Uint32Array[] = [];
    for (let start = 0; start < rows.length; start += SLICE_ROWS) {
      const slice = await rowsBefore(rows.subarray(start, start + SLICE_ROWS), worst, compare, clock);
      await takeTurn(clock);
      if (slice.length > 0) slices.push(slice.sort(compare));
    }
    const run = await mergedAll(slices, compare, limit, clock);
    if (limit === null) runs.push(run);
    else best = await merged(best, run, compare, limit, clock);
  }
  return limit === null ? mergedAll(runs, compare, null, clock) : best;
}

/** Rows that come before a given one; undefined: all. Each is compared, so that its values are known when the rows are sorted. */
async function rowsBefore(
  rows: Uint32Array,
  worst: number | undefined,
  compare: (a: number, b: number) => number,
  clock: Clock,
): Promise<Uint32Array> {
  const before = new Uint32Array(rows.length);
  let count = 0;
  for (let i = 0; i < rows.length; i++) {
    if (i % READ_ROWS === 0) await takeTurn(clock);
    const row = rows[i]!;
    const compared = compare(row, worst ?? row);
    if (worst === undefined || compared < 0) before[count++] = row;
  }
  return before.subarray(0, count);
}

async function mergedAll(
  runs: Uint32Array[],
  compare: (a: number, b: number) => number,
  limit: number | null,
  clock: Clock,
): Promise<Uint32Array> {
  while (runs.length > 1) runs.push(await merged(runs.shift()!, runs.shift()!, compare, limit, clock));
  return runs[0] ?? new Uint32Array(0);
}

async function merged(
  a: Uint32Array,
  b: Uint32Array,
  compare: (a: number, b: number) => number,
  limit: number | null,
  clock: Clock,
): Promise<Uint32Array> {
  const wanted = Math.min(a.length + b.length, limit ?? Number.POSITIVE_INFINITY);
  if (a.length === 0) return b.subarray(0, wanted);
  if (b.length === 0) return a.subarray(0, wanted);
  const rows = new Uint32Array(wanted);
  for (let n = 0, i = 0, j = 0; n < wanted; n++) {
    if (n % SLICE_ROWS === 0) await takeTurn(clock);
    rows[n] = j >= b.length || (i < a.length && compare(a[i]!, b[j]!) <= 0) ? a[i++]! : b[j++]!;
  }
  return rows;
}
