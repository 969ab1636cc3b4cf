/** The index engine as the rest of the system sees it: files in, neighbours out, off the event loop. */
import type { Metric } from "../schema.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { GrowingIndex, GrowingIndexOptions } from "./growing-index.ts";
import type { IndexSpec, SearchParams } from "./index-params.ts";
import type { DenseVectors, DenseVectorType } from "./packed-vectors.ts";

/** What a file should contain; an engine refuses a file that differs. */
export interface IndexToLoad extends IndexSpec {
  metric: Metric;
  /** The type of the field that it was built from. Default FloatVector. */
  vectorType?: DenseVectorType;
  dimension: number;
  rows: number;
}

export interface Neighbours {
  /** Row-major [nq, k], best first; -1 where there are no more rows. */
  rows: Int32Array;
  /** Row-major [nq, k] as Milvus reports the metric: squared L2 ascending, IP and COSINE descending. Meaningless where rows is -1. */
  distances: Float32Array;
}

export interface SearchOptions {
  /** By the monotonic clock. */
  deadline?: number;
  /** The rows that may be found: bit (r & 31) of word (r >>> 5) is row r. Only if the engine has filters. */
  allow?: Bitset;
  /** Bits set in `allow`, where they are counted already. */
  allowedCount?: number;
  /** Only distances below this one (IP, COSINE: above). Only if the engine has filters. */
  radius?: number;
  /** Only distances of at least this one (IP, COSINE: at most). Only if the engine has filters. */
  rangeFilter?: number;
}

/** Exact search over vectors that lie in memory. None of the arrays may change before the search has ended. */
export interface ExactScan {
  metric: Metric;
  /** The type of queries and rows alike. Default FloatVector. */
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
  /** COSINE: the length of each row. Without it the lengths are computed, which doubles the cost. */
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
  /** Bytes of the index files loaded; extra copies opened for another search effort are not counted. */
  memoryBytes: number;
  queued: number;
  inFlight: number;
  searches: number;
  hostPid: number | null;
  /** How much the host's memory has grown since it loaded its indexes: leaks. */
  hostGrowthBytes: number;
  /** Hosts restarted because one died. */
  restarts: number;
  /** Hosts replaced because they had grown. */
  recycles: number;
}

export interface ExactScanner {
  /** The nearest rows of all blocks. Throws the same as `search`. */
  scanExact(scan: ExactScan): Promise<Neighbours>;
}

export interface SearchEngine extends ExactScanner, AsyncDisposable {
  /**
   * Opens an index file under a key chosen by the caller; the file must stay in place, unchanged, until unload.
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
  /** True: with a filter or a range a search finds k rows if there are k. False: it refuses both. */
  readonly hasFilter: boolean;
  /** Creates an index over growing rows, searched by this engine's threads; absent if the engine has none. */
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
 * A file that is mapped for reading. After disposal its bytes and all views of them are empty, and engines refuse to read them;
 * the mapping itself goes at once, or when the last search that reads it has ended.
 */
export interface MappedFile extends Disposable {
  readonly bytes: ArrayBuffer;
}

/**
 * An engine that searches index files in place, in the pages of the system's cache: slower, for data larger than memory.
 * Reading such a page may wait for the disk, so only the engine's threads do it, never the event loop.
 */
export interface MappedEngine extends SearchEngine {
  /** The file must not shrink, and its bytes must not be written. @throws VdbError unavailable */
  mapFile(path: string): MappedFile;
  /** Resolves when these rows have been read into memory, so that the event loop may read them. Throws the same as `search`. */
  touch(parts: readonly MappedRows[], deadline?: number): Promise<void>;
}
