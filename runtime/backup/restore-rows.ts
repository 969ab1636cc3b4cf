/**
 * The rows of a segment that a read at a timestamp saw, as chunks of a new file: in the same order, every timestamp moved
 * by the same distance.
 */
import type { Clock } from "../clock.ts";
import type { StoredChunk } from "../segment/arrow-file.ts";
import { type Bitset, bitsetRows, countBits } from "../segment/bitset.ts";
import { gatherRows } from "../segment/gather.ts";
import { CHUNK_ROWS, type Segment } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";

export interface VisibleRows {
  count: number;
  /** By chunk of the segment; null: all of its rows. */
  chunks: (Bitset | null)[];
}

export async function visibleRows(segment: Segment, readTs: bigint, clock: Clock): Promise<VisibleRows> {
  const visible: VisibleRows = { count: 0, chunks: [] };
  for (const chunk of segment.chunks) {
    await takeTurn(clock);
    const bits = segment.visible(chunk, { readTs });
    visible.count += bits === null ? chunk.batch.rowCount : countBits(bits);
    visible.chunks.push(bits);
  }
  return visible;
}

/** Full chunks of the visible rows; the last one may be shorter. */
export async function* movedChunks(
  segment: Segment,
  visible: VisibleRows,
  distance: bigint,
  clock: Clock,
): AsyncGenerator<StoredChunk> {
  const isWhole = visible.chunks.every((bits) => bits === null);
  /** Rows that wait for a full chunk. */
  let waiting: { chunk: StoredChunk; rows: Uint32Array }[] = [];
  let waitingCount = 0;
  for (const [n, chunk] of segment.chunks.entries()) {
    await takeTurn(clock);
    if (isWhole) {
      yield { batch: chunk.batch, timestamps: chunk.timestamps.map((ts) => ts + distance) };
      continue;
    }
    const bits = visible.chunks[n]!;
    let rows = bits === null ? Uint32Array.from({ length: chunk.batch.rowCount }, (_, row) => row) : rowsOf(bits);
    while (waitingCount + rows.length >= CHUNK_ROWS) {
      const count = CHUNK_ROWS - waitingCount;
      yield join([...waiting, { chunk, rows: rows.subarray(0, count) }], distance);
      rows = rows.subarray(count);
      waiting = [];
      waitingCount = 0;
    }
    if (rows.length > 0) waiting.push({ chunk, rows });
    waitingCount += rows.length;
  }
  if (waitingCount > 0) yield join(waiting, distance);
}

function rowsOf(bits: Bitset): Uint32Array {
  return Uint32Array.from(bitsetRows(bits));
}

function join(parts: readonly { chunk: StoredChunk; rows: Uint32Array }[], distance: bigint): StoredChunk {
  const count = parts.reduce((sum, { rows }) => sum + rows.length, 0);
  const pick = { sources: new Uint32Array(count), rows: new Uint32Array(count) };
  const timestamps = new BigInt64Array(count);
  let at = 0;
  parts.forEach(({ chunk, rows }, source) => {
    for (const row of rows) {
      pick.sources[at] = source;
      pick.rows[at] = row;
      timestamps[at++] = chunk.timestamps[row]! + distance;
    }
  });
  const batches = parts.map(({ chunk }) => chunk.batch);
  const fieldIds = [...new Set(batches.flatMap(({ columns }) => Object.keys(columns).map(Number)))];
  return { batch: gatherRows(batches, pick, fieldIds), timestamps };
}
