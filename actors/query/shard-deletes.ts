/**
 * Every delete of one shard since its segments were written, applied to those of its segments that are here.
 *
 * A delete that arrives is looked up in each segment. A segment that joins is the other way round: each of its rows is
 * looked up among the deletes, so that joining costs the segment's rows, however many deletes there have been.
 */
import type { Clock } from "../../runtime/clock.ts";
import type { PrimaryKey } from "../../runtime/segment/column.ts";
import { type KeyColumn, keyAt } from "../../runtime/segment/keys.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import { takeTurn } from "../../runtime/turns.ts";

/** Look-ups between two looks at the time: some tenths of a millisecond. */
const PIECE_ROWS = 256;

export interface Deletes {
  keys: KeyColumn;
  timestamps: BigInt64Array;
}

export class ShardDeletes {
  readonly collectionId: number;
  readonly vchannel: string;
  readonly segments = new Set<Segment>();
  readonly #clock: Clock;
  /** When each key was deleted, ascending. */
  readonly #byKey = new Map<PrimaryKey, bigint[]>();

  constructor(shard: { collectionId: number; vchannel: string }, clock: Clock) {
    this.collectionId = shard.collectionId;
    this.vchannel = shard.vchannel;
    this.#clock = clock;
  }

  /** Resolves when the segments that are here have them. Order does not matter. */
  async add({ keys, timestamps }: Deletes): Promise<void> {
    for (let row = 0; row < timestamps.length; row++) {
      if (row % PIECE_ROWS === 0) await takeTurn(this.#clock);
      this.#keep(keyAt(keys, row), timestamps[row]!);
      for (const segment of this.segments) segment.delete(keys, row, timestamps[row]!);
    }
  }

  /** Resolves when the segment has every delete so far; it gets all later ones. */
  async addSegment(segment: Segment): Promise<void> {
    // First of all, so that what arrives while its rows are looked up reaches it by itself.
    this.segments.add(segment);
    if (this.#byKey.size === 0) return;
    for (const { batch, firstRow, timestamps } of segment.chunks) {
      const keys = batch.columns[segment.keyFieldId] as KeyColumn;
      for (let row = 0; row < batch.rowCount; row++) {
        if (row % PIECE_ROWS === 0) await takeTurn(this.#clock);
        const ts = firstAfter(this.#byKey.get(keyAt(keys, row)), timestamps[row]!);
        if (ts !== undefined) segment.deleteRow(firstRow + row, ts);
      }
    }
  }

  #keep(key: PrimaryKey, ts: bigint): void {
    const known = this.#byKey.get(key);
    if (known === undefined) {
      this.#byKey.set(key, [ts]);
      return;
    }
    // Mostly the newest so far; what is caught up with comes late, and may come twice.
    let at = known.length;
    while (at > 0 && known[at - 1]! > ts) at--;
    if (known[at - 1] !== ts) known.splice(at, 0, ts);
  }
}

/** The first of ascending timestamps that is greater than ts. */
function firstAfter(timestamps: readonly bigint[] | undefined, ts: bigint): bigint | undefined {
  if (timestamps === undefined) return undefined;
  let low = 0;
  let high = timestamps.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (timestamps[middle]! > ts) high = middle;
    else low = middle + 1;
  }
  return timestamps[low];
}
