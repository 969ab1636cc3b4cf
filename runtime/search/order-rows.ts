/**
 * Orders of rows, and the first rows of an order: by the values asked for, then by primary key, then the newest first.
 * Rows come chunk by chunk; once there are as many as wanted, nearly all of the next chunk's are passed over by one comparison.
 */
import type { Clock } from "../clock.ts";
import type { RowOrder, RowValue } from "../protocol/values.ts";
import type { ColumnBatch } from "../segment/column.ts";
import { compareKeyRows, type KeyColumn } from "../segment/keys.ts";
import { takeTurn } from "../turns.ts";
import { compareValues, valueReader } from "./row-values.ts";

/** Rows that are in order among each other, and can be compared with those of other sources. */
export interface RowSource {
  /** Where a row's key is: compared in place, since making it costs more than all else. */
  keysOf(row: number): KeyColumn;
  keyRowOf(row: number): number;
  timestampOf(row: number): bigint;
  /** By place in the order. */
  readonly values: readonly ((row: number) => RowValue)[];
}

export function rowSource(keys: KeyColumn, timestamps: BigInt64Array, batch: ColumnBatch, order: RowOrder): RowSource {
  return {
    keysOf: () => keys,
    keyRowOf: (row) => row,
    timestampOf: (row) => timestamps[row]!,
    values: order.map((ref) => valueReader(batch, ref)),
  };
}

/** Below 0: row i of source a comes first. */
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

/** Merging takes about a microsecond a row: so many between two turns. */
const MERGE_ROWS = 4096;

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
    if (rows.length === 0) continue;
    await takeTurn(clock);
    const worst = limit !== null && best.length === limit ? best[limit - 1]! : undefined;
    const run = (worst === undefined ? rows.slice() : rows.filter((row) => compare(row, worst) < 0)).sort(compare);
    if (limit === null) runs.push(run);
    else best = (await merged(best, run, compare, clock)).subarray(0, limit);
  }
  while (runs.length > 1) runs.push(await merged(runs.shift()!, runs.shift()!, compare, clock));
  return runs[0] ?? best;
}

async function merged(
  a: Uint32Array,
  b: Uint32Array,
  compare: (a: number, b: number) => number,
  clock: Clock,
): Promise<Uint32Array> {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const rows = new Uint32Array(a.length + b.length);
  for (let n = 0, i = 0, j = 0; n < rows.length; n++) {
    if (n % MERGE_ROWS === 0) await takeTurn(clock);
    rows[n] = j >= b.length || (i < a.length && compare(a[i]!, b[j]!) <= 0) ? a[i++]! : b[j++]!;
  }
  return rows;
}
