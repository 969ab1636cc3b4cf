/**
 * Which rows of a whole segment the newest filters leave, as reads that see all of it ask for them: applications ask the
 * same filters over and over. Without a filter: the rows that are not deleted.
 *
 * Invariants
 *   K1. What is kept is true of the segment's chunks and deletes as they are: all of it goes when either changes.
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

/** 128 filters at a bit a row, less what they are kept by. */
const ROW_BYTES_MAX = 16;

/** What a filter and its rows are kept by: objects, and an entry of a map. */
const ENTRY_BYTES = 128;

/** Room is asked for in pieces: to ask is to look at all that is loaded. */
const PIECE_BYTES = 4_096;

/** When there was no room, so many more filters are answered before it is asked for again. */
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
  /** Bytes that there was room for: those of what is replaced, or no longer true, are used again. */
  #bytesTaken = 0;
  #refusals = 0;

  /** @param mayTake null: of a segment that grows, nothing is kept */
  constructor(mayTake: MayTake | null) {
    this.#mayTake = mayTake;
  }

  /** Taken, until it is cleared: as many or fewer are in use. */
  get bytes(): number {
    return this.#bytesTaken;
  }

  /** Undefined: not known. */
  find(segment: Segment, filter: string): AllowedRows | null | undefined {
    if (this.#mayTake === null || !this.#isOf(stateOf(segment))) return undefined;
    const rows = this.#rows.get(filter);
    if (rows === undefined) return undefined;
    // Put last: a Map's first key is the one that was not asked for longest.
    this.#rows.delete(filter);
    this.#rows.set(filter, rows);
    return rows;
  }

  /** @param state of the segment before the rows were found: they are not kept when it has changed meanwhile */
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

  /** Room for so many bytes beside those that are kept. */
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
