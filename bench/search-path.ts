/**
 * What a search costs in one process, and where: rate, latency, processor time of JavaScript's thread and of the others (the
 * engine's, the collector's helpers), how long JavaScript's thread waits for a core, and garbage collections. `--data NAME` (of
 * bench:peers), `--clients N,N`, `--ef N`, `--seconds N` for each; `--below N,N` (filters that keep N of 1000, each by itself),
 * `--filters N,N` (this many different filters of that width, in turn; 1: always the same).
 */
import { readdirSync, readFileSync } from "node:fs";
import { PerformanceObserver } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { BUCKETS, dataSet, K, readPeerData } from "./peers/data-sets.ts";
import type { SearchEffort } from "./peers/peer.ts";
import { vdbInProcess } from "./peers/vdb.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: "l2-128" },
    clients: { type: "string", default: "1,8,16" },
    ef: { type: "string", default: "50" },
    below: { type: "string", default: String(BUCKETS) },
    filters: { type: "string", default: "1" },
    seconds: { type: "string", default: "3" },
  },
});

const WARM_UP_MS = 3_000;

interface ThreadTimes {
  /** Microseconds: on a core, and waiting for one. */
  mainRuns: number;
  mainWaits: number;
  othersRun: number;
}

function threadTimes(): ThreadTimes {
  const times: ThreadTimes = { mainRuns: 0, mainWaits: 0, othersRun: 0 };
  for (const thread of readdirSync("/proc/self/task")) {
    const [runs = 0, waits = 0] = readFileSync(`/proc/self/task/${thread}/schedstat`, "utf8").split(" ").map(Number);
    if (Number(thread) === process.pid) Object.assign(times, { mainRuns: runs / 1000, mainWaits: waits / 1000 });
    else times.othersRun += runs / 1000;
  }
  return times;
}

function numbers(list: string): number[] {
  return list.split(",").map(Number);
}

let collections: number[] = [];
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) collections.push(duration);
}).observe({ entryTypes: ["gc"] });

const data = await readPeerData(dataSet(values.data));
const session = await vdbInProcess.open(data, 2);
const queries = data.queries.length / data.dimension;

/** Filters that each keep `below` of 1000, one after the other. */
function effortsOf(below: number, filters: number): SearchEffort[] {
  const effort = { k: K, ef: Number(values.ef) };
  if (below === BUCKETS) return [effort];
  if (filters === 1) return [{ ...effort, below }];
  return Array.from({ length: filters }, (_, i) => {
    const from = i % (BUCKETS - below);
    return { ...effort, from, below: from + below };
  });
}

async function run(clients: number, forMs: number, efforts: readonly SearchEffort[]): Promise<string> {
  const latencies: number[] = [];
  collections = [];
  let next = 0;
  const before = threadTimes();
  const started = performance.now();
  const one = async () => {
    while (performance.now() - started < forMs) {
      const effort = efforts[next % efforts.length]!;
      const start = (next++ % queries) * data.dimension;
      const sent = performance.now();
      await session.search(data.queries.subarray(start, start + data.dimension), effort);
      latencies.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: clients }, one));
  const seconds = (performance.now() - started) / 1000;
  const after = threadTimes();
  latencies.sort((a, b) => a - b);
  const count = latencies.length;
  const at = (share: number) => latencies[Math.floor(count * share)]!.toFixed(2);
  const each = (key: keyof ThreadTimes) => ((after[key] - before[key]) / count).toFixed(0);
  const pause = collections.length === 0 ? 0 : collections.reduce((sum, ms) => sum + ms, 0) / collections.length;
  return [
    `${clients} clients: ${Math.round(count / seconds)} QPS, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`,
    `us a search: JavaScript's thread ${each("mainRuns")} (and ${each("mainWaits")} waiting for a core), others ${each("othersRun")}`,
    `${collections.length} collections of ${pause.toFixed(1)} ms`,
  ].join("; ");
}

try {
  await session.load?.();
  await session.buildIndex();
  for (const below of numbers(values.below)) {
    for (const filters of below === BUCKETS ? [1] : numbers(values.filters)) {
      const efforts = effortsOf(below, filters);
      await run(8, WARM_UP_MS, efforts);
      for (const clients of numbers(values.clients)) {
        const found = await run(clients, Number(values.seconds) * 1000, efforts);
        process.stdout.write(`keeps ${(100 * below) / BUCKETS} %, ${filters} filters: ${found}\n`);
      }
    }
  }
} finally {
  await session.close();
}
