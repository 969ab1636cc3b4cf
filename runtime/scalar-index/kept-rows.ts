/**
 * Keeps which rows of a whole segment the newest filters leave, for reads that see all of it: applications repeat the same
 * filters. Without a filter: the rows that are not deleted.
 *
 * Invariants
 *   K1. What is kept is true for the segment's present chunks and deletes: all of it goes when either changes.
 *   K2. It takes at most ROW_BYTES_MAX a row, and no more than there was room for.
 */
import type { Bitset } from "../segment/bitset.ts";
import type { Chunk, Segment } from "../segment/segment.ts";
import type { MayTake } from "./segment-cache.ts";

/** Rows of a segment that a read may find. */
export interface AllowedRows {
  /** Shared: not to be changed. */
  readonly bits: Bitset;
  /** Bits set. */
  readonly count: number;
}

/** 128 filters at one bit per row, less their overhead. */
const ROW_BYTES_MAX = 16;

/** The overhead of a kept filter: objects, and an entry of a map. */
const ENTRY_BYTES = 128;

/** Room is requested in pieces of this size, because a request looks at everything loaded. */
const PIECE_BYTES = 4_096;

/** After a refusal, this many filters are answered before room is requested again. */
const PATIENCE = 256;

/** The state of a segment that rows were found in. */
export interface SegmentState {
  readonly chunks: readonly Chunk[];
  readonly deletesVersion: number;
}

export function stateOf({ chunks, deletesVersion }: Segment): SegmentState {
  return { chunks, deletesVersion };
}

export class KeptRows {
  readonly #mayTake: MayTake | null;
  #state: SegmentState | undefined;
  /** By filter, the newest last; null: all rows. */
  readonly #rows = new Map<string, AllowedRows | null>();
  #bytes = 0;
  /** Bytes granted so far; those of replaced or outdated entries are used again. */
  #bytesTaken = 0;
  #refusals = 0;

  /** @param mayTake null: the segment grows, nothing is kept */
  constructor(mayTake: MayTake | null) {
    this.#mayTake = mayTake;
  }

  /** Bytes taken until it is cleared, some of them perhaps unused. */
  get bytes(): number {
    return this.#bytesTaken;
  }

  /** Undefined: not known. */
  find(segment: Segment, filter: string): AllowedRows | null | undefined {
    if (this.#mayTake === null || !this.#isOf(stateOf(segment))) return undefined;
    const rows = this.#rows.get(filter);
    if (rows === undefined) return undefined;
    // Moved to the end: a Map's first key is then the one requested longest ago.
    this.#rows.delete(filter);
    this.#rows.set(filter, rows);
    return rows;
  }

  /** @param state the segment's state before the rows were found: if it has changed since, they are not kept */
  keep(segment: Segment, state: SegmentState, filter: string, rows: AllowedRows | null): void {
    const now = stateOf(segment);
    if (this.#mayTake === null || !isSame(now, state)) return;
    if (!this.#isOf(now)) this.#forgetRows();
    this.#state = now;
    this.#drop(filter);
    const bytes = bytesOf(filter, rows);
    while (this.#bytes + bytes > this.#bytesTaken && !this.#take(segment, bytes)) {
      const oldest = this.#rows.keys().next();
      if (oldest.done === true) return;
      this.#drop(oldest.value);
    }
    this.#rows.set(filter, rows);
    this.#bytes += bytes;
  }

  clear(): void {
    this.#forgetRows();
    this.#bytesTaken = 0;
    this.#refusals = 0;
  }

  #isOf(state: SegmentState): boolean {
    return this.#state !== undefined && isSame(this.#state, state);
  }

  /** Makes room for that many bytes beside those that are kept. */
  #take(segment: Segment, bytes: number): boolean {
    const wanted = this.#bytes + bytes;
    const most = ROW_BYTES_MAX * segment.rowCount;
    if (wanted > most) return false;
    if (this.#refusals > 0 && this.#refusals++ <= PATIENCE) return false;
    const taken = Math.min(most, Math.ceil(wanted / PIECE_BYTES) * PIECE_BYTES);
    this.#refusals = this.#mayTake!(taken - this.#bytesTaken) ? 0 : 1;
    if (this.#refusals === 0) this.#bytesTaken = taken;
    return this.#refusals === 0;
  }

  #drop(filter: string): void {
    const rows = this.#rows.get(filter);
    if (rows === undefined) return;
    this.#rows.delete(filter);
    this.#bytes -= bytesOf(filter, rows);
  }

  #forgetRows(): void {
    this.#rows.clear();
    this.#bytes = 0;
    this.#state = undefined;
  }
}

function isSame(a: SegmentState, b: SegmentState): boolean {
  return a.chunks === b.chunks && a.deletesVersion === b.deletesVersion;
}

function bytesOf(filter: string, rows: AllowedRows | null): number {
  return ENTRY_BYTES + filter.length + (rows === null ? 0 : rows.bits.byteLength);
}
