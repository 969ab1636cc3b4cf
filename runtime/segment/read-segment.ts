/** A segment in memory from its objects: rows, its own deletes, a shard's deletes. Gives way to other work in between. */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { FieldSchema } from "../schema.ts";
import { takeTurn } from "../turns.ts";
import { readSegmentFile, type StoredChunk } from "./arrow-file.ts";
import { type DeletedKeys, readDeletedRows } from "./delete-files.ts";
import { keyKindOf } from "./keys.ts";
import { Segment } from "./segment.ts";

/** Look-ups between two looks at the clock: some tenths of a millisecond. */
const PIECE_ROWS = 256;

/** What a manifest says of a segment. */
export interface SegmentFacts {
  segmentId: string;
  partitionId: number;
  rowCount: number;
  rowTs?: bigint | undefined;
}

/** The rows of a file, as views of its bytes. @throws VdbError corrupt */
export async function readSegment(
  doc: SegmentFacts,
  key: FieldSchema,
  file: Uint8Array,
  clock: Clock,
): Promise<Segment> {
  return segmentOfChunks(doc, key, readSegmentFile(file), clock);
}

/** @throws VdbError corrupt when the rows are not the segment's */
export async function segmentOfChunks(
  { segmentId, partitionId, rowCount, rowTs }: SegmentFacts,
  key: FieldSchema,
  chunks: Iterable<StoredChunk> | AsyncIterable<StoredChunk>,
  clock: Clock,
): Promise<Segment> {
  const keyKind = keyKindOf(key);
  const options = { segmentId, partitionId, keyFieldId: key.fieldId, keyKind, rowsExpected: rowCount };
  const segment = new Segment(options);
  for await (const { batch, timestamps } of chunks) {
    await takeTurn(clock);
    segment.appendChunk(batch, rowTs === undefined ? timestamps : new BigInt64Array(batch.rowCount).fill(rowTs));
  }
  if (segment.rowCount === rowCount) return segment;
  throw new VdbError("corrupt", `segment ${segmentId} has ${segment.rowCount} rows, its manifest says ${rowCount}`);
}

/** Applies a file of the segment's own deletes. Idempotent. @throws VdbError corrupt */
export async function applyDeletedRows(segment: Segment, file: Uint8Array, clock: Clock): Promise<void> {
  for (const { rows, timestamps } of readDeletedRows(file, segment.rowCount)) {
    for (let i = 0; i < rows.length; i++) {
      if (i % PIECE_ROWS === 0) await takeTurn(clock);
      segment.deleteRow(rows[i]!, timestamps[i]!);
    }
  }
}

/** Applies deletes of its shard. Idempotent; order does not matter. */
export async function applyDeletedKeys(
  segment: Segment,
  { keys, timestamps }: DeletedKeys,
  clock: Clock,
): Promise<void> {
  for (let row = 0; row < timestamps.length; row++) {
    if (row % PIECE_ROWS === 0) await takeTurn(clock);
    segment.delete(keys, row, timestamps[row]!);
  }
}
