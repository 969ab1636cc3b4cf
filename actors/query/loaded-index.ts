/**
 * An index of a loaded segment, open in the engine that searches in memory, or in the one that searches the mapped
 * file. It can move from one to the other while it is searched: a search ends where it began.
 */
import type { IndexToLoad, MappedEngine, Neighbours, SearchEngine, SearchOptions } from "../../runtime/ann/engine.ts";
import type { IndexSpec, SearchParams } from "../../runtime/ann/index-params.ts";
import type { DenseVectors } from "../../runtime/ann/packed-vectors.ts";
import type { PinnedFile } from "../../runtime/blob/disk-cache.ts";
import type { Metric } from "../../runtime/schema.ts";
import type { IndexedRows } from "../../runtime/search/segment-rows.ts";
import type { TopRows } from "../../runtime/topk.ts";
import type { Movable } from "./memory-budget.ts";
import type { MmapPolicy } from "./mmap-policy.ts";

export interface Engines {
  readonly engine: SearchEngine;
  /** Absent where nothing searches mapped files. */
  readonly mappedEngine?: MappedEngine | undefined;
}

export interface IndexFacts {
  readonly indexId: number;
  /** Its key in the engines, unique to this opening. */
  readonly key: string;
  readonly toLoad: IndexToLoad;
  /** Of the file. */
  readonly bytes: number;
  readonly policy: MmapPolicy;
  /** Absent: its rows are the segment's. */
  readonly indexed?: IndexedRows | undefined;
}

export class LoadedIndex implements Movable {
  readonly indexId: number;
  readonly policy: MmapPolicy;
  readonly copyBytes: number;
  readonly isSearched = true;
  readonly #engines: Engines;
  readonly #facts: IndexFacts;
  readonly #file: PinnedFile;
  #isClosed = false;
  isMapped: boolean;
  memoryBytes = 0;

  private constructor(engines: Engines, facts: IndexFacts, file: PinnedFile, isMapped: boolean) {
    this.indexId = facts.indexId;
    this.policy = facts.policy;
    this.copyBytes = facts.bytes;
    this.#engines = engines;
    this.#facts = facts;
    this.#file = file;
    this.isMapped = isMapped;
  }

  /** Owns the file afterwards, unless it throws. @throws VdbError corrupt, index_unsupported, and what engines throw */
  static async open(engines: Engines, facts: IndexFacts, file: PinnedFile, isMapped: boolean): Promise<LoadedIndex> {
    const index = new LoadedIndex(engines, facts, file, isMapped);
    const { memoryBytes } = await index.#engineOf(isMapped).load(facts.key, file.path, facts.toLoad);
    index.memoryBytes = memoryBytes + index.#beside;
    return index;
  }

  get spec(): IndexSpec {
    return this.#facts.toLoad;
  }

  get metric(): Metric {
    return this.#facts.toLoad.metric;
  }

  get rowCount(): number {
    return this.#facts.toLoad.rows;
  }

  /**
   * Which rows of the segment it has; undefined: all. Bitsets that it is given and rows that it finds are in its own
   * row numbers.
   */
  get indexed(): IndexedRows | undefined {
    return this.#facts.indexed;
  }

  get hasFilter(): boolean {
    return this.#engineOf(this.isMapped).hasFilter;
  }

  /** As SearchEngine's. */
  search(queries: DenseVectors, k: number, params: SearchParams, options?: SearchOptions): Promise<Neighbours> {
    return this.#engineOf(this.isMapped).search(this.#facts.key, queries, k, params, options);
  }

  async move(toMapped: boolean): Promise<void> {
    if (this.#isClosed || toMapped === this.isMapped) return;
    const { key, toLoad } = this.#facts;
    const { memoryBytes } = await this.#engineOf(toMapped).load(key, this.#file.path, toLoad);
    if (this.#isClosed) this.#engineOf(toMapped).unload(key);
    if (this.#isClosed) return;
    this.#engineOf(this.isMapped).unload(key);
    this.isMapped = toMapped;
    this.memoryBytes = memoryBytes + this.#beside;
  }

  get #beside(): number {
    return this.indexed?.present.memoryBytes ?? 0;
  }

  close(): void {
    this.#isClosed = true;
    this.#engineOf(this.isMapped).unload(this.#facts.key);
    this.#file[Symbol.dispose]();
  }

  #engineOf(isMapped: boolean): SearchEngine {
    return isMapped ? this.#engines.mappedEngine! : this.#engines.engine;
  }
}

/** Turns an index's row numbers into the segment's, in place. */
export function asSegmentRows(tops: TopRows[], indexed: IndexedRows | undefined): TopRows[] {
  for (const { rows } of tops) indexed?.present.toSegmentRows(rows);
  return tops;
}
