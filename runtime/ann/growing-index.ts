/**
 * An HNSW over growing data: rows are added in order and numbered from 0. They are copied as they are added and linked by a
 * thread in the background, so the first `indexedRows` can always be searched; the caller searches later ones exactly. Searches
 * and additions do not wait for each other.
 *
 * Owns     the addon's index: address space for `capacity` rows, memory for those added
 * Invariants
 *   G1. indexedRows only grows, up to the rows added. A search covers exactly the rows that it was asked for.
 *   G2. A search under way is not harmed by close: its memory goes when it has ended.
 */
import type { Metric } from "../schema.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { Neighbours } from "./engine.ts";
import type { AddonGrowingIndex, NativeAddon } from "./native-addon.ts";

export interface GrowingIndexOptions {
  metric: Metric;
  dimension: number;
  /** Most rows that it will take; they cost nothing before they come. */
  capacity: number;
  /** Links a row. Default 16: 128 bytes a row on the lowest level, and about 5 above. */
  M?: number;
  /** Default 100: a third faster to link than with 200. */
  efConstruction?: number;
}

export interface GrowingSearch {
  /** The first so many rows are searched; at most indexedRows. */
  rows: number;
  /** Row-major [nq, dimension]; not to be changed before the search has ended. */
  queries: Float32Array;
  k: number;
  /** At least this effort is spent. Default: FAISS's own, or k. */
  ef?: number;
  /** The rows that may be found; absent: all. */
  allow?: Bitset;
  /** Bits set in `allow`, where they are counted already. */
  allowedCount?: number;
  /** By the monotonic clock. */
  deadline?: number;
  /** As in SearchOptions. */
  radius?: number;
  rangeFilter?: number;
}

export interface GrowingIndex extends Disposable {
  /**
   * Copies row-major vectors [count, dimension]; a millisecond for about 4 MB.
   * @returns rows taken: fewer than given once `capacity` is reached
   * @throws Error when closed, or when the vectors are no whole rows
   */
  add(vectors: Float32Array): number;
  readonly rows: number;
  readonly indexedRows: number;
  readonly memoryBytes: number;
  /**
   * The numbers of the k nearest of the first `rows` rows; also with a filter or a range k, if there are k.
   * @throws VdbError deadline_exceeded; overloaded (the engine's queue is full); canceled (the engine is disposed of)
   */
  search(search: GrowingSearch): Promise<Neighbours>;
  /** Idempotent. */
  close(): void;
}

/** Searches on the threads of an engine. */
export type SearchGrowing = (
  growing: AddonGrowingIndex,
  dimension: number,
  search: GrowingSearch,
) => Promise<Neighbours>;

const M_DEFAULT = 16;
const EF_CONSTRUCTION_DEFAULT = 100;

/** @throws Error when there is no address space for so many rows */
export function createGrowingIndex(
  addon: NativeAddon,
  options: GrowingIndexOptions,
  searchGrowing: SearchGrowing,
): GrowingIndex {
  const { metric, dimension, capacity, M = M_DEFAULT, efConstruction = EF_CONSTRUCTION_DEFAULT } = options;
  const growing = new addon.GrowingIndex({
    metric: metric === "L2" ? "L2" : "IP",
    normalises: metric === "COSINE",
    ...{ dimension, capacity, M, efConstruction },
  });
  return {
    add: (vectors) => growing.add(vectors),
    get rows() {
      return growing.rows();
    },
    get indexedRows() {
      return growing.indexedRows();
    },
    get memoryBytes() {
      return growing.memoryBytes();
    },
    search: (search) => searchGrowing(growing, dimension, search),
    close: () => growing.close(),
    [Symbol.dispose]: () => growing.close(),
  };
}
