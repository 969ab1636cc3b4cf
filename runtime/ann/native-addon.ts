/**
 * The addon that `npm run setup` compiles from native/: what it exports, and how it is loaded. Its calls take packed
 * numbers instead of objects, because reading a property costs more than searching a small list.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { projectRoot } from "../../scripts/setup/find-nats-server.mjs";
import { errorMessage } from "../errors.ts";
import type { DenseVectors } from "./packed-vectors.ts";

/** How a search has ended, in the array given to the engine. */
export const JOB_DONE = 0;
export const JOB_DEADLINE_EXCEEDED = 1;
export const JOB_CANCELED = 2;

export interface OpenedIndex {
  handle: number;
  type: string;
  metric: "L2" | "IP";
  dimension: number;
  rows: number;
  memoryBytes: number;
}

/** A pool of threads and what is open in it. Every array given stays the caller's: it keeps them until the search has ended. */
export interface AddonEngine {
  /**
   * @param isCosine inner products with rows that are not float32 are divided by the rows' lengths
   * @throws Error (by rejection) when the file is not a whole index, or there is no memory for it
   */
  open(path: string, isMapped: boolean, isCosine: boolean): Promise<OpenedIndex>;
  /** Searches that are under way finish. */
  forget(handle: number): void;
  /**
   * @param id comes back in the array of ends
   * @param header [k, radius, rangeFilter, deadlineMs, parts, then for each part handle, effort, normalises,
   *   allowedCount]; NaN: no radius, no range filter; allowedCount -1: not counted
   * @param allow for each part its bitset or null; null: no part has one
   * @param out room for row-major [parts, nq, k] row numbers (i32), then as many distances (f32)
   * @returns false when the queue is full
   */
  search(
    id: number,
    header: Float64Array,
    queries: DenseVectors,
    allow: readonly (Uint32Array | null)[] | null,
    out: ArrayBuffer,
  ): boolean;
  /**
   * @param header [k, radius, rangeFilter, deadlineMs, metric, dimension, blocks, then for each block firstRow,
   *   allowedCount]; metric 0 IP, 1 L2, 2 COSINE, 3 HAMMING, 4 JACCARD, 5 SUBSTRUCTURE, 6 SUPERSTRUCTURE, plus 16 times
   *   what the rows are: 0 float32, 1 float16, 2 bfloat16, 3 int8, 4 bits
   * @param queries float32, or bits
   * @param arrays for each block vectors, norms or null, bitset or null
   * @param out as for search, of one part
   * @returns false when the queue is full
   */
  scan(
    id: number,
    header: Float64Array,
    queries: DenseVectors,
    arrays: readonly (DenseVectors | Uint32Array | null)[],
    out: ArrayBuffer,
  ): boolean;
  /**
   * @param header [k, radius, rangeFilter, deadlineMs, rows, effort, allowedCount]: of the first `rows` rows, all indexed
   * @param allow their bitset or null
   * @param out as for search, of one part
   * @returns false when the queue is full
   */
  searchGrowing(
    id: number,
    header: Float64Array,
    queries: Float32Array,
    growing: AddonGrowingIndex,
    allow: Uint32Array | null,
    out: ArrayBuffer,
  ): boolean;
  /**
   * Has rows read by a thread, so that they are in memory.
   * @param header [deadlineMs, then for each part its bytes a row] @param arrays for each part vectors and row numbers
   * @returns false when the queue is full
   */
  touch(id: number, header: Float64Array, arrays: readonly (DenseVectors | Uint32Array)[]): boolean;
  /** Jobs that wait for a thread. */
  waiting(): number;
  takeError(id: number): string | undefined;
  /** Cancels what waits and says so, waits for the tasks that run (about a millisecond). */
  close(): void;
}

/** See growing-index.ts. Closed, it has no rows. */
export interface AddonGrowingIndex {
  add(vectors: Float32Array): number;
  rows(): number;
  indexedRows(): number;
  memoryBytes(): number;
  close(): void;
}

/** What to build and from what; the numbers have been checked. */
export interface BuildIndexFile {
  type: "HNSW" | "FLAT";
  metric: "L2" | "IP";
  /** COSINE: float32 rows are scaled to length 1; others keep theirs in the file. */
  normalises: boolean;
  /** What the rows are, in the file that is read and in that which is written. */
  element: "f32" | "f16" | "bf16" | "i8";
  dimension: number;
  rows: number;
  /** HNSW only, as the next two and the threads; ignored for FLAT. */
  M: number;
  efConstruction: number;
  /** What the file says a search takes that names none. */
  efSearch: number;
  threads: number;
  vectorsFile: string;
  /** Offset and length of each part of that file: one behind the other they are row-major [rows, dimension]. */
  parts: Float64Array;
  /** Written over. */
  outFile: string;
}

export interface NativeAddon {
  /** The distance kernels in use: avx512, avx2 or baseline. */
  readonly kernels: string;
  /** A file's bytes, mapped for reading: writing to them ends the process. Until they are unmapped, or collected. Throws an Error. */
  readonly mapFile: (path: string) => ArrayBuffer;
  /** The mapping ends at once, or with the last search that reads it. The buffer and its views are empty from now on. */
  readonly unmapFile: (mapped: ArrayBuffer) => void;
  /**
   * The list of so many numbers that begins at `start` of JSON text, into out[from...]: those that JSON.parse would give, rounded to 32 bits.
   * Returns the place behind its bracket; 0 when it is anything else, or not plain to round. Absent in an addon that was compiled before.
   */
  readonly readFloats?: (text: Uint8Array, start: number, out: Float32Array, from: number, count: number) => number;
  /** Off this thread. Rejects with an Error that says which file could not be read or written; out of memory. */
  readonly buildIndexFile: (options: BuildIndexFile, onProgress: (rowsDone: number) => void) => Promise<void>;
  readonly GrowingIndex: new (options: {
    metric: "L2" | "IP";
    normalises: boolean;
    dimension: number;
    capacity: number;
    M: number;
    efConstruction: number;
  }) => AddonGrowingIndex;
  /**
   * @param ends pairs of id and end are written here, then onEnds is called with their number
   * @param mayWait what is searched lies in mapped files: how long that takes is not known beforehand
   */
  readonly Engine: new (
    threads: number,
    queueMax: number,
    ends: Uint32Array,
    onEnds: (count: number) => void,
    mayWait?: boolean,
  ) => AddonEngine;
}

/** Where it is; VDB_NATIVE_ADDON names another build. */
export function nativeAddonPath(): string {
  return process.env.VDB_NATIVE_ADDON ?? join(projectRoot(), ".vdb-tools", "native", "vdb-native.node");
}

let loaded: NativeAddon | Error | undefined;

/** Loads it once for this thread. @returns the reason where it is not there or does not load */
export function loadNativeAddon(): NativeAddon | Error {
  loaded ??= tryToLoad();
  return loaded;
}

function tryToLoad(): NativeAddon | Error {
  try {
    return createRequire(import.meta.url)(nativeAddonPath()) as NativeAddon;
  } catch (error) {
    return new Error(`the native search engine does not load: ${errorMessage(error).split("\n")[0]}`);
  }
}
