/**
 * What a node does on its own machine: a cache of objects on local disk, and native code. Nothing of it outlives the
 * node in a way that matters: what is lost is fetched or built again.
 */
import type { SearchEngine } from "../ann/engine.ts";
import type { IndexSpec } from "../ann/index-params.ts";
import type { DiskCache } from "../blob/disk-cache.ts";
import type { ObjectRef } from "../blob/port.ts";
import type { Metric } from "../schema.ts";

/** One index to build: which vectors, which kind, and the name that its object gets. */
export interface IndexJob {
  /** The segment's object, with its rows. */
  segment: ObjectRef;
  fieldId: number;
  rowCount: number;
  dimension: number;
  spec: IndexSpec;
  metric: Metric;
  /** Of the object that is made. */
  objectName: string;
}

export interface Machine {
  /** One for a node: its query actor's. Disposed of by whoever opened it. */
  openObjectCache(): Promise<DiskCache>;
  /** One for each actor that searches. Disposed of by whoever opened it. */
  openEngine(): Promise<SearchEngine>;
  /**
   * Reads the segment, builds in a process of its own, stores the file. Seconds are those of the build alone.
   * @param onProgress rows in the index so far, now and then
   * @throws VdbError corrupt when the segment is not what the job says; canceled; internal
   */
  buildIndex(
    job: IndexJob,
    signal: AbortSignal,
    onProgress?: (rowsDone: number) => void,
  ): Promise<{ object: ObjectRef; seconds: number }>;
}
