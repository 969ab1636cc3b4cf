/**
 * What makes filters on a segment faster, kept beside its columns for the segment's life: tokens of its texts, scalar indexes,
 * value filters, and the rows that the newest filters left. All of it can be rebuilt from the columns, so it is dropped when
 * memory runs short.
 */
import type { FilterPlan } from "../expr/plan.ts";
import { forgetTokens, keepTokens, newTokenColumn, type TokenColumn, tokenColumnBytes } from "../expr/token-column.ts";
import type { BytesColumn, Column } from "../segment/column.ts";
import type { Segment } from "../segment/segment.ts";
import type { ChunkIndex } from "./chunk-index.ts";
import { KeptRows } from "./kept-rows.ts";
import type { ValueFilter } from "./value-filter.ts";

/** Most indexes per chunk of a segment, those without room included: the oldest are dropped. */
export const INDEXES_A_CHUNK = 64;

/** Asked before an index is built: whether there is room for that many more bytes. */
export type MayTake = (bytes: number) => boolean;

/** A filter of a chunk's values; null: it had no room. */
interface KeptFilter {
  readonly column: Column;
  readonly filter: ValueFilter | null;
}

/** Counts chunks that filters were asked about. */
export interface FilterTally {
  /** Those that had to be evaluated. */
  chunksRead: number;
  /** Those known beforehand to have no matching row. */
  chunksSkipped: number;
}

export class SegmentCache {
  readonly tally: FilterTally;
  /** Null while the columns still change: such segments have tokens but no indexes. */
  readonly mayTake: MayTake | null;
  readonly keptRows: KeptRows;
  /** By chunk, field and analyzer. */
  readonly #tokens = new Map<string, { tokens: TokenColumn; column: BytesColumn }>();
  /** By chunk and what is indexed; null: this one cannot be, or had no room. */
  readonly #indexes = new Map<string, ChunkIndex | null>();
  #indexBytes = 0;
  #chunkCount = 0;
  /** By field and chunk, with the column that it was made of; null: it had no room. */
  readonly #valueFilters = new Map<number, KeptFilter[]>();
  #filterBytes = 0;
  /** By field, the filter that named a value of it first. */
  readonly #askedFirst = new Map<number, WeakRef<FilterPlan>>();

  constructor(mayTake: MayTake | null, tally: FilterTally = { chunksRead: 0, chunksSkipped: 0 }) {
    this.mayTake = mayTake;
    this.keptRows = new KeptRows(mayTake);
    this.tally = tally;
  }

  get indexCount(): number {
    return this.#indexes.size;
  }

  get bytes(): number {
    let bytes = this.#indexBytes + this.#filterBytes + this.keptRows.bytes;
    for (const { tokens } of this.#tokens.values()) bytes += tokenColumnBytes(tokens);
    return bytes;
  }

  /** The tokens of a chunk's texts so far, perhaps of fewer rows than the column has. From now on the column finds them. */
  tokens(chunk: number, fieldId: number, column: BytesColumn, analyzerParams: string | undefined): TokenColumn {
    const key = `${chunk} ${fieldId} ${analyzerParams ?? ""}`;
    const tokens = this.#tokens.get(key)?.tokens ?? newTokenColumn();
    this.#tokens.set(key, { tokens, column });
    keepTokens(column, analyzerParams, tokens);
    return tokens;
  }

  /** Undefined: not built yet. */
  index(chunk: number, what: string): ChunkIndex | null | undefined {
    return this.#indexes.get(`${chunk} ${what}`);
  }

  keepIndex(chunk: number, what: string, index: ChunkIndex | null): void {
    const key = `${chunk} ${what}`;
    this.#drop(key);
    this.#indexBytes += index?.bytes ?? 0;
    this.#indexes.set(key, index);
    this.#chunkCount = Math.max(this.#chunkCount, chunk + 1);
    // Filters may name ever new paths, few of which come again.
    if (this.#indexes.size > INDEXES_A_CHUNK * this.#chunkCount) this.#drop(this.#indexes.keys().next().value!);
  }

  #drop(key: string): void {
    const index = this.#indexes.get(key);
    if (index === undefined) return;
    this.#indexBytes -= index?.bytes ?? 0;
    this.#indexes.delete(key);
  }

  /** Undefined: not built yet for this column. */
  valueFilter(chunk: number, fieldId: number, column: Column): ValueFilter | null | undefined {
    const kept = this.#valueFilters.get(fieldId)?.[chunk];
    // Columns are replaced when a field with a default was added.
    return kept?.column === column ? kept.filter : undefined;
  }

  keepValueFilter(chunk: number, fieldId: number, kept: KeptFilter): void {
    let ofField = this.#valueFilters.get(fieldId);
    if (ofField === undefined) {
      ofField = [];
      this.#valueFilters.set(fieldId, ofField);
    }
    this.#filterBytes += (kept.filter?.byteLength ?? 0) - (ofField[chunk]?.filter?.byteLength ?? 0);
    ofField[chunk] = kept;
  }

  /**
   * Whether another filter has named a value of the field before: only then is it worth doing what takes longer than reading
   * the rows once.
   */
  isAskedAgain(fieldId: number, filter: FilterPlan): boolean {
    const first = this.#askedFirst.get(fieldId);
    if (first === undefined) this.#askedFirst.set(fieldId, new WeakRef(filter));
    return first !== undefined && first.deref() !== filter;
  }

  /** Returns the number of bytes freed. Running readers keep what they have. */
  clear(): number {
    const freed = this.bytes;
    for (const { column } of this.#tokens.values()) forgetTokens(column);
    this.#tokens.clear();
    this.#indexes.clear();
    this.#indexBytes = 0;
    this.#valueFilters.clear();
    this.#filterBytes = 0;
    this.keptRows.clear();
    return freed;
  }
}

const caches = new WeakMap<Segment, SegmentCache>();

export function cacheOf(segment: Segment): SegmentCache {
  let cache = caches.get(segment);
  if (cache === undefined) {
    cache = new SegmentCache(null);
    caches.set(segment, cache);
  }
  return cache;
}

/** Allows indexes for a segment whose rows are complete, as far as there is room. @param tally counts for many segments */
export function allowIndexes(segment: Segment, mayTake: MayTake, tally?: FilterTally): SegmentCache {
  const cache = new SegmentCache(mayTake, tally);
  caches.set(segment, cache);
  return cache;
}
