/**
 * The interface of a peer: one file here for each, and nothing about a peer elsewhere. A database answers requests, many at a
 * time; a library searches on the caller's threads.
 */
import type { PeerData } from "./data-sets.ts";

export const M = 16;
export const EF_CONSTRUCTION = 200;

export interface Peer {
  readonly name: string;
  /** One line on what is compared: version, kind of index, settings that matter. */
  describe(): string;
  /** Why it cannot run on this machine; undefined when it can. */
  missing(): Promise<string | undefined>;
  open(data: PeerData, threads: number): Promise<PeerSession>;
}

/** An empty collection. `load` and `buildIndex` are called once each, in this order. */
export interface PeerSession {
  /** Adds all rows with their scalar fields; resolves when they are durable. Absent if loading builds the index. */
  load?(): Promise<void>;
  /** Resolves when every row is found through the index. */
  buildIndex(): Promise<void>;
  /** Row numbers, best first. Many may be under way at a time. */
  search(query: Float32Array, options: SearchEffort): Promise<ArrayLike<number>>;
  /** A library's own way to answer many queries on `threads` threads; row numbers of each, best first. */
  searchMany?(queries: Float32Array, options: SearchEffort & { threads: number }): Promise<ArrayLike<number>[]>;
  /** Adds one more row, whose bucket is 0; resolves when it is durable. Called after everything else; absent in libraries. */
  addOne?(row: number, vector: Float32Array): Promise<void>;
  /** False: `below` is refused. */
  readonly filters: boolean;
  close(): Promise<void>;
}

export interface SearchEffort {
  k: number;
  /** Candidates kept during the search; what a peer calls ef, ef_search or expansion. */
  ef: number;
  /** Only rows whose bucket is below it. */
  below?: number;
  /** And not below this one; absent: 0. The comparison does not use it, and all peers but vdb-actor ignore it. */
  from?: number;
}
