/**
 * The addon that `npm run setup` compiles from native/: what it exports, and how it is loaded. Its calls take packed
 * numbers instead of objects: reading a property from C++ costs more than searching a small list.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { errorMessage } from "../errors.ts";
import { PROJECT_FOLDER } from "../version.ts";
import type { DenseVectors } from "./packed-vectors.ts";

/** How a search ended, in the array given to the engine. */
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

/** A pool of threads and its open indexes. Every array stays the caller's, who must keep it until the search has ended. */
export interface AddonEngine {
  /**
   * @param isCosine inner products with rows that are not float32 are divided by the rows' lengths
   * @throws Error (by rejection) when the file is not a whole index, or there is no memory for it
   */
  open(path: string, isMapped: boolean, isCosine: boolean): Promise<OpenedIndex>;
  /** Running searches finish. */
  forget(handle: number): void;
  /**
   * @param id comes back in the array of ends
   * @param header [k, radius, rangeFilter, deadlineMs, handle, effort, normalises, allowedCount]; NaN: no radius, no range
   *   filter; allowedCount -1: not counted
   * @param allow the rows' bitset or null
   * @param out room for row-major [nq, k] row numbers (i32), then as many distances (f32)
   * @returns false when the queue is full
   */
  search(id: number, header: Float64Array, queries: DenseVectors, allow: Uint32Array | null, out: ArrayBuffer): boolean;
  /**
   * @param header [k, radius, rangeFilter, deadlineMs, metric, dimension, blocks, then for each block firstRow,
   *   allowedCount]; metric 0 IP, 1 L2, 2 COSINE, 3 HAMMING, 4 JACCARD, 5 SUBSTRUCTURE, 6 SUPERSTRUCTURE, plus 16 times
   *   what the rows are: 0 float32, 1 float16, 2 bfloat16, 3 int8, 4 bits
   * @param queries float32, or bits
   * @param arrays for each block vectors, norms or null, bitset or null
   * @param out as for search
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
   * @param out as for search
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
   * Has a thread read rows, so that they are in memory.
   * @param header [deadlineMs, then for each part its bytes a row] @param arrays for each part vectors and row numbers
   * @returns false when the queue is full
   */
  touch(id: number, header: Float64Array, arrays: readonly (DenseVectors | Uint32Array)[]): boolean;
  /** Jobs waiting for a thread. */
  waiting(): number;
  takeError(id: number): string | undefined;
  /** Cancels and reports waiting jobs, waits for the running tasks (about a millisecond). */
  close(): void;
}

/** See growing-index.ts. Once closed it has no rows. */
export interface AddonGrowingIndex {
  add(vectors: Float32Array): number;
  rows(): number;
  indexedRows(): number;
  memoryBytes(): number;
  close(): void;
}

/** What to build, and from which input; the numbers have been checked. */
export interface BuildIndexFile {
  type: "HNSW" | "FLAT";
  metric: "L2" | "IP";
  /** COSINE: float32 rows are scaled to length 1; others keep their length in the file. */
  normalises: boolean;
  /** The type of the rows, in the input file and in the output file. */
  element: "f32" | "f16" | "bf16" | "i8";
  dimension: number;
  rows: number;
  /** Like the next two and the threads, only for HNSW; ignored for FLAT. */
  M: number;
  efConstruction: number;
  /** The search effort that the file states as its default. */
  efSearch: number;
  threads: number;
  vectorsFile: string;
  /** Offset and length of each part of that file: together they are row-major [rows, dimension]. */
  parts: Float64Array;
  /** Overwritten. */
  outFile: string;
}

export interface NativeAddon {
  /** The distance kernels in use: avx512, avx2 or baseline. */
  readonly kernels: string;
  /** Maps a file for reading, until it is unmapped or collected: writing to its bytes ends the process. Throws an Error. */
  readonly mapFile: (path: string) => ArrayBuffer;
  /** The mapping ends at once, or with the last search that reads it. The buffer and its views are empty from now on. */
  readonly unmapFile: (mapped: ArrayBuffer) => void;
  /**
   * Reads the list of `count` numbers at `start` of JSON text into out[from...]: those that JSON.parse would give, rounded to
   * 32 bits. Returns the position after its bracket; 0 when it is anything else, or hard to round. Absent in an addon of an
   * older version.
   */
  readonly readFloats?: (text: Uint8Array, start: number, out: Float32Array, from: number, count: number) => number;
  /** Runs off this thread. Rejects with an Error that says which file could not be read or written, or that memory ran out. */
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
   * @param mayWait the data is in mapped files: how long a search takes is not known beforehand
   */
  readonly Engine: new (
    threads: number,
    queueMax: number,
    ends: Uint32Array,
    onEnds: (count: number) => void,
    mayWait?: boolean,
  ) => AddonEngine;
}

/** Where scripts/setup/native.mjs puts it; VDB_NATIVE_ADDON names another build. */
export function nativeAddonPath(): string {
  return process.env.VDB_NATIVE_ADDON ?? join(PROJECT_FOLDER, ".vdb-tools", "native", "vdb-native.node");
}

let loaded: NativeAddon | Error | undefined;

/** Loads it once for this thread. @returns the reason if it is missing or does not load */
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
