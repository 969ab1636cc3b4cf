/**
 * Deletes in memory, in the order in which they came, in chunks of bounded size: 16 bytes for a delete of an Int64 key.
 * Deletes known to be in objects are forgotten chunk by chunk, by their place in the log.
 */
import type { Column } from "./column.ts";
import { ColumnBuilder } from "./column-builder.ts";
import type { DeletedKeys } from "./delete-files.ts";
import { columnRows } from "./gather.ts";
import type { KeyColumn } from "./keys.ts";

export const DELETE_CHUNK_ROWS = 4096;

const INITIAL_ROWS = 16;

interface DeleteChunk {
  readonly keys: ColumnBuilder;
  timestamps: BigInt64Array;
  rowCount: number;
  /** Log sequence of its newest delete. */
  throughSeq: number;
}

export class DeleteBuffer {
  #chunks: DeleteChunk[] = [];
  #rowCount = 0;
  #isSealed = false;

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Adds deletes that are in the log up to throughSeq. They are copied: the keys may be a view of a whole log message. */
  add({ keys, timestamps }: DeletedKeys, throughSeq: number): void {
    const count = columnRows(keys);
    for (let start = 0; start < count; ) {
      let chunk = this.#chunks.at(-1);
      if (chunk === undefined || chunk.rowCount === DELETE_CHUNK_ROWS || this.#isSealed) {
        this.#isSealed = false;
        chunk = {
          keys: new ColumnBuilder(keys, INITIAL_ROWS),
          timestamps: new BigInt64Array(INITIAL_ROWS),
          rowCount: 0,
          throughSeq,
        };
        this.#chunks.push(chunk);
      }
      const end = Math.min(count, start + DELETE_CHUNK_ROWS - chunk.rowCount);
      chunk.keys.append(keys as Column, start, end);
      appendTimestamps(chunk, timestamps.subarray(start, end));
      chunk.rowCount += end - start;
      // Deletes from catching up may come after newer ones.
      chunk.throughSeq = Math.max(chunk.throughSeq, throughSeq);
      start = end;
    }
    this.#rowCount += count;
  }

  /** A snapshot: later additions are not in it. */
  parts(): DeletedKeys[] {
    return this.#chunks.map(({ keys, timestamps, rowCount }) => ({
      keys: keys.view() as KeyColumn,
      timestamps: timestamps.subarray(0, rowCount),
    }));
  }

  /** Starts a new chunk, so that later deletes can stay when the present ones go. */
  seal(): void {
    this.#isSealed = this.#chunks.length > 0;
  }

  /** Forgets chunks whose deletes are all in the log up to seq. */
  dropThrough(seq: number): void {
    this.#chunks = this.#chunks.filter(({ throughSeq }) => throughSeq > seq);
    this.#rowCount = this.#chunks.reduce((sum, { rowCount }) => sum + rowCount, 0);
  }
}

function appendTimestamps(chunk: DeleteChunk, timestamps: BigInt64Array): void {
  const needed = chunk.rowCount + timestamps.length;
  if (needed > chunk.timestamps.length) {
    const larger = new BigInt64Array(Math.min(DELETE_CHUNK_ROWS, Math.max(needed, chunk.timestamps.length * 2)));
    larger.set(chunk.timestamps);
    chunk.timestamps = larger;
  }
  chunk.timestamps.set(timestamps, chunk.rowCount);
}
