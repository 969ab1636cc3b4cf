/** The index engine as the rest of the system sees it: files in, neighbours out, off the event loop. */
import type { Metric } from "../schema.ts";
import type { IndexSpec, SearchParams } from "./index-params.ts";

/** What a file is said to be; an engine refuses a file that is not. */
export interface IndexToLoad extends IndexSpec {
  metric: Metric;
  dimension: number;
  rows: number;
}

export interface Neighbours {
  /** Row-major [nq, k], best first; -1 beyond what exists. */
  rows: Int32Array;
  /** Row-major [nq, k] as Milvus reports the metric: squared L2 ascending, IP and COSINE descending. Meaningless where rows is -1. */
  distances: Float32Array;
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

export interface SearchEngine extends AsyncDisposable {
  /**
   * Opens an index file under a key of the caller's; the file must stay where it is, unchanged, until unload.
   * @throws VdbError corrupt (the file is damaged, or is not what `index` says); not_ready (no host can be started now)
   */
  load(indexKey: string, file: string, index: IndexToLoad): Promise<{ memoryBytes: number }>;
  /** Idempotent. Searches that are under way on it may end with segment_not_loaded. */
  unload(indexKey: string): void;
  /**
   * @param queries row-major [nq, dimension]; copied
   * @param k at least 1; more than the index has rows is fine
   * @param params at least this effort is spent; absent: the index's default
   * @param deadline by the monotonic clock
   * @throws VdbError segment_not_loaded; deadline_exceeded; overloaded (the queue is full); canceled (disposed)
   */
  search(
    indexKey: string,
    queries: Float32Array,
    k: number,
    params: SearchParams,
    deadline?: number,
  ): Promise<Neighbours>;
  observe(): EngineObserved;
}
