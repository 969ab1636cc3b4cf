/**
 * The deletes of one shard that some segment does not have among its own yet, applied to those of its segments that are
 * here. They are kept in memory for segments that join. What every segment has among its own by now is forgotten, so
 * the distribution of deletes (actors/datanode/distribute-deletes.ts) bounds how many there are.
 */
import type { Clock } from "../../runtime/clock.ts";
import { DeleteBuffer } from "../../runtime/segment/delete-buffer.ts";
import type { DeletedKeys } from "../../runtime/segment/delete-files.ts";
import { hashKey } from "../../runtime/segment/keys.ts";
import { applyDeletedKeys } from "../../runtime/segment/read-segment.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import { takeTurn } from "../../runtime/turns.ts";

/** Look-ups between two looks at the time: some tenths of a millisecond. */
const PIECE_LOOKUPS = 256;

/** A segment that follows its shard's deletes. */
export interface FollowingSegment {
  readonly segment: Segment;
  /** It has every delete up to this log sequence. */
  deletesSeq: number;
  /** Brings its own deletes to what the newest manifest says. @throws VdbError segment_not_loaded when none names it */
  refresh(): Promise<void>;
  /** Called when the segment cannot be given its deletes any more: it must not be read. */
  lost(): void;
}

export class ShardDeletes {
  readonly collectionId: number;
  readonly vchannel: string;
  readonly segments = new Map<Segment, FollowingSegment>();
  readonly #clock: Clock;
  readonly #kept = new DeleteBuffer();
  /** Deletes up to this log sequence may have been forgotten: a segment that joins must have them. */
  #forgottenSeq = 0;

  constructor(shard: { collectionId: number; vchannel: string }, clock: Clock) {
    this.collectionId = shard.collectionId;
    this.vchannel = shard.vchannel;
    this.#clock = clock;
  }

  get keptRows(): number {
    return this.#kept.rowCount;
  }

  get forgottenSeq(): number {
    return this.#forgottenSeq;
  }

  /** Resolves when the segments that are here have them. Order does not matter. */
  async add(deletes: DeletedKeys, throughSeq: number): Promise<void> {
    // Before anything is waited for: a segment that joins meanwhile finds them here.
    this.#kept.add(deletes, throughSeq);
    const { keys, timestamps } = deletes;
    let lookups = 0;
    for (let row = 0; row < timestamps.length; row++) {
      if (lookups >= PIECE_LOOKUPS || row === 0) {
        await takeTurn(this.#clock);
        lookups = 0;
      }
      const hash = hashKey(keys, row);
      for (const segment of this.segments.keys()) segment.delete(keys, row, timestamps[row]!, hash);
      lookups += Math.max(1, this.segments.size);
    }
  }

  /** Resolves when the segment has every delete so far; it gets all later ones. Its deletesSeq reaches forgottenSeq. */
  async addSegment(following: FollowingSegment): Promise<void> {
    if (following.deletesSeq < this.#forgottenSeq) throw new Error("the segment lacks deletes that are forgotten");
    // Registered first, so that it gets what arrives meanwhile.
    this.segments.set(following.segment, following);
    for (const part of this.#kept.parts()) await applyDeletedKeys(following.segment, part, this.#clock);
  }

  /** Forgets what every segment of the shard, here or not, has among its own deletes. To be told of every flush. */
  forget(throughSeq: number): void {
    // What one flush wrote goes together, some flushes later.
    this.#kept.seal();
    if (throughSeq <= this.#forgottenSeq) return;
    this.#forgottenSeq = throughSeq;
    this.#kept.dropThrough(throughSeq);
  }
}
