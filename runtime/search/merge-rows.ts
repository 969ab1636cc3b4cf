/**
 * Merges the rows found by queries without a vector, each part in the requested order and at most `limit` rows. Ordered by key,
 * one row per key stays (the newest). In another order a key's rows may be far apart, and a part cut off at its limit may lack
 * the newest: then all stay, for newest-in-order.ts. The same step runs at the query node, the delegator and the proxy.
 */
import type { Clock } from "../clock.ts";
import type { FoundRows, KeyColumn, RowOrder } from "../protocol/values.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { gatherColumn, gatherRows, type RowPick } from "../segment/gather.ts";
import { keyAt } from "../segment/keys.ts";
import { takeTurn } from "../turns.ts";
import { compareRows, rowSource } from "./order-rows.ts";

/** Rows between two turns: a row takes about a microsecond. */
const SLICE_ROWS = 1024;

type Part = Pick<FoundRows, "keys" | "timestamps" | "batch">;

export async function mergeRows(
  parts: readonly FoundRows[],
  { fieldIds, limit, order }: { fieldIds: readonly number[]; limit: number | null; order?: RowOrder | undefined },
  clock: Clock,
): Promise<FoundRows> {
  return gatherFound(parts, await pickNewest(parts, { limit, order }, clock), fieldIds);
}

/** The rows in the picked order. */
export function gatherFound(parts: readonly FoundRows[], pick: RowPick, fieldIds: readonly number[]): FoundRows {
  const timestamps = new BigInt64Array(pick.rows.length);
  for (let i = 0; i < timestamps.length; i++) timestamps[i] = parts[pick.sources[i]!]!.timestamps[pick.rows[i]!]!;
  const [first] = parts;
  if (first === undefined) throw new Error("nothing to merge");
  return {
    keys: gatherColumn(
      parts.map((part) => part.keys),
      first.keys,
      pick,
    ) as KeyColumn,
    timestamps,
    batch: gatherRows(
      parts.map((part) => part.batch),
      pick,
      fieldIds,
    ),
  };
}

/** The rows that stay, in order. */
export async function pickNewest(
  parts: readonly Part[],
  { limit, order = [] }: { limit: number | null; order?: RowOrder | undefined },
  clock: Clock,
): Promise<RowPick> {
  const sources = parts.map(({ keys, timestamps, batch }) => rowSource(keys, timestamps, batch, order));
  const heads = new Uint32Array(parts.length);
  const heap = new PartHeap((a, b) => compareRows(order, sources[a]!, heads[a]!, sources[b]!, heads[b]!));
  parts.forEach(({ timestamps }, p) => {
    if (timestamps.length > 0) heap.push(p);
  });
  const picked: { sources: number[]; rows: number[] } = { sources: [], rows: [] };
  let last: PrimaryKey | undefined;
  for (let n = 0; heap.first !== undefined && (limit === null || picked.rows.length < limit); n++) {
    if (n % SLICE_ROWS === 0) await takeTurn(clock);
    const p = heap.first;
    const row = heads[p]!;
    const key = keyAt(parts[p]!.keys, row);
    // Orders by key, and rows of one key by age, the newest first.
    if (order.length > 0 || key !== last) {
      picked.sources.push(p);
      picked.rows.push(row);
      last = key;
    }
    heads[p] = row + 1;
    if (row + 1 < parts[p]!.timestamps.length) heap.sink();
    else heap.pop();
  }
  return { sources: Uint32Array.from(picked.sources), rows: Uint32Array.from(picked.rows) };
}

/** Parts by their heads, the first on top. */
class PartHeap {
  readonly #compare: (a: number, b: number) => number;
  readonly #parts: number[] = [];

  constructor(compare: (a: number, b: number) => number) {
    this.#compare = compare;
  }

  get first(): number | undefined {
    return this.#parts[0];
  }

  push(part: number): void {
    const parts = this.#parts;
    let at = parts.push(part) - 1;
    for (; at > 0; at = (at - 1) >>> 1) {
      const parent = (at - 1) >>> 1;
      if (this.#compare(parts[parent]!, part) <= 0) break;
      parts[at] = parts[parent]!;
      parts[parent] = part;
    }
  }

  pop(): void {
    const last = this.#parts.pop()!;
    if (this.#parts.length === 0) return;
    this.#parts[0] = last;
    this.sink();
  }

  /** Restores the order after the first part's head has moved on. */
  sink(): void {
    const parts = this.#parts;
    const part = parts[0]!;
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child >= parts.length) return;
      if (child + 1 < parts.length && this.#compare(parts[child + 1]!, parts[child]!) < 0) child++;
      if (this.#compare(part, parts[child]!) <= 0) return;
      parts[at] = parts[child]!;
      parts[child] = part;
      at = child;
    }
  }
}
