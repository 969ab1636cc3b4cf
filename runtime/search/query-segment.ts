/** Rows of one segment that match a filter, without a vector: the first in an order, one row for each key; or their aggregates. */
import { primaryKeysOf } from "../expr/plan.ts";
import type { Aggregation, FoundRows, Groups, RowOrder } from "../protocol/values.ts";
import { rowsOfKeys } from "../scalar-index/verdict.ts";
import { bitsetRows, hasBit, newBitset, setBit } from "../segment/bitset.ts";
import { gatherRows } from "../segment/gather.ts";
import { type KeyColumn, keysOf } from "../segment/keys.ts";
import { CHUNK_ROWS, type Chunk, type Segment } from "../segment/segment.ts";
import { takeTurn, takeTurnFor } from "../turns.ts";
import { GroupTable } from "./aggregate.ts";
import { allowedRows, prepareRows } from "./allowed-rows.ts";
import { compareRows, firstRows, type RowSource } from "./order-rows.ts";
import { remember, valueReader } from "./row-values.ts";
import type { ReadOptions } from "./scan-segment.ts";
import { keysOfRows } from "./segment-hits.ts";

/** Keys looked up between two turns. */
const SLICE_ROWS = 1024;

export interface QueryOptions extends ReadOptions {
  fieldIds: readonly number[];
  /** Null: all. */
  limit: number | null;
  countOnly: boolean;
  /** Absent: by primary key. */
  order?: RowOrder | undefined;
  /** Instead of rows. */
  aggregation?: Aggregation | undefined;
  /** Called with the rows of the segment that are about to be copied, and awaited. */
  beforeRows?: (rows: Uint32Array) => Promise<void>;
}

export interface Answer {
  /** The number of rows that match, those beyond the limit included. */
  count: number;
  rows: FoundRows | null;
  /** Whether the rows are in the requested order; absent from nodes that do not know orders. */
  isOrdered?: boolean | undefined;
  groups?: Groups | undefined;
}

/** @throws VdbError parameter_too_large (an aggregation of too many groups) */
export async function querySegment(segment: Segment, options: QueryOptions): Promise<Answer> {
  const { aggregation, countOnly, clock } = options;
  const { chunks } = segment;
  const matching: Uint32Array[] = [];
  const table = aggregation === undefined ? undefined : new GroupTable(aggregation);
  const named = await namedRows(segment, options);
  let count = 0;
  for (const chunk of chunks) {
    const rows =
      named === null
        ? await matchingRows(segment, chunk, options)
        : visibleRows(segment, chunk, options, named.get(chunk.firstRow >>> 13) ?? []);
    count += rows.length;
    if (countOnly || rows.length === 0) continue;
    if (table === undefined) matching.push(rows.map((row) => row + chunk.firstRow));
    else await table.addRows(chunk.batch, rows, clock);
  }
  if (table !== undefined) return { count, rows: null, groups: table.groups() };
  if (countOnly || count === 0) return { count, rows: null };
  const candidates = segment.hasRepeatedKeys ? await newestRows(segment, matching, options) : matching;
  const rows = await foundRows(segment, chunks, candidates, options);
  return { count, rows, isOrdered: (options.order ?? []).length > 0 };
}

/** The matching rows without a newer matching row of the same key. */
async function newestRows(
  segment: Segment,
  matching: readonly Uint32Array[],
  { clock }: QueryOptions,
): Promise<Uint32Array[]> {
  // Rows that were appended meanwhile are not among the matching ones.
  const { rowCount } = segment;
  const isMatching = newBitset(rowCount);
  const newest: Uint32Array[] = [];
  const found: number[] = [];
  for (const rows of matching) {
    await takeTurn(clock);
    for (const row of rows) setBit(isMatching, row);
  }
  for (const rows of matching) {
    for (let start = 0; start < rows.length; start += SLICE_ROWS) {
      await takeTurn(clock);
      const slice = rows.subarray(start, start + SLICE_ROWS);
      const keys = keysOfRows(segment, slice);
      const isNewest = (row: number, i: number) => {
        segment.findKey(keys, i, found);
        return found.find((other) => other < rowCount && hasBit(isMatching, other)) === row;
      };
      newest.push(slice.filter(isNewest));
    }
  }
  return newest;
}

/** Answers a filter that lists primary keys from the key index, without a scan. By chunk; null: it is another filter. */
async function namedRows(segment: Segment, { filter, clock }: QueryOptions): Promise<Map<number, number[]> | null> {
  const keys = filter === null ? null : primaryKeysOf(filter);
  return keys === null ? null : rowsOfKeys(segment, keysOf(segment.keyKind, keys), keys.length, clock);
}

async function matchingRows(segment: Segment, chunk: Chunk, options: QueryOptions): Promise<Uint32Array> {
  const { filter } = options;
  if (filter === null) await takeTurnFor(options);
  else if (!(await prepareRows(segment, chunk, filter, options))) return new Uint32Array(0);
  const allowed = allowedRows(segment, chunk, options, filter);
  return allowed === null ? Uint32Array.from({ length: chunk.batch.rowCount }, (_, row) => row) : bitsetRows(allowed);
}

/**
 * The rows of a chunk that the read sees, of those given by their numbers in the segment: ascending, each once, as positions in
 * the chunk.
 */
function visibleRows(segment: Segment, chunk: Chunk, options: QueryOptions, rows: readonly number[]): Uint32Array {
  if (rows.length === 0) return new Uint32Array(0);
  const { rowCount } = chunk.batch;
  const visible = segment.visible(chunk, options);
  const hits = newBitset(rowCount);
  for (const row of rows) {
    const at = row - chunk.firstRow;
    if (at < rowCount && (visible === null || hasBit(visible, at))) setBit(hits, at);
  }
  return bitsetRows(hits);
}

async function foundRows(
  segment: Segment,
  chunks: readonly Chunk[],
  matching: readonly Uint32Array[],
  { order = [], limit, fieldIds, clock, beforeRows }: QueryOptions,
): Promise<FoundRows> {
  const source = segmentSource(segment, chunks, order);
  const rows = await firstRows(matching, (a, b) => compareRows(order, source, a, source, b), limit, clock);
  await beforeRows?.(rows);
  return {
    keys: keysOfRows(segment, rows),
    timestamps: rows.length === 0 ? new BigInt64Array(0) : BigInt64Array.from(rows, (row) => segment.timestampOf(row)),
    batch: rowsOfSegment(segment, rows, fieldIds),
  };
}

/** The rows of a segment with the given numbers. */
function segmentSource(segment: Segment, chunks: readonly Chunk[], order: RowOrder): RowSource {
  const keys = chunks.map(({ batch }) => batch.columns[segment.keyFieldId] as KeyColumn);
  return {
    keysOf: (row) => keys[row >>> 13]!,
    keyRowOf: (row) => row & (CHUNK_ROWS - 1),
    timestampOf: (row) => chunks[row >>> 13]!.timestamps[row & (CHUNK_ROWS - 1)]!,
    values: order.map((ref) => {
      const readers = chunks.map(({ batch }) => valueReader(batch, ref));
      const read = (row: number) => readers[row >>> 13]!(row & (CHUNK_ROWS - 1));
      const isDecoded = chunks.some(({ batch }) => "bytes" in (batch.columns[ref.fieldId] ?? {}));
      return isDecoded ? remember(read) : read;
    }),
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
