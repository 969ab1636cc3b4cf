/**
 * Search of the segments that are here. Small ones are scanned; over those that have grown large, and are searched, an
 * HNSW grows behind them, so that a search costs about as much as one of a sealed segment. What the index does not
 * cover yet is scanned, so every row that a read must see is seen, however far the index is.
 *
 * Owns     an index for each large segment and vector field that was searched, and for the full chunks of a sparse one
 *          (runtime/sparse/); its memory counts as that of the rows
 * Invariants
 *   I1. The rows that the index covers are searched in it, all others exactly: each in exactly one of the two.
 *   I2. Rows without a vector of the field are in neither. From the first of them on, `present` says which row of the
 *       segment a row of the index is.
 */
import type { Neighbours, SearchEngine } from "../../runtime/ann/engine.ts";
import type { GrowingIndex } from "../../runtime/ann/growing-index.ts";
import { asFloat32, type DenseVectors, searchedVectors, vectorWidth } from "../../runtime/ann/packed-vectors.ts";
import type { Clock } from "../../runtime/clock.ts";
import { errorMessage } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { SearchHits, TermStatistics, VectorSearch } from "../../runtime/protocol/values.ts";
import { isDescending, type Metric } from "../../runtime/schema.ts";
import {
  type AllowedChunk,
  allowedChunks,
  blocksOf,
  distinctHits,
  joinedRows,
  type ReadOptions,
  rangeOf,
  scanAllowed,
  scanOf,
} from "../../runtime/search/scan-segment.ts";
import { topsOf } from "../../runtime/search/segment-hits.ts";
import { bitsetRows } from "../../runtime/segment/bitset.ts";
import { type DenseVectorColumn, rowWidth } from "../../runtime/segment/column.ts";
import { takeColumn } from "../../runtime/segment/gather.ts";
import { PresentRows, presentInChunk } from "../../runtime/segment/present-rows.ts";
import { CHUNK_ROWS, type Chunk, type Segment, type Snapshot } from "../../runtime/segment/segment.ts";
import { SparseSegment } from "../../runtime/sparse/sparse-segment.ts";
import { TopK, type TopRows } from "../../runtime/topk.ts";
import { takeTurn } from "../../runtime/turns.ts";

/** Below this a scan takes about a millisecond, no longer than a graph search with its overhead. */
const INDEX_ROWS_MIN = 2 * CHUNK_ROWS;

/** The least effort of a search: the graph is of lower quality than a sealed segment's. */
const EF_MIN = 100;

/** Numbers decoded at a time: 4 M take some 5 ms. */
const DECODED_MAX = 1 << 22;

/** Room for rows that a segment takes beyond the bound at which it is sealed; rows beyond the room are scanned. */
const SPARE = 1.25;

export interface LocalSearchOptions extends ReadOptions {
  deadline: number;
  /** Whether approximate answers will do: the collection's index is not FLAT. */
  mayApproximate: boolean;
}

export interface SealBounds {
  sealRows: number;
  sealBytes: number;
}

/** How far a search uses the index: for rows below `covered`, a whole number of words. */
interface Covered {
  covered: number;
  allowed: readonly AllowedChunk[];
}

interface Entry {
  readonly index: GrowingIndex;
  /** Rows of the segment, a whole number of chunks. */
  fedRows: number;
  /** Of those, the ones that have a vector, at least those that the index has; absent: all. */
  present?: PresentRows;
  isFeeding: boolean;
  /** It takes no more rows. */
  isFull: boolean;
  /** Searches that use it now. */
  users: number;
  isUnwanted: boolean;
}

export class GrowingIndexes {
  readonly #engine: SearchEngine;
  readonly #bounds: SealBounds;
  readonly #logger: Logger;
  readonly #bySegment = new Map<Segment, Map<string, Entry | null>>();
  readonly #sparse = new Map<Segment, SparseSegment>();

  constructor(engine: SearchEngine, bounds: SealBounds, logger: Logger) {
    this.#engine = engine;
    this.#bounds = bounds;
    this.#logger = logger;
  }

  async search(segment: Segment, search: VectorSearch, options: LocalSearchOptions): Promise<SearchHits> {
    const allowed = await allowedChunks(segment, options);
    if (search.sparse !== undefined) {
      return (await this.#sparseOf(segment, search.fieldId, options)).search(search, allowed, options);
    }
    const entry = options.mayApproximate ? this.#entryOf(segment, search, options) : null;
    const covered = entry === null ? 0 : wholeWords(Math.min(coveredRows(entry), rowsOf(allowed)));
    if (entry === null || covered < INDEX_ROWS_MIN) {
      return scanAllowed(segment, search, { scanner: this.#engine, ...options }, allowed);
    }
    entry.users++;
    try {
      return await this.#searchBoth(segment, search, options, { ...entry, covered, allowed });
    } finally {
      entry.users--;
      if (entry.isUnwanted && entry.users === 0) entry.index.close();
    }
  }

  async #searchBoth(
    segment: Segment,
    search: VectorSearch,
    { clock, deadline }: LocalSearchOptions,
    { index, present, covered, allowed }: Pick<Entry, "index" | "present"> & Covered,
  ): Promise<SearchHits> {
    const { ef = 0 } = search;
    const ofSegment = joinedRows(startOf(allowed, covered), covered);
    const filter = ofSegment === null || present === undefined ? ofSegment : present.narrowed(ofSegment.bits, covered);
    const rows = present?.countBelow(covered) ?? covered;
    const blocks = await blocksOf(endOf(allowed, covered, search), search, clock);
    return distinctHits(segment, search, clock, async (k, some) => {
      const queries = asFloat32(searchedVectors(some).vectorType, some.queries);
      const searchIndex = async () => {
        const found = await index.search({
          ...{ rows, queries, k, ef: Math.max(EF_MIN, ef, k), deadline, ...rangeOf(search) },
          ...(filter === null ? {} : { allow: filter.bits, allowedCount: filter.count }),
        });
        present?.toSegmentRows(found.rows);
        return found;
      };
      const inIndex = rows === 0 ? [] : [searchIndex()];
      const inBlocks = this.#engine.scanExact({ k, blocks, deadline, ...scanOf(some) });
      return merged(await Promise.all([...inIndex, inBlocks]), k, some);
    });
  }

  async termStatistics(
    segment: Segment,
    { fieldId, terms }: { fieldId: number; terms: Uint32Array },
    snapshot: Snapshot,
    tools: { clock: Clock; deadline: number },
  ): Promise<TermStatistics> {
    return (await this.#sparseOf(segment, fieldId, tools)).statistics(fieldId, terms, snapshot, tools);
  }

  /** The sparse vectors of a segment, indexed as far as its chunks are full. */
  async #sparseOf(segment: Segment, fieldId: number, { clock }: { clock: Clock }): Promise<SparseSegment> {
    const sparse = this.#sparse.get(segment) ?? new SparseSegment(segment);
    this.#sparse.set(segment, sparse);
    await sparse.indexFullChunks(fieldId, clock);
    return sparse;
  }

  memoryBytes(): number {
    let bytes = 0;
    for (const sparse of this.#sparse.values()) bytes += sparse.memoryBytes;
    for (const entries of this.#bySegment.values())
      for (const entry of entries.values()) {
        bytes += (entry?.index.memoryBytes ?? 0) + (entry?.present?.memoryBytes ?? 0);
      }
    return bytes;
  }

  get isEmpty(): boolean {
    return this.#bySegment.size === 0 && this.#sparse.size === 0;
  }

  /** Closes the indexes of all other segments; those being searched, a little later. */
  keepOnly(segments: ReadonlySet<Segment>): void {
    for (const segment of this.#sparse.keys()) if (!segments.has(segment)) this.#sparse.delete(segment);
    for (const [segment, entries] of this.#bySegment) {
      if (segments.has(segment)) continue;
      this.#bySegment.delete(segment);
      for (const entry of entries.values()) {
        if (entry === null) continue;
        entry.isUnwanted = true;
        if (entry.users === 0) entry.index.close();
      }
    }
  }

  /** The index of a large segment, fed with what has come since; null where none can be made. */
  #entryOf(segment: Segment, search: VectorSearch, { clock }: LocalSearchOptions): Entry | null {
    const { fieldId, metric } = search;
    // Bits are counted faster than a graph of them is walked.
    if (segment.rowCount < INDEX_ROWS_MIN || search.vectorType === "BinaryVector") return null;
    const entries = this.#bySegment.get(segment) ?? new Map<string, Entry | null>();
    this.#bySegment.set(segment, entries);
    const key = `${fieldId} ${metric}`;
    let entry = entries.get(key);
    if (entry === undefined) {
      entry = this.#newEntry(metric, searchedVectors(search), segment.rowCount);
      entries.set(key, entry);
    }
    if (entry?.isFeeding === false && !entry.isFull) void this.#feed(segment, entry, search, clock);
    return entry;
  }

  /** For packed vectors, too, the index holds float32: two or four times as much as the rows, until they are sealed. */
  #newEntry(
    metric: Metric,
    { vectorType, dimension }: ReturnType<typeof searchedVectors>,
    rowCount: number,
  ): Entry | null {
    const { sealRows, sealBytes } = this.#bounds;
    const rowBytes = vectorType === "FloatVector" ? 4 * dimension : vectorWidth(vectorType, dimension);
    // Address space for as many rows as a segment can come to have.
    const rowsMax = Math.max(rowCount, Math.min(sealRows, sealBytes / rowBytes));
    const capacity = Math.ceil((rowsMax * SPARE) / CHUNK_ROWS) * CHUNK_ROWS;
    try {
      const index = this.#engine.createGrowingIndex?.({ metric, dimension, capacity });
      return index === undefined
        ? null
        : { index, fedRows: 0, isFeeding: false, isFull: false, users: 0, isUnwanted: false };
    } catch (error) {
      this.#logger.warn({ dimension, capacity, error: errorMessage(error) }, "no index of growing rows: scanned");
      return null;
    }
  }

  /** Adds the chunks that are full: those do not change any more. Never rejects. */
  async #feed(
    segment: Segment,
    entry: Entry,
    { fieldId, ...search }: VectorSearch,
    clock: LocalSearchOptions["clock"],
  ): Promise<void> {
    const { vectorType } = searchedVectors(search);
    const isFull = ({ batch }: Chunk) => batch.rowCount === CHUNK_ROWS;
    const next = () => segment.chunks.find((chunk) => chunk.firstRow === entry.fedRows && isFull(chunk));
    entry.isFeeding = true;
    try {
      for (let chunk = next(); chunk !== undefined; chunk = next()) {
        const inChunk = presentInChunk(chunk, fieldId);
        if (inChunk !== null && entry.present === undefined) {
          entry.present = new PresentRows();
          if (entry.fedRows > 0) entry.present.add(entry.fedRows, null);
        }
        // Ahead of the index, whose rows they then say.
        entry.present?.add(CHUNK_ROWS, inChunk);
        const rows = inChunk === null ? null : bitsetRows(inChunk);
        const rowCount = rows?.length ?? CHUNK_ROWS;
        let taken = 0;
        for (let row = 0; row < rowCount; ) {
          await takeTurn(clock);
          if (entry.isUnwanted) return;
          const column = chunk.batch.columns[fieldId] as DenseVectorColumn;
          const isWhole = rows === null && vectorType === "FloatVector";
          // Decodes numbers that are not float32, and copies rows that do not lie side by side.
          const end = Math.min(rowCount, isWhole ? CHUNK_ROWS : row + Math.ceil(DECODED_MAX / column.dimension));
          const values = rows === null ? vectorsIn(column, row, end) : vectorsAt(column, rows.subarray(row, end));
          taken += entry.index.add(asFloat32(vectorType, values));
          row = end;
        }
        if (taken < rowCount) {
          entry.isFull = true;
          break;
        }
        entry.fedRows += CHUNK_ROWS;
      }
    } catch (error) {
      // Some of a chunk may be in it.
      entry.isFull = true;
      this.#logger.warn({ error: errorMessage(error) }, "growing rows could not be indexed: scanned");
    } finally {
      entry.isFeeding = false;
    }
  }
}

/** Rows of the segment, from 0 on, that a search of the index covers. */
function coveredRows({ index, present, fedRows }: Entry): number {
  const { indexedRows } = index;
  if (present === undefined) return indexedRows;
  return indexedRows < present.count ? present.rowAt(indexedRows) : fedRows;
}

function vectorsIn(column: DenseVectorColumn, start: number, end: number): DenseVectors {
  const width = rowWidth(column);
  return column.values.subarray(start * width, end * width);
}

function vectorsAt(column: DenseVectorColumn, rows: Uint32Array): DenseVectors {
  return takeColumn(column, rows).values;
}

function rowsOf(chunks: readonly AllowedChunk[]): number {
  const last = chunks.at(-1)?.chunk;
  return last === undefined ? 0 : last.firstRow + last.batch.rowCount;
}

/** So that bitsets can be cut there. */
function wholeWords(rows: number): number {
  return rows & ~31;
}

/** The chunks' rows below `row`. */
function startOf(chunks: readonly AllowedChunk[], row: number): AllowedChunk[] {
  return chunks.filter(({ chunk }) => chunk.firstRow < row);
}

/** The chunks' rows from `row` on, a whole number of words. */
function endOf(chunks: readonly AllowedChunk[], row: number, { fieldId }: VectorSearch): AllowedChunk[] {
  return chunks.flatMap(({ chunk, allow }) => {
    const skipped = Math.max(0, row - chunk.firstRow);
    if (skipped >= chunk.batch.rowCount) return [];
    const column = chunk.batch.columns[fieldId] as DenseVectorColumn | undefined;
    if (skipped === 0 || column === undefined) return [{ chunk, allow }];
    const values = column.values.subarray(skipped * rowWidth(column));
    const { valid } = column;
    const rest = { ...column, values, ...(valid && { valid: valid.subarray(skipped >>> 5) }) } as DenseVectorColumn;
    const batch = { rowCount: chunk.batch.rowCount - skipped, columns: { [fieldId]: rest } };
    const timestamps = chunk.timestamps.subarray(skipped);
    return [{ chunk: { firstRow: row, batch, timestamps }, allow: allow?.subarray(skipped >>> 5) ?? null }];
  });
}

function merged(found: readonly Neighbours[], k: number, { metric, queryCount }: VectorSearch): TopRows[] {
  const parts = found.map((neighbours) => topsOf(neighbours, queryCount));
  return Array.from({ length: queryCount }, (_, query) => {
    const best = new TopK(k, isDescending(metric));
    for (const tops of parts) {
      const { rows, distances } = tops[query]!;
      for (let i = 0; i < rows.length; i++) best.push(distances[i]!, rows[i]!);
    }
    return best.drain();
  });
}
