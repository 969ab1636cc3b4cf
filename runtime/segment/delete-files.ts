/**
 * Deletes as Arrow IPC files, of two kinds. For a shard: keys with the time of their deletion, in the order of the log. For one
 * segment: the numbers of its deleted rows, ascending, with the times.
 */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import { type FileField, readSegmentFile, type StoredChunk, writeSegmentFile } from "./arrow-file.ts";
import type { Column } from "./column.ts";
import type { KeyColumn } from "./keys.ts";
import type { DeletedRows } from "./segment.ts";

/** Deletes per record batch, handled between two looks at the clock. */
const BATCH_ROWS = 8192;

const ROW_FIELD: FileField = { fieldId: 1, name: "row", type: "Int32" };

export interface DeletedKeys {
  readonly keys: KeyColumn;
  /** The time of each key's deletion. */
  readonly timestamps: BigInt64Array;
}

export function writeDeletedKeys(
  field: FileField,
  deletes: Iterable<DeletedKeys>,
  clock: Clock,
): AsyncGenerator<Uint8Array> {
  return writeSegmentFile([field], chunksOf(field, deletes), clock);
}

/** @throws VdbError corrupt */
export function readDeletedKeys(bytes: Uint8Array): DeletedKeys[] {
  return readSegmentFile(bytes).map(({ batch, timestamps }) => {
    const [keys] = Object.values(batch.columns);
    if (keys?.kind !== "int64" && keys?.kind !== "varchar")
      throw new VdbError("corrupt", "file of deletes has no keys");
    return { keys, timestamps };
  });
}

export function writeDeletedRows(deleted: DeletedRows, clock: Clock): AsyncGenerator<Uint8Array> {
  return writeSegmentFile([ROW_FIELD], rowChunksOf(deleted), clock);
}

/** @throws VdbError corrupt when a row is not one of the segment's rowCount */
export function readDeletedRows(bytes: Uint8Array, rowCount: number): DeletedRows[] {
  return readSegmentFile(bytes).map(({ batch, timestamps }) => {
    const column: Column | undefined = batch.columns[ROW_FIELD.fieldId];
    if (column?.kind !== "int32") throw new VdbError("corrupt", "file of deleted rows has no rows");
    const rows = column.values as Int32Array;
    const stray = rows.find((row) => row < 0 || row >= rowCount);
    if (stray !== undefined) throw new VdbError("corrupt", `row ${stray} of ${rowCount} is said to be deleted`);
    return { rows, timestamps };
  });
}

function* chunksOf(field: FileField, deletes: Iterable<DeletedKeys>): Generator<StoredChunk> {
  for (const { keys, timestamps } of deletes)
    yield { batch: { rowCount: timestamps.length, columns: { [field.fieldId]: keys } }, timestamps };
}

function* rowChunksOf({ rows, timestamps }: DeletedRows): Generator<StoredChunk> {
  for (let start = 0; start < rows.length; start += BATCH_ROWS) {
    const end = Math.min(rows.length, start + BATCH_ROWS);
    const column: Column = { kind: "int32", values: rows.slice(start, end) };
    yield {
      batch: { rowCount: end - start, columns: { [ROW_FIELD.fieldId]: column } },
      timestamps: timestamps.slice(start, end),
    };
  }
}
