/**
 * Merge compaction: the live rows of some segments of one partition, as new segments. What is deleted by the manifest
 * that the job was made from, or has outlived its time, is left out.
 *
 * Rows keep their timestamps and come in the order of time, as in every segment: inputs are merged by it, each read when
 * its first row's turn comes and let go after its last. Segments that do not overlap in time (most do not) are in memory
 * one after the other, beside one chunk of the output.
 *
 * Of several live rows of one key all stay: inserts do not check keys, and only a delete or an upsert takes a row away.
 */
import type { Clock } from "../../runtime/clock.ts";
import type { SegmentDoc } from "../../runtime/protocol/catalog.ts";
import type { CompactSegments, compactSegments } from "../../runtime/protocol/data.ts";
import { BoundsCollector } from "../../runtime/scalar-index/segment-bounds.ts";
import type { CollectionSchema } from "../../runtime/schema.ts";
import { type StoredChunk, writeSegmentFile } from "../../runtime/segment/arrow-file.ts";
import { bitsetRows } from "../../runtime/segment/bitset.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import type { DeletedKeys } from "../../runtime/segment/delete-files.ts";
import { gatherInTurns } from "../../runtime/segment/gather-in-turns.ts";
import { CHUNK_ROWS, rowsUpTo, type Segment } from "../../runtime/segment/segment.ts";
import { takeTurn } from "../../runtime/turns.ts";
import { applyDeltas, type JobTools, openSegment, readDeltas, requireRunning } from "./job-inputs.ts";

type Compacted = (typeof compactSegments.reply)["_output"];

/** A read at the end of time: whatever is deleted at all is gone. */
const LATEST = 2n ** 63n - 1n;

export async function compactShardSegments(
  tools: JobTools,
  schema: CollectionSchema,
  job: CompactSegments,
): Promise<Compacted> {
  const { clock, blobs, random } = tools;
  const began = clock.monotonic();
  const inputs = new Inputs(tools, schema, job, await readDeltas(tools, job.deltas));
  const fieldIds = schema.fields.map(({ fieldId }) => fieldId);
  const chunks = fullChunks(tools, inputs.pieces(), fieldIds);
  const segments: SegmentDoc[] = [];
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    const segmentId = random.ulid();
    const written = { rowCount: 0, minTs: next.value.timestamps[0]!, maxTs: 0n };
    let bytes = 0;
    const bounds = new BoundsCollector(schema.fields);
    const first = next.value;
    const file = async function* () {
      for (let chunk: StoredChunk | undefined = first; chunk !== undefined; ) {
        written.rowCount += chunk.batch.rowCount;
        written.maxTs = chunk.timestamps.at(-1)!;
        bounds.add(chunk.batch);
        yield chunk;
        // The next one is not asked for when it belongs to the next segment.
        if (bytes >= job.targetBytes) return;
        const more: IteratorResult<StoredChunk> = await chunks.next();
        chunk = more.done ? undefined : more.value;
      }
    };
    const counted = async function* () {
      for await (const part of writeSegmentFile(schema.fields, file(), clock)) {
        bytes += part.length;
        yield part;
      }
    };
    const name = `compacted/${job.vchannel}/${job.epoch}/${job.attempt}-${segmentId}.arrow`;
    const object = await blobs.put(name, counted());
    const { rowCount, minTs, maxTs } = written;
    const { partitionId } = job.segments[0]!;
    const { deltaSeq: deletesSeq } = job;
    const segment = { segmentId, partitionId, rowCount, minTs, maxTs, object, indexes: {}, deletesSeq };
    segments.push({ ...segment, bounds: bounds.result() });
  }
  const seconds = (clock.monotonic() - began) / 1000;
  return inputs.purgedTs === 0n ? { segments, seconds } : { segments, purgedTs: inputs.purgedTs, seconds };
}

/** Rows of one chunk of an input, in its order. */
interface Piece {
  batch: ColumnBatch;
  rows: Uint32Array;
  timestamps: BigInt64Array;
}

/** An open input, and how far it is read. */
interface Cursor {
  segment: Segment;
  chunk: number;
  row: number;
}

class Inputs {
  readonly #tools: JobTools;
  readonly #schema: CollectionSchema;
  readonly #expiry: CompactSegments["expiry"];
  readonly #deltas: readonly DeletedKeys[];
  /** Not open yet, in the order of their first rows. */
  readonly #waiting: SegmentDoc[];
  readonly #open: Cursor[] = [];
  /** The newest timestamp at which a row was taken away; 0: none was. */
  purgedTs = 0n;

  constructor(tools: JobTools, schema: CollectionSchema, job: CompactSegments, deltas: readonly DeletedKeys[]) {
    this.#tools = tools;
    this.#schema = schema;
    this.#expiry = job.expiry;
    this.#deltas = deltas;
    this.#waiting = [...job.segments].sort((a, b) => (a.minTs < b.minTs ? -1 : a.minTs > b.minTs ? 1 : 0));
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
      this.#open.push({ segment, chunk: 0, row: 0 });
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
    const { segment, row } = cursor;
    const chunk = segment.chunks[cursor.chunk]!;
    const end = rowsUpTo(chunk.timestamps, limit);
    const visible = segment.visible(chunk, { readTs: LATEST, expiredTs: this.#expiry?.beforeTs });
    const all = visible === null ? Uint32Array.from({ length: end - row }, (_, i) => row + i) : bitsetRows(visible);
    const rows = visible === null ? all : all.filter((candidate) => candidate >= row && candidate < end);
    cursor.row = end;
    if (end === chunk.batch.rowCount) {
      cursor.chunk++;
      cursor.row = 0;
      if (cursor.chunk === segment.chunks.length) this.#open.splice(this.#open.indexOf(cursor), 1);
    }
    return { batch: chunk.batch, rows, timestamps: chunk.timestamps };
  }
}

function headTs({ segment, chunk, row }: Cursor): bigint {
  return segment.chunks[chunk]!.timestamps[row]!;
}

/** Joins pieces into chunks of CHUNK_ROWS rows; the last may have fewer. */
async function* fullChunks(
  { clock }: JobTools,
  pieces: AsyncIterable<Piece>,
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
  let at = 0;
  pieces.forEach((piece, source) => {
    pick.sources.fill(source, at, at + piece.rows.length);
    pick.rows.set(piece.rows, at);
    for (const row of piece.rows) timestamps[at++] = piece.timestamps[row]!;
  });
  const batches = pieces.map(({ batch }) => batch);
  return { batch: await gatherInTurns(batches, pick, fieldIds, clock), timestamps };
}
