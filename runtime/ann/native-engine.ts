/**
 * The search engine of native/: searches FAISS's index files on threads of this process with our own code.
 *
 * Owns     the addon's engine (its threads, its open indexes), the searches under way
 * Invariants
 *   N1. Every array that the addon reads or writes is referenced here until its search has ended.
 *   N2. Every search ends: with its neighbours, or an error. One whose deadline passes before it starts never runs.
 */
import type { Clock } from "../clock.ts";
import { errorMessage, VdbError } from "../errors.ts";
import type { Metric } from "../schema.ts";
import type {
  EngineObserved,
  ExactScan,
  IndexToLoad,
  MappedEngine,
  MappedFile,
  MappedRows,
  Neighbours,
  SearchOptions,
} from "./engine.ts";
import {
  createGrowingIndex,
  type GrowingIndex,
  type GrowingIndexOptions,
  type GrowingSearch,
} from "./growing-index.ts";
import { checkFileIsIndex } from "./index-file.ts";
import { defaultEffort, type EngineIndexType, type SearchParams } from "./index-params.ts";
import {
  type AddonEngine,
  type AddonGrowingIndex,
  JOB_CANCELED,
  JOB_DEADLINE_EXCEEDED,
  JOB_DONE,
  type NativeAddon,
  type OpenedIndex,
} from "./native-addon.ts";
import { asFloat32, type DenseVectors, type DenseVectorType } from "./packed-vectors.ts";
import { deadlineExceeded, notLoaded, stopped } from "./pending-search.ts";

export interface NativeEngineOptions {
  addon: NativeAddon;
  clock: Clock;
  /** How many tasks run at the same time. */
  threads: number;
  /** Search the pages of index files instead of a copy: slower, for data larger than memory. */
  mapped?: boolean;
  /** Jobs that may wait for a thread. */
  queueMax?: number;
}

/**
 * With more waiting, callers are told to slow down. A search is one job for each of its segments, and the callers already bound
 * searches and their waiting: this bound is only a safety net.
 */
const QUEUE_MAX = 16_384;

/** Ends reported in one call. */
const ENDS_MAX = 256;

/** FAISS's own default; less gains nothing. */
const EF_MIN = 16;

const METRIC_CODES: Readonly<Partial<Record<Metric, number>>> = {
  ...{ IP: 0, L2: 1, COSINE: 2 },
  ...{ HAMMING: 3, JACCARD: 4, SUBSTRUCTURE: 5, SUPERSTRUCTURE: 6 },
};

/** Codes of the rows' type, sent times 16 together with the metric's code in one number. */
const ELEMENT_CODES: Readonly<Record<DenseVectorType, number>> = {
  FloatVector: 0,
  Float16Vector: 1,
  BFloat16Vector: 2,
  Int8Vector: 3,
  BinaryVector: 4,
};

interface Placed {
  opened: OpenedIndex;
  index: IndexToLoad;
}

interface Pending {
  resolve: (found: Neighbours) => void;
  reject: (error: Error) => void;
  out: ArrayBuffer;
  /** Arrays that the addon reads. */
  held: unknown;
}

export function createNativeEngine(options: NativeEngineOptions): MappedEngine {
  return new NativeEngine(options);
}

class NativeEngine implements MappedEngine {
  readonly hasFilter = true;
  readonly #addon: NativeAddon;
  readonly #clock: Clock;
  readonly #isMapped: boolean;
  readonly #queueMax: number;
  readonly #engine: AddonEngine;
  readonly #ends = new Uint32Array(2 * ENDS_MAX);
  readonly #placed = new Map<string, Placed>();
  readonly #pending = new Map<number, Pending>();
  /** Read by the addon before a call returns, so one serves all calls. */
  #header = new Float64Array(64);
  #nextId = 1;
  #searches = 0;
  #isStopped = false;

  constructor({ addon, clock, threads, mapped = false, queueMax = QUEUE_MAX }: NativeEngineOptions) {
    this.#addon = addon;
    this.#clock = clock;
    this.#isMapped = mapped;
    this.#queueMax = queueMax;
    this.#engine = new addon.Engine(threads, queueMax, this.#ends, (count) => this.#onEnds(count), mapped);
  }

  // ---- indexes

  async load(indexKey: string, file: string, index: IndexToLoad): Promise<{ memoryBytes: number }> {
    if (this.#isStopped) throw stopped();
    const opened = await this.#open(file, index.metric === "COSINE");
    try {
      checkFileIsIndex({ ...opened, type: opened.type as EngineIndexType }, index);
      if (this.#isStopped) throw stopped();
    } catch (error) {
      this.#forget(opened.handle);
      throw error;
    }
    this.unload(indexKey);
    this.#placed.set(indexKey, { opened, index });
    return { memoryBytes: opened.memoryBytes };
  }

  async #open(file: string, isCosine: boolean): Promise<OpenedIndex> {
    try {
      return await this.#engine.open(file, this.#isMapped, isCosine);
    } catch (error) {
      const message = errorMessage(error);
      if (this.#isStopped) throw stopped();
      if (message.includes("queue is full")) throw new VdbError("overloaded", `index file ${file}: ${message}`);
      if (message.includes("bad_alloc")) {
        throw new VdbError("memory_limit", `there is no memory for index file ${file}`, { cause: error });
      }
      throw new VdbError("corrupt", `index file ${file} ${message}`, { cause: error });
    }
  }

  unload(indexKey: string): void {
    const placed = this.#placed.get(indexKey);
    if (placed === undefined) return;
    this.#placed.delete(indexKey);
    this.#forget(placed.opened.handle);
  }

  #forget(handle: number): void {
    if (!this.#isStopped) this.#engine.forget(handle);
  }

  // ---- mapped files

  mapFile(path: string): MappedFile {
    try {
      const bytes = this.#addon.mapFile(path);
      return { bytes, [Symbol.dispose]: () => this.#addon.unmapFile(bytes) };
    } catch (error) {
      throw new VdbError("unavailable", `file ${path} ${errorMessage(error)}`, { cause: error });
    }
  }

  async touch(parts: readonly MappedRows[], deadline = Number.POSITIVE_INFINITY): Promise<void> {
    if (parts.length === 0) return;
    if (this.#isStopped) throw stopped();
    const header = Float64Array.of(deadline - this.#clock.monotonic(), ...parts.map(({ rowBytes }) => rowBytes));
    if (header[0]! <= 0) throw deadlineExceeded();
    const arrays = parts.flatMap(({ vectors, rows }) => [vectors, rows]);
    const id = this.#nextSearchId();
    await this.#wait(id, this.#engine.touch(id, header, arrays), new ArrayBuffer(0), arrays);
  }

  // ---- searches

  async search(
    indexKey: string,
    given: DenseVectors,
    k: number,
    params: SearchParams,
    options: SearchOptions = {},
  ): Promise<Neighbours> {
    const { allow = null, allowedCount = -1 } = options;
    const header = this.#startHeader(8, k, options);
    const placed = this.#placed.get(indexKey);
    if (placed === undefined) throw notLoaded(indexKey);
    const { index, opened } = placed;
    const { dimension, vectorType = "FloatVector" } = index;
    header[4] = opened.handle;
    header[5] = effortOf(index, params);
    header[6] = index.metric === "COSINE" ? 1 : 0;
    header[7] = allowedCount;
    const queries = engineQueries(vectorType, given);
    const out = roomFor(queries, vectorType, dimension, k);
    const id = this.#nextSearchId();
    const isTaken = this.#engine.search(id, header, queries, allow, out);
    return this.#wait(id, isTaken, out, [queries, allow]);
  }

  async scanExact(scan: ExactScan): Promise<Neighbours> {
    const { blocks, k, dimension, metric, vectorType = "FloatVector" } = scan;
    const code = METRIC_CODES[metric];
    if (code === undefined) throw new Error(`metric ${metric} is none of dense vectors`);
    const queries = engineQueries(vectorType, scan.queries);
    const header = this.#startHeader(7 + 2 * blocks.length, k, scan);
    header[4] = code + 16 * ELEMENT_CODES[vectorType];
    header[5] = dimension;
    header[6] = blocks.length;
    let at = 7;
    const arrays: (DenseVectors | Uint32Array | null)[] = [];
    for (const { vectors, norms = null, allow, allowedCount = -1, firstRow } of blocks) {
      header[at++] = firstRow;
      header[at++] = allowedCount;
      arrays.push(vectors, norms, allow);
    }
    const out = roomFor(queries, vectorType, dimension, k);
    const id = this.#nextSearchId();
    const isTaken = this.#engine.scan(id, header, queries, arrays, out);
    return this.#wait(id, isTaken, out, [queries, arrays]);
  }

  createGrowingIndex(options: GrowingIndexOptions): GrowingIndex {
    return createGrowingIndex(this.#addon, options, (growing, dimension, search) =>
      this.#searchGrowing(growing, dimension, search),
    );
  }

  async #searchGrowing(growing: AddonGrowingIndex, dimension: number, search: GrowingSearch): Promise<Neighbours> {
    const { rows, queries, k, ef = EF_MIN, allow = null, allowedCount = -1 } = search;
    const header = this.#startHeader(7, k, search);
    header[4] = rows;
    header[5] = Math.max(EF_MIN, ef);
    header[6] = allowedCount;
    const out = roomFor(queries, "FloatVector", dimension, k);
    const id = this.#nextSearchId();
    const isTaken = this.#engine.searchGrowing(id, header, queries, growing, allow, out);
    return this.#wait(id, isTaken, out, [queries, allow]);
  }

  /** @throws VdbError canceled, deadline_exceeded */
  #startHeader(length: number, k: number, options: Pick<SearchOptions, "deadline" | "radius" | "rangeFilter">) {
    if (this.#isStopped) throw stopped();
    if (this.#header.length < length) this.#header = new Float64Array(2 * length);
    const { deadline = Number.POSITIVE_INFINITY, radius = NaN, rangeFilter = NaN } = options;
    const deadlineMs = deadline === Number.POSITIVE_INFINITY ? deadline : deadline - this.#clock.monotonic();
    if (deadlineMs <= 0) throw deadlineExceeded();
    const header = this.#header;
    header[0] = k;
    header[1] = radius;
    header[2] = rangeFilter;
    header[3] = deadlineMs;
    return header;
  }

  /** Ids are 32-bit; one still in use after four billion others would be a search that never ended. */
  #nextSearchId(): number {
    const id = this.#nextId;
    this.#nextId = (id + 1) >>> 0;
    return id;
  }

  #wait(id: number, isTaken: boolean, out: ArrayBuffer, held: unknown): Promise<Neighbours> {
    if (!isTaken) {
      throw new VdbError("overloaded", `${this.#queueMax} searches already wait for a thread, try again later`);
    }
    this.#searches++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, out, held });
    });
  }

  /** Called by the addon for searches that have ended. */
  #onEnds(count: number): void {
    for (let i = 0; i < count; i++) {
      const id = this.#ends[2 * i]!;
      const end = this.#ends[2 * i + 1]!;
      const pending = this.#pending.get(id);
      if (pending === undefined) continue;
      this.#pending.delete(id);
      if (end === JOB_DONE) pending.resolve(neighboursIn(pending.out));
      else pending.reject(this.#endError(id, end));
    }
  }

  #endError(id: number, end: number): Error {
    if (end === JOB_DEADLINE_EXCEEDED) return deadlineExceeded();
    if (end === JOB_CANCELED) return stopped();
    return new VdbError("internal", `search failed: ${this.#engine.takeError(id) ?? "for an unknown reason"}`);
  }

  observe(): EngineObserved {
    let memoryBytes = 0;
    for (const { opened } of this.#placed.values()) memoryBytes += opened.memoryBytes;
    const queued = this.#isStopped ? 0 : this.#engine.waiting();
    return {
      indexes: this.#placed.size,
      memoryBytes,
      queued,
      inFlight: Math.max(0, this.#pending.size - queued),
      searches: this.#searches,
      hostPid: null,
      hostGrowthBytes: 0,
      restarts: 0,
      recycles: 0,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#engine.close();
  }
}

/** At least the requested effort; the addon itself raises it to k. */
function effortOf(index: IndexToLoad, { ef, nprobe }: SearchParams): number {
  if (index.type === "FLAT") return 0;
  return index.type === "HNSW" ? Math.max(EF_MIN, ef ?? defaultEffort(index)) : (nprobe ?? defaultEffort(index));
}

/** Queries as the addon takes them: numbers as float32, bits as they are. */
function engineQueries(vectorType: DenseVectorType, queries: DenseVectors): DenseVectors {
  return vectorType === "BinaryVector" ? queries : asFloat32(vectorType, queries);
}

function roomFor(queries: DenseVectors, vectorType: DenseVectorType, dimension: number, k: number): ArrayBuffer {
  const nq = queries.length / (vectorType === "BinaryVector" ? dimension / 8 : dimension);
  if (!Number.isInteger(nq) || nq === 0 || !(Number.isInteger(k) && k >= 1)) {
    throw new Error(`search with ${queries.length} numbers at dimension ${dimension}, k ${k}`);
  }
  return new ArrayBuffer(nq * k * 8);
}

function neighboursIn(out: ArrayBuffer): Neighbours {
  const cells = out.byteLength / 8;
  return { rows: new Int32Array(out, 0, cells), distances: new Float32Array(out, 4 * cells, cells) };
}
