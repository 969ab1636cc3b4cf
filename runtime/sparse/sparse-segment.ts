/**
 * The sparse vectors of one segment: searched, and counted for BM25, through inverted indexes where they exist and row by row
 * elsewhere. A sealed segment is indexed as a whole when it is loaded; a growing one chunk by chunk, once a chunk is full and
 * needed, never the open chunk.
 *
 * Invariant: indexes of a field cover the rows from 0 on without a gap; rows beyond them are scanned.
 */
import type { Clock } from "../clock.ts";
import type { SearchHits, TermStatistics, VectorSearch } from "../protocol/values.ts";
import { type AllowedChunk, distinctHits } from "../search/scan-segment.ts";
import { type Bitset, bitsetWords, countBits, fullBitset } from "../segment/bitset.ts";
import { CHUNK_ROWS, type Chunk, type Segment, type Snapshot } from "../segment/segment.ts";
import type { TopK, TopRows } from "../topk.ts";
import { bestRows } from "./best-rows.ts";
import { countRows, LiveCounts } from "./live-counts.ts";
import { Pace } from "./pace.ts";
import { scanRows } from "./scan-rows.ts";
import { type ScoreBand, type SparseQuery, searchIndex } from "./search-index.ts";
import { buildSparseIndex, type SparseIndex } from "./sparse-index.ts";
import { scoreBand, sparseQuery } from "./sparse-query.ts";
import { pairsOf, sparseColumn } from "./sparse-rows.ts";
import { noStatistics } from "./statistics.ts";

/** Preparing a query and gathering its rows, in units of a pace. */
const WORK_A_QUERY = 1_024;

interface Indexed {
  readonly index: SparseIndex;
  readonly live: LiveCounts;
}

interface Tools {
  clock: Clock;
  /** By the monotonic clock. */
  deadline: number;
}

/** Rows of consecutive chunks that a read may return. */
interface Part {
  readonly indexed: Indexed | undefined;
  readonly chunks: readonly AllowedChunk[];
}

export class SparseSegment {
  readonly #segment: Segment;
  readonly #byField = new Map<number, Indexed[]>();
  /** By field: the indexing under way. */
  readonly #indexing = new Map<number, Promise<void>>();

  constructor(segment: Segment) {
    this.#segment = segment;
  }

  get memoryBytes(): number {
    let bytes = 0;
    for (const parts of this.#byField.values())
      for (const { index, live } of parts) bytes += index.memoryBytes + live.memoryBytes;
    return bytes;
  }

  /** The approximate size of an index of the field: as much as the pairs themselves, and something for its terms. */
  bytesToIndex(fieldId: number): number {
    const columns = this.#segment.chunks.map(({ batch }) => sparseColumn(batch, fieldId));
    return Math.ceil(1.25 * columns.reduce((sum, column) => sum + (column?.bytes.byteLength ?? 0), 0));
  }

  /** Indexes all rows of a segment that gets no more. */
  async indexWhole(fieldId: number, clock: Clock): Promise<void> {
    if (this.#segment.rowCount > 0) await this.#append(fieldId, this.#segment.chunks, new Pace(clock));
  }

  /** Indexes the chunks that are full: those do not change any more. */
  async indexFullChunks(fieldId: number, clock: Clock): Promise<void> {
    const running = this.#indexing.get(fieldId) ?? this.#indexChunks(fieldId, new Pace(clock));
    this.#indexing.set(fieldId, running);
    try {
      await running;
    } finally {
      if (this.#indexing.get(fieldId) === running) this.#indexing.delete(fieldId);
    }
  }

  /** @param allowed chunks as they were when the read began. @throws VdbError deadline_exceeded */
  search(search: VectorSearch, allowed: readonly AllowedChunk[], { clock, deadline }: Tools): Promise<SearchHits> {
    const pace = new Pace(clock, deadline);
    const band = scoreBand(search);
    const parts = this.#parts(search.fieldId, allowed);
    return distinctHits(this.#segment, search, clock, async (k, some) => {
      const tops: TopRows[] = [];
      for (let number = 0; number < some.queryCount; number++) {
        if (pace.isDue(WORK_A_QUERY)) await pace.turn();
        const query = sparseQuery(some, number);
        const find = async (top: TopK, within: ScoreBand) => {
          for (const part of parts) await searchPart(part, search.fieldId, query, { top, band: within, pace });
        };
        tops.push(await bestRows(this.#segment, Math.min(k, this.#segment.rowCount), { band, find, pace }));
      }
      return tops;
    });
  }

  /** Statistics of the rows that a read sees. @param terms ascending. @throws VdbError deadline_exceeded */
  async statistics(
    fieldId: number,
    terms: Uint32Array,
    snapshot: Snapshot,
    { clock, deadline }: Tools,
  ): Promise<TermStatistics> {
    const pace = new Pace(clock, deadline);
    const sum = noStatistics(terms.length);
    const visible = this.#segment.chunks.map((chunk) => ({ chunk, allow: this.#segment.visible(chunk, snapshot) }));
    for (const { indexed, chunks } of this.#parts(fieldId, visible)) {
      if (indexed !== undefined) await indexed.live.add(terms, allowedIn(indexed.index, chunks), sum, pace);
      else {
        for (const { chunk, allow } of chunks) {
          const column = sparseColumn(chunk.batch, fieldId);
          if (column === undefined) continue;
          const rows = { pairs: pairsOf(column), rowCount: chunk.batch.rowCount };
          await countRows(rows, terms, allow, sum, pace);
        }
      }
    }
    return sum;
  }

  async #indexChunks(fieldId: number, pace: Pace): Promise<void> {
    for (;;) {
      const chunk = this.#segment.chunks[Math.floor(this.#indexedRows(fieldId) / CHUNK_ROWS)];
      if (chunk?.batch.rowCount !== CHUNK_ROWS) return;
      await this.#append(fieldId, [chunk], pace);
    }
  }

  async #append(fieldId: number, chunks: readonly Chunk[], pace: Pace): Promise<void> {
    const { firstRow } = chunks[0]!;
    const sources = chunks.map(({ batch }) => ({ rowCount: batch.rowCount, column: sparseColumn(batch, fieldId) }));
    const index = await buildSparseIndex(firstRow, sources, pace);
    const pairs = sources.map(({ column }) => (column === undefined ? undefined : pairsOf(column)));
    const live = new LiveCounts(index, (row) => {
      const found = pairs[Math.floor(row / CHUNK_ROWS)];
      return found === undefined ? undefined : { pairs: found, row: row % CHUNK_ROWS };
    });
    const parts = this.#byField.get(fieldId) ?? [];
    this.#byField.set(fieldId, [...parts, { index, live }]);
  }

  #indexedRows(fieldId: number): number {
    const last = this.#byField.get(fieldId)?.at(-1)?.index;
    return last === undefined ? 0 : last.firstRow + last.rowCount;
  }

  /** The chunks grouped by the index that covers them; the last part has those without one. */
  #parts(fieldId: number, chunks: readonly AllowedChunk[]): Part[] {
    const parts: Part[] = [];
    let at = 0;
    for (const indexed of this.#byField.get(fieldId) ?? []) {
      const start = at;
      while (at < chunks.length && chunks[at]!.chunk.firstRow < indexed.index.firstRow + indexed.index.rowCount) at++;
      if (at > start) parts.push({ indexed, chunks: chunks.slice(start, at) });
    }
    if (at < chunks.length) parts.push({ indexed: undefined, chunks: chunks.slice(at) });
    return parts;
  }
}

async function searchPart(
  { indexed, chunks }: Part,
  fieldId: number,
  query: SparseQuery,
  { top, band, pace }: { top: TopK; band: ScoreBand; pace: Pace },
): Promise<void> {
  if (indexed !== undefined) {
    const { index } = indexed;
    const allow = allowedIn(index, chunks);
    if (allow === null || !isScanCheaper(index, query, allow))
      return searchIndex(index, query, { top, band, allow, pace });
  }
  for (const { chunk, allow } of chunks) {
    const column = sparseColumn(chunk.batch, fieldId);
    if (column === undefined) continue;
    const rows = { pairs: pairsOf(column), firstRow: chunk.firstRow, rowCount: chunk.batch.rowCount };
    await scanRows(rows, query, { top, band, allow, pace });
  }
}

/** Whether the allowed rows have fewer pairs than the query's terms have postings. */
function isScanCheaper({ terms, starts, rows, rowCount }: SparseIndex, query: SparseQuery, allow: Bitset): boolean {
  let postings = 0;
  for (const term of query.terms) {
    const number = terms.find(term);
    if (number >= 0) postings += starts[number + 1]! - starts[number]!;
  }
  return (countBits(allow) * rows.length) / rowCount < postings;
}

/** Rows of an index that a read may return; null: all. The chunks may have had fewer rows when the read began. */
function allowedIn({ firstRow, rowCount }: SparseIndex, chunks: readonly AllowedChunk[]): Bitset | null {
  const readRows = chunks.reduce((sum, { chunk }) => sum + chunk.batch.rowCount, 0);
  if (readRows === rowCount && chunks.every(({ allow }) => allow === null)) return null;
  const bits = new Uint32Array(bitsetWords(rowCount));
  for (const { chunk, allow } of chunks)
    bits.set(allow ?? fullBitset(chunk.batch.rowCount), (chunk.firstRow - firstRow) >>> 5);
  return bits;
}
