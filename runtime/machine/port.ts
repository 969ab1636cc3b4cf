/**
 * What a node does on its own machine: a cache of objects on local disk, and native code. Nothing of it outlives the
 * node in a way that matters: what is lost is fetched or built again.
 */
import type { MappedEngine, SearchEngine } from "../ann/engine.ts";
import type { IndexSpec } from "../ann/index-params.ts";
import type { DenseVectorType } from "../ann/packed-vectors.ts";
import type { DiskCache } from "../blob/disk-cache.ts";
import type { ObjectRef } from "../blob/port.ts";
import type { ImportOptions } from "../protocol/catalog.ts";
import type { CollectionSchema, Metric } from "../schema.ts";

/** One index to build: which vectors, which kind, and the name that its object gets. */
export interface IndexJob {
  /** The segment's object, with its rows. */
  segment: ObjectRef;
  fieldId: number;
  rowCount: number;
  dimension: number;
  /** Default FloatVector. */
  vectorType?: DenseVectorType;
  /** Rows may have no vector: they are not in the index. */
  isNullable?: boolean;
  spec: IndexSpec;
  metric: Metric;
  /** Of the object that is made. */
  objectName: string;
}

export interface BuiltFile {
  object: ObjectRef;
  /** Of the build alone. */
  seconds: number;
  /** In the index. 0: too few rows have a vector for one to be worth it, it is an index of nothing. */
  rows: number;
}

/** Fewer rows with a vector than these, in a segment of more rows, are scanned. */
export const PRESENT_ROWS_MIN = 256;

/** One file of an import to read. */
export interface ImportFileJob {
  /** As the user named it: a path below `data.importDir`, unless there is an object. Its ending tells the format. */
  name: string;
  object?: ObjectRef | undefined;
  options: ImportOptions;
  schema: CollectionSchema;
  shardCount: number;
  /** By partition key; 1: all rows go to one. */
  partitionCount: number;
  /** Of a segment. */
  targetBytes: number;
  /** In the segments' column of timestamps. */
  ts: bigint;
}

/** What reading a file needs of the node. */
export interface ImportHost {
  /** The first of so many ids that nobody else gets. */
  takeIds(count: number): Promise<number>;
  /** For a segment of the shard at this place of the collection's list: a name that no other object has. */
  newObjectName(shard: number): string;
  /** A segment has been stored; its rows are of the shard and the partition at these places of the collection's lists. */
  stored(segment: { shard: number; partition: number; rowCount: number; object: ObjectRef }): void;
}

export interface ImportReport {
  rows: number;
  fraction: number;
  /** Of the file. */
  bytes: number;
}

export interface Machine {
  /** One for a node: its query actor's. Disposed of by whoever opened it. */
  openObjectCache(): Promise<DiskCache>;
  /** One for each actor that searches. Disposed of by whoever opened it. */
  openEngine(): Promise<SearchEngine>;
  /** For files that are searched where they lie; undefined where nothing can. Disposed of by whoever opened it. */
  openMappedEngine?(): MappedEngine | undefined;
  /**
   * Reads the segment, builds in a process of its own, stores the file.
   * @param onProgress rows in the index so far, now and then
   * @throws VdbError corrupt when the segment is not what the job says; canceled; internal
   */
  buildIndex(job: IndexJob, signal: AbortSignal, onProgress?: (rowsDone: number) => void): Promise<BuiltFile>;
  /** Loads what analyzers of Chinese need, once and aside: their first text would hold up everybody else. Never rejects. */
  loadDictionary?(): Promise<void>;
  /**
   * Reads a file in a process of its own; every row is in a stored segment when it resolves.
   * @throws VdbError import_failed when the file is at fault; canceled, unavailable, internal otherwise
   */
  importFile(
    job: ImportFileJob,
    host: ImportHost,
    signal: AbortSignal,
    onProgress: (report: ImportReport) => void,
  ): Promise<{ rows: number; bytes: number }>;
}
