/** Rows of one segment that match a filter, without a vector: the smallest keys first, one row a key. */
import { primaryKeysOf } from "../expr/plan.ts";
import type { FoundRows } from "../protocol/values.ts";
import { bitsetRows, countBits, hasBit, newBitset, setBit } from "../segment/bitset.ts";
import { gatherRows } from "../segment/gather.ts";
import { keysOf } from "../segment/keys.ts";
import { CHUNK_ROWS, type Chunk, type Segment } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";
import { allowedRows } from "./allowed-rows.ts";
import { pickNewest } from "./merge-rows.ts";
import type { ReadOptions } from "./scan-segment.ts";
import { keysOfRows } from "./segment-hits.ts";

export interface QueryOptions extends ReadOptions {
  fieldIds: readonly number[];
  /** Null: all. */
  limit: number | null;
  countOnly: boolean;
}

export async function querySegment(
  segment: Segment,
  options: QueryOptions,
): Promise<{ count: number; rows: FoundRows | null }> {
  const rows: Uint32Array[] = [];
  let count = 0;
  for (const chunk of segment.chunks) {
    const matching = await matchingRows(segment, chunk, options);
    count += matching.length;
    if (!options.countOnly && matching.length > 0) rows.push(matching.map((row) => row + chunk.firstRow));
  }
  if (options.countOnly || count === 0) return { count, rows: null };
  return { count, rows: foundRows(segment, join(rows, count), options) };
}

async function matchingRows(segment: Segment, chunk: Chunk, options: QueryOptions): Promise<Uint32Array> {
  const { filter, clock } = options;
  const keys = filter === null ? null : primaryKeysOf(filter);
  if (keys !== null) return rowsOfKeys(segment, chunk, options, keys);
  await takeTurn(clock);
  const allowed = allowedRows(segment, chunk, options, filter);
  return allowed === null ? Uint32Array.from({ length: chunk.batch.rowCount }, (_, row) => row) : bitsetRows(allowed);
}

/** A filter that lists primary keys is answered from the key index: no scan. */
function rowsOfKeys(
  segment: Segment,
  chunk: Chunk,
  options: QueryOptions,
  keys: ReturnType<typeof primaryKeysOf> & object,
): Uint32Array {
  const column = keysOf(segment.keyKind, keys);
  const visible = segment.visible(chunk, options);
  const hits = newBitset(chunk.batch.rowCount);
  const found: number[] = [];
  for (let i = 0; i < keys.length; i++) {
    segment.findKey(column, i, found);
    for (const row of found) {
      const at = row - chunk.firstRow;
      if (at >= 0 && at < chunk.batch.rowCount && (visible === null || hasBit(visible, at))) setBit(hits, at);
    }
  }
  return countBits(hits) === 0 ? new Uint32Array(0) : bitsetRows(hits);
}

function foundRows(segment: Segment, rows: Uint32Array, options: QueryOptions): FoundRows {
  const timestamps = BigInt64Array.from(rows, (row) => segment.timestampOf(row));
  const keys = keysOfRows(segment, rows);
  const pick = pickNewest([{ keys, timestamps }], options.limit);
  const picked = pick.rows.map((i) => rows[i]!);
  return {
    keys: keysOfRows(segment, picked),
    timestamps: pick.rows.length === 0 ? new BigInt64Array(0) : BigInt64Array.from(pick.rows, (i) => timestamps[i]!),
    batch: rowsOfSegment(segment, picked, options.fieldIds),
  };
}

/** Columns of a segment's rows, in the given order. */
export function rowsOfSegment(segment: Segment, rows: Uint32Array, fieldIds: readonly number[]) {
  return gatherRows(
    segment.chunks.map(({ batch }) => batch),
    { sources: rows.map((row) => row >>> 13), rows: rows.map((row) => row & (CHUNK_ROWS - 1)) },
    fieldIds,
  );
}

function join(parts: readonly Uint32Array[], total: number): Uint32Array {
  const joined = new Uint32Array(total);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
