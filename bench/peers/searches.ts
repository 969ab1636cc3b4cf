/** Searches of one peer at the smallest effort that reaches the recall: rate, latency and what was found. */
import { cpuSeconds } from "../cpu-time.ts";
import { BOUNDS, BUCKETS, K, type PeerData } from "./data-sets.ts";
import type { PeerSession, SearchEffort } from "./peer.ts";
import { recall } from "./truth.ts";
import { smallestEffort } from "./tune.ts";

/** The recall that a search must reach to count. */
const RECALL = 0.95;
const CLIENTS = [1, 8];
const THREADS = [1, 2];
const FRESH_ROWS = 200;
const FRESH_TIMEOUT_MS = 1000;
const WARM_UP_MS = 1000;
/** Queries that choose the effort; slow peers answer a hundred of them a second. */
const TUNING_QUERIES = 200;

export interface PeerSearch {
  /** Requests under way at a time, or threads of a library's batch. */
  clients: number;
  unit: "clients" | "threads";
  /** Percent of the rows that the filter keeps. */
  keeps: number;
  ef: number;
  recallAt10: number;
  qps: number;
  /** Processor time of all processes, this client's included, for one search. */
  cpuMs: number;
  /** Latency; for libraries that of single calls, and absent for batches on several threads. */
  p50Ms?: number;
  p99Ms?: number;
}

/** Without a filter at each number of clients or threads; with each filter at the largest number. */
export async function searchAll(session: PeerSession, data: PeerData, forMs: number): Promise<PeerSearch[]> {
  const results: PeerSearch[] = [];
  const loads = session.searchMany === undefined ? CLIENTS : THREADS;
  for (const below of session.filters ? BOUNDS : [BUCKETS]) {
    const effort = (ef: number) => ({ k: K, ef, ...(below === BUCKETS ? {} : { below }) });
    let ef = await tune(session, data, below);
    const run = session.searchMany === undefined ? searchAsClients : searchAsBatches;
    await run(session, data, { clients: loads.at(-1)!, forMs: Math.min(forMs, WARM_UP_MS), below, effort: effort(ef) });
    for (const clients of below === BUCKETS ? loads : loads.slice(-1)) {
      let found = await run(session, data, { clients, forMs, below, effort: effort(ef) });
      // The queries that chose the effort are a sample: all of them may need a little more.
      for (let retries = 0; found.recallAt10 < RECALL && retries < 3; retries++) {
        ef = Math.ceil(ef * 1.1);
        found = await run(session, data, { clients, forMs, below, effort: effort(ef) });
      }
      results.push(found);
    }
  }
  return results;
}

/** The smallest effort that reaches RECALL under a filter, by the first queries. */
export function tune(session: PeerSession, data: PeerData, below: number): Promise<number> {
  const filter = below === BUCKETS ? {} : { below };
  const queries = Math.min(TUNING_QUERIES, data.queries.length / data.dimension);
  return smallestEffort(RECALL, async (ef) => {
    let sum = 0;
    for (let q = 0; q < queries; q++) {
      sum += recall(await session.search(queryOf(data, q), { k: K, ef, ...filter }), data.truth(q, below));
    }
    return sum / queries;
  });
}

/** From the insert of one row until a search finds it, on an otherwise idle peer. */
export interface InsertToFound {
  p50Ms: number;
  p99Ms: number;
  /** Rows that the peer has but does not find: an approximate index may miss a row even at its own vector. */
  missed: number;
}

/** Adds rows one after the other, each at a query's place, and searches there. Nothing if the peer takes no single rows. */
export async function insertToFound(
  session: PeerSession,
  data: PeerData,
  ef: number,
): Promise<InsertToFound | undefined> {
  if (session.addOne === undefined) return undefined;
  const latencies: number[] = [];
  for (let i = 0; i < FRESH_ROWS; i++) {
    const row = data.rows + i;
    const started = performance.now();
    await session.addOne(row, queryOf(data, i));
    while (performance.now() - started < FRESH_TIMEOUT_MS) {
      const found = await session.search(queryOf(data, i), { k: K, ef });
      if (!Array.from(found).includes(row)) continue;
      latencies.push(performance.now() - started);
      break;
    }
  }
  return { ...percentiles(latencies), missed: FRESH_ROWS - latencies.length };
}

interface RunOptions {
  clients: number;
  forMs: number;
  below: number;
  effort: SearchEffort;
}

export async function searchAsClients(session: PeerSession, data: PeerData, options: RunOptions): Promise<PeerSearch> {
  const { clients, forMs, below, effort } = options;
  const count = data.queries.length / data.dimension;
  const latencies: number[] = [];
  let recalls = 0;
  let next = 0;
  const cpuBefore = cpuSeconds(process.pid);
  const started = performance.now();
  const one = async () => {
    while (performance.now() - started < forMs) {
      const query = next++ % count;
      const sent = performance.now();
      const found = await session.search(queryOf(data, query), effort);
      latencies.push(performance.now() - sent);
      recalls += recall(found, data.truth(query, below));
    }
  };
  await Promise.all(Array.from({ length: clients }, one));
  const seconds = (performance.now() - started) / 1000;
  const cpuMs = (1000 * (cpuSeconds(process.pid) - cpuBefore)) / latencies.length;
  return {
    ...{ clients, cpuMs, unit: "clients", keeps: keeps(below), ef: effort.ef },
    ...{ recallAt10: recalls / latencies.length, qps: latencies.length / seconds },
    ...percentiles(latencies),
  };
}

/** Whole batches for the rate; then, of one thread, single calls for the latency. */
async function searchAsBatches(session: PeerSession, data: PeerData, options: RunOptions): Promise<PeerSearch> {
  const { clients: threads, forMs, below, effort } = options;
  const count = data.queries.length / data.dimension;
  let found: ArrayLike<number>[] = [];
  // Once without counting: workers may have to start.
  await session.searchMany!(data.queries, { ...effort, threads });
  const cpuBefore = cpuSeconds(process.pid);
  const started = performance.now();
  let batches = 0;
  while (performance.now() - started < forMs) {
    found = await session.searchMany!(data.queries, { ...effort, threads });
    batches++;
  }
  const seconds = (performance.now() - started) / 1000;
  const cpuMs = (1000 * (cpuSeconds(process.pid) - cpuBefore)) / (batches * count);
  let recalls = 0;
  for (let q = 0; q < count; q++) recalls += recall(found[q] ?? [], data.truth(q, below));
  const single = threads === 1 ? await searchAsClients(session, data, { ...options, clients: 1 }) : undefined;
  return {
    ...{ clients: threads, cpuMs, unit: "threads", keeps: keeps(below), ef: effort.ef },
    ...{ recallAt10: recalls / count, qps: (batches * count) / seconds },
    ...(single === undefined ? {} : { p50Ms: single.p50Ms!, p99Ms: single.p99Ms! }),
  };
}

function queryOf({ queries, dimension }: PeerData, query: number): Float32Array {
  return queries.subarray(query * dimension, (query + 1) * dimension);
}

function keeps(below: number): number {
  return (100 * below) / BUCKETS;
}

function percentiles(latencies: number[]): { p50Ms: number; p99Ms: number } {
  latencies.sort((a, b) => a - b);
  const at = (p: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * p))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}
