/** The index engine as the rest of the system sees it: files in, neighbours out, off the event loop. */
import type { Metric } from "../schema.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { GrowingIndex, GrowingIndexOptions } from "./growing-index.ts";
import type { IndexSpec, SearchParams } from "./index-params.ts";
import type { DenseVectors, DenseVectorType } from "./packed-vectors.ts";

/** What a file is said to be; an engine refuses a file that is not. */
export interface IndexToLoad extends IndexSpec {
  metric: Metric;
  /** Of the field that it was built from. Default FloatVector. */
  vectorType?: DenseVectorType;
  dimension: number;
  rows: number;
}

export interface Neighbours {
  /** Row-major [nq, k], best first; -1 beyond what exists. */
  rows: Int32Array;
  /** Row-major [nq, k] as Milvus reports the metric: squared L2 ascending, IP and COSINE descending. Meaningless where rows is -1. */
  distances: Float32Array;
}

export interface SearchOptions {
  /** By the monotonic clock. */
  deadline?: number;
  /** The rows that may be found: bit (r & 31) of word (r >>> 5) is row r. Only where the engine has filters. */
  allow?: Bitset;
  /** Bits set in `allow`, where they are counted already. */
  allowedCount?: number;
  /** Only distances up to (IP, COSINE: down to) but without this one. Only where the engine has filters. */
  radius?: number;
  /** Only distances from (IP, COSINE: up to and with) this one on. Only where the engine has filters. */
  rangeFilter?: number;
}

/** One of the indexes of a search of many. */
export interface SearchPart {
  indexKey: string;
  allow?: Bitset;
  allowedCount?: number;
}

/** Exact search over vectors that lie in memory. None of the arrays may change before the search has ended. */
export interface ExactScan {
  metric: Metric;
  /** Of queries and rows alike. Default FloatVector. */
  vectorType?: DenseVectorType;
  dimension: number;
  /** Row-major [nq, dimension]. */
  queries: DenseVectors;
  k: number;
  blocks: readonly ExactBlock[];
  deadline?: number;
  radius?: number;
  rangeFilter?: number;
}

export interface ExactBlock {
  /** Row-major [rows, dimension]. */
  vectors: DenseVectors;
  /** COSINE: the length of each row, which is otherwise computed on the way and costs as much again. */
  norms?: Float32Array;
  /** Null: all. */
  allow: Bitset | null;
  /** Bits set in `allow`, where they are counted already. */
  allowedCount?: number;
  /** Added to row numbers. */
  firstRow: number;
}

export interface EngineObserved {
  indexes: number;
  /** Of the index files loaded; extra copies opened for another search effort are not counted. */
  memoryBytes: number;
  queued: number;
  inFlight: number;
  searches: number;
  hostPid: number | null;
  /** What the host's memory has grown by since it loaded its indexes: leaks. */
  hostGrowthBytes: number;
  /** Hosts started again because one died. */
  restarts: number;
  /** Hosts replaced because they had grown. */
  recycles: number;
}

export interface ExactScanner {
  /** The nearest rows of all blocks. Throws what `search` does. */
  scanExact(scan: ExactScan): Promise<Neighbours>;
}

export interface SearchEngine extends ExactScanner, AsyncDisposable {
  /**
   * Opens an index file under a key of the caller's; the file must stay where it is, unchanged, until unload.
   * @throws VdbError corrupt (the file is damaged, or is not what `index` says); not_ready (no host can be started now)
   */
  load(indexKey: string, file: string, index: IndexToLoad): Promise<{ memoryBytes: number }>;
  /** Idempotent. Searches that are under way on it may end with segment_not_loaded. */
  unload(indexKey: string): void;
  /**
   * @param queries row-major [nq, dimension], of the index's vector type; not to be changed before the search has ended
   * @param k at least 1; more than the index has rows is fine
   * @param params at least this effort is spent; absent: the index's default
   * @throws VdbError segment_not_loaded; deadline_exceeded; overloaded (the queue is full); canceled (disposed);
   *   unimplemented (a filter, and the engine has none)
   */
  search(
    indexKey: string,
    queries: DenseVectors,
    k: number,
    params: SearchParams,
    options?: SearchOptions,
  ): Promise<Neighbours>;
  /** True: with a filter or a range a search finds k rows whenever there are k. False: it refuses both. */
  readonly hasFilter: boolean;
  /** The same queries on many indexes in one call: row-major [parts, nq, k]. Throws what `search` does. */
  searchParts?(
    parts: readonly SearchPart[],
    queries: DenseVectors,
    k: number,
    params: SearchParams,
    options?: Omit<SearchOptions, "allow" | "allowedCount">,
  ): Promise<Neighbours>;
  /** An index over rows that keep coming, searched by this engine's threads; absent where the engine has none. */
  createGrowingIndex?(options: GrowingIndexOptions): GrowingIndex;
  observe(): EngineObserved;
}

/** Rows of vectors that lie in a mapped file. */
export interface MappedRows {
  /** Row-major. */
  readonly vectors: DenseVectors;
  readonly rowBytes: number;
  readonly rows: Uint32Array;
}

/**
 * A file that is mapped for reading. Disposed of, its bytes and all views of them are empty, and what an engine is asked to
 * read of them it refuses; the mapping itself is gone at once, or when the last search that reads it has ended.
 */
export interface MappedFile extends Disposable {
  readonly bytes: ArrayBuffer;
}

/**
 * An engine that searches index files as they lie on the disk, in the pages of the system's cache: slower, for data larger
 * than memory. Whoever reads such a page may wait for the disk; that is for the engine's threads, never for the event loop.
 */
export interface MappedEngine extends SearchEngine {
  /** The file must not shrink, and its bytes not be written to. @throws VdbError unavailable */
  mapFile(path: string): MappedFile;
  /** Resolves when these rows have been read into memory: the event loop may look at them now. Throws what `search` does. */
  touch(parts: readonly MappedRows[], deadline?: number): Promise<void>;
}
