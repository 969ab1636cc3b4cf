/**
 * Merges the live rows of some segments by time into chunks of new ones. Each input is read when its first row's turn
 * comes and let go after its last: segments that do not overlap in time are in memory one after the other.
 */
import type { Clock } from "../../runtime/clock.ts";
import { byTime } from "../../runtime/meta/manifest.ts";
import type { SegmentDoc } from "../../runtime/protocol/catalog.ts";
import type { CompactSegments } from "../../runtime/protocol/data.ts";
import type { CollectionSchema } from "../../runtime/schema.ts";
import type { StoredChunk } from "../../runtime/segment/arrow-file.ts";
import { bitsetRows } from "../../runtime/segment/bitset.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import type { DeletedKeys } from "../../runtime/segment/delete-files.ts";
import { gatherInTurns } from "../../runtime/segment/gather-in-turns.ts";
import { CHUNK_ROWS, type Chunk, rowsUpTo, type Segment } from "../../runtime/segment/segment.ts";
import { takeTurn } from "../../runtime/turns.ts";
import { applyDeltas, type JobTools, openSegment, requireRunning } from "./job-inputs.ts";

/** A read at the end of time: whatever is deleted at all is gone. */
const LATEST = 2n ** 63n - 1n;

/** What takes rows away that a segment's own deletes do not. */
export interface Gone {
  deltas?: readonly DeletedKeys[];
  expiry?: CompactSegments["expiry"];
}

/** Rows of one chunk of an input, in its order. */
export interface Piece {
  batch: ColumnBatch;
  rows: Uint32Array;
  timestamps: BigInt64Array;
}

/** An open input, and how far it is read. */
interface Cursor {
  segment: Segment;
  chunk: number;
  row: number;
  /** Live rows of the chunk, and how many of them are before `row`: inputs may take turns row by row. */
  live: Uint32Array | undefined;
  liveBefore: number;
}

export class Inputs {
  readonly #tools: JobTools;
  readonly #schema: CollectionSchema;
  readonly #expiry: CompactSegments["expiry"];
  readonly #deltas: readonly DeletedKeys[];
  /** Not open yet, in the order of their first rows. */
  readonly #waiting: SegmentDoc[];
  readonly #open: Cursor[] = [];
  /** The newest timestamp at which a row was taken away; 0: none was. */
  purgedTs = 0n;

  constructor(
    tools: JobTools,
    schema: CollectionSchema,
    segments: readonly SegmentDoc[],
    { deltas, expiry }: Gone = {},
  ) {
    this.#tools = tools;
    this.#schema = schema;
    this.#expiry = expiry;
    this.#deltas = deltas ?? [];
    this.#waiting = byTime(segments);
  }

  /** The live rows of all inputs, in the order of time. */
  async *pieces(): AsyncGenerator<Piece, void, undefined> {
    for (;;) {
      await this.#openDue();
      const cursor = this.#earliest();
      if (cursor === undefined) return;
      requireRunning(this.#tools);
      await takeTurn(this.#tools.clock);
      const piece = this.#take(cursor, this.#limit(cursor));
      if (piece.rows.length > 0) yield piece;
    }
  }

  /** Opens the inputs whose first row may come next. */
  async #openDue(): Promise<void> {
    for (let doc = this.#waiting[0]; doc !== undefined; doc = this.#waiting[0]) {
      const earliest = this.#earliest();
      if (earliest !== undefined && headTs(earliest) < doc.minTs) return;
      this.#waiting.shift();
      const segment = await openSegment(this.#tools, this.#schema, doc);
      await applyDeltas(this.#tools, segment, this.#deltas);
      this.#notePurge(segment);
      this.#open.push({ segment, chunk: 0, row: 0, live: undefined, liveBefore: 0 });
    }
  }

  #notePurge(segment: Segment): void {
    for (const ts of segment.deletedRows().timestamps) if (ts > this.purgedTs) this.purgedTs = ts;
    const expiry = this.#expiry;
    if (expiry !== undefined && segment.minTs < expiry.beforeTs && expiry.nowTs > this.purgedTs) {
      this.purgedTs = expiry.nowTs;
    }
  }

  #earliest(): Cursor | undefined {
    let earliest: Cursor | undefined;
    for (const cursor of this.#open) {
      if (earliest === undefined || headTs(cursor) < headTs(earliest)) earliest = cursor;
    }
    return earliest;
  }

  /** Up to which timestamp no other input comes first. */
  #limit(cursor: Cursor): bigint {
    let limit = this.#waiting[0]?.minTs ?? LATEST;
    for (const other of this.#open) if (other !== cursor && headTs(other) < limit) limit = headTs(other);
    return limit;
  }

  /** The cursor's rows up to the limit, of its present chunk. */
  #take(cursor: Cursor, limit: bigint): Piece {
    const { segment } = cursor;
    const chunk = segment.chunks[cursor.chunk]!;
    const end = rowsUpTo(chunk.timestamps, limit);
    cursor.live ??= this.#liveRows(segment, chunk);
    const { live, liveBefore } = cursor;
    let liveEnd = end === chunk.batch.rowCount ? live.length : liveBefore;
    while (liveEnd < live.length && live[liveEnd]! < end) liveEnd++;
    const rows = live.subarray(liveBefore, liveEnd);
    cursor.row = end;
    cursor.liveBefore = liveEnd;
    if (end === chunk.batch.rowCount) {
      cursor.chunk++;
      cursor.row = 0;
      cursor.live = undefined;
      cursor.liveBefore = 0;
      if (cursor.chunk === segment.chunks.length) this.#open.splice(this.#open.indexOf(cursor), 1);
    }
    return { batch: chunk.batch, rows, timestamps: chunk.timestamps };
  }

  #liveRows(segment: Segment, chunk: Chunk): Uint32Array {
    const visible = segment.visible(chunk, { readTs: LATEST, expiredTs: this.#expiry?.beforeTs });
    return visible === null ? Uint32Array.from({ length: chunk.batch.rowCount }, (_, row) => row) : bitsetRows(visible);
  }
}

function headTs({ segment, chunk, row }: Cursor): bigint {
  return segment.chunks[chunk]!.timestamps[row]!;
}

/** Joins pieces into chunks of CHUNK_ROWS rows; the last may have fewer. */
export async function* fullChunks(
  { clock }: JobTools,
  pieces: Iterable<Piece> | AsyncIterable<Piece>,
  fieldIds: readonly number[],
): AsyncGenerator<StoredChunk, void, undefined> {
  let pending: Piece[] = [];
  let count = 0;
  for await (let piece of pieces) {
    while (count + piece.rows.length >= CHUNK_ROWS) {
      const taken = CHUNK_ROWS - count;
      pending.push({ ...piece, rows: piece.rows.subarray(0, taken) });
      yield await joined(pending, fieldIds, clock);
      pending = [];
      count = 0;
      piece = { ...piece, rows: piece.rows.subarray(taken) };
    }
    if (piece.rows.length === 0) continue;
    pending.push(piece);
    count += piece.rows.length;
  }
  if (count > 0) yield await joined(pending, fieldIds, clock);
}

async function joined(pieces: readonly Piece[], fieldIds: readonly number[], clock: Clock): Promise<StoredChunk> {
  const count = pieces.reduce((sum, { rows }) => sum + rows.length, 0);
  const pick = { sources: new Uint32Array(count), rows: new Uint32Array(count) };
  const timestamps = new BigInt64Array(count);
  // Each once: pieces may be of one row, and of a few batches by turns.
  const sources = new Map<ColumnBatch, number>();
  let at = 0;
  for (const piece of pieces) {
    const source = sources.get(piece.batch) ?? sources.size;
    sources.set(piece.batch, source);
    pick.sources.fill(source, at, at + piece.rows.length);
    pick.rows.set(piece.rows, at);
    for (const row of piece.rows) timestamps[at++] = piece.timestamps[row]!;
  }
  return { batch: await gatherInTurns([...sources.keys()], pick, fieldIds, clock), timestamps };
}
