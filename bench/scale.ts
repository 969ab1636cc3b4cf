/**
 * How a cluster scales: many generated rows in real processes, by the number of segments that hold them and of query processes
 * that serve them. `--rows N` (a million), `--segments N,N` (a cluster each), `--query-processes N` at most (1 first, then one
 * more at a time), `--clients N,N`, `--seconds N` per measurement, `--prepare`: only makes the rows and the exact answers.
 * Prints and rewrites bench/results/ after every measurement, so that a stopped run leaves its results.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { VdbClient } from "../client/client.ts";
import { clusterStatus, type ProcessCluster, startProcessCluster } from "../runtime/testing/process-cluster.ts";
import { PROJECT_FOLDER, VERSION } from "../runtime/version.ts";
import { type PeakMemory, watchMemory } from "./memory.ts";
import { BUCKETS, dataSet, K, type PeerData, readPeerData } from "./peers/data-sets.ts";
import { type PeerSearch, searchAsClients, tune } from "./peers/searches.ts";
import { clientWire, FIVE, vdbSession } from "./peers/vdb.ts";

interface ScaleResult {
  rows: number;
  segmentsWanted: number;
  segments: number;
  insertRowsPerSecond: number;
  /** From the first insert until all rows are found through indexes. */
  indexedSeconds: number;
  searches: (PeerSearch & { queryProcesses: number; segmentsOfEach: number[] })[];
  memory: PeakMemory[];
}

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    segments: { type: "string", default: "8" },
    "query-processes": { type: "string", default: "2" },
    clients: { type: "string", default: "1,8" },
    seconds: { type: "string", default: "5" },
    prepare: { type: "boolean", default: false },
  },
});

const rows = Number(values.rows);
const QUERIES = 200;
const BALANCE_TIMEOUT_MS = 300_000;
const WARM_UP_MS = 2000;
const GIB = 2 ** 30;

/** Room for all rows at once, so that nothing but their number decides when a segment is sealed. */
function settings(segments: number): string[] {
  return [
    "log.level=warn",
    `streaming.sealRows=${Math.ceil(rows / segments)}`,
    `streaming.sealBytes=${16 * GIB}`,
    `streaming.growingBytesMax=${8 * GIB}`,
    `streaming.replayBytesMax=${4 * GIB}`,
    `cluster.walBytesMax=${4 * GIB}`,
    `query.memoryBytes=${8 * GIB}`,
  ];
}

async function measure(data: PeerData, segments: number, save: (found: ScaleResult) => Promise<void>): Promise<void> {
  await using cluster = await startProcessCluster({ roles: FIVE, settings: settings(segments) });
  const client = await VdbClient.connect({ servers: cluster.nats.url });
  const memory = watchMemory(process.pid);
  const close = () => client.close();
  try {
    // Merging would undo the number of segments.
    const session = await vdbSession(client, data, { ...clientWire(client), close });
    const started = performance.now();
    await session.load?.();
    const insertRowsPerSecond = (data.rows / (performance.now() - started)) * 1000;
    say(`${segments} segments: ${insertRowsPerSecond.toFixed(0)} rows/s inserted`);
    await session.buildIndex();
    const indexedSeconds = (performance.now() - started) / 1000;
    say(`${segments} segments: indexed after ${indexedSeconds.toFixed(1)} s`);
    // Flushed segments have an index; a query node opens it a while later and scans until then.
    const total = (await segmentsByNode(cluster)).total;
    await untilBalanced(cluster, 1, total);
    const searches: ScaleResult["searches"] = [];
    const result = { rows: data.rows, segmentsWanted: segments, segments: total, insertRowsPerSecond, indexedSeconds };
    await save({ ...result, searches, memory: memory.soFar() });
    const ef = await tune(session, data, BUCKETS);
    for (let processes = 1; processes <= Number(values["query-processes"]); processes++) {
      if (processes > 1) await cluster.start(["query"]);
      const segmentsOfEach = await untilBalanced(cluster, processes, total);
      const options = { below: BUCKETS, effort: { k: K, ef } };
      await searchAsClients(session, data, { ...options, clients: 8, forMs: WARM_UP_MS });
      for (const clients of values.clients.split(",").map(Number)) {
        const forMs = Number(values.seconds) * 1000;
        const found = await searchAsClients(session, data, { ...options, clients, forMs });
        searches.push({ ...found, queryProcesses: processes, segmentsOfEach });
        await save({ ...result, searches, memory: memory.soFar() });
        say(`${processes} query processes (${segmentsOfEach.join(" + ")} segments), ${line(found)}`);
      }
    }
  } finally {
    memory.stop();
    await close();
  }
}

function line({ clients, ef, recallAt10, qps, cpuMs, p50Ms = 0, p99Ms = 0 }: PeerSearch): string {
  return `${clients} clients: ${qps.toFixed(0)} QPS at recall ${recallAt10.toFixed(3)} (ef ${ef}), p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, ${cpuMs.toFixed(2)} ms of CPU`;
}

/** The segments of each query node, fewest first, and the number of open indexes in all. */
async function segmentsByNode(cluster: ProcessCluster): Promise<{ total: number; served: number[]; indexes: number }> {
  const { nodes, collections } = await clusterStatus(cluster.nats.url);
  const loads = nodes.flatMap(({ load }) => (load.query === undefined ? [] : [load.query]));
  const served = loads.map(({ segments }) => Number(segments));
  const open = (engine: unknown) => Number((engine as { indexes?: number } | null)?.indexes ?? 0);
  const indexes = loads.reduce((sum, load) => sum + open(load.engine) + open(load.mappedEngine), 0);
  const total = collections.reduce((sum, { segments }) => sum + segments.flushed, 0);
  return { total, served: served.toSorted((a, b) => a - b), indexes };
}

/** Waits until the segments are spread over the nodes, none twice, each with its index. @throws Error when that takes too long. */
async function untilBalanced(cluster: ProcessCluster, processes: number, total: number): Promise<number[]> {
  const late = performance.now() + BALANCE_TIMEOUT_MS;
  const fewest = Math.min(1, Math.floor(total / processes));
  for (;;) {
    const { served, indexes } = await segmentsByNode(cluster);
    const sum = served.reduce((a, b) => a + b, 0);
    const isSpread = served.length === processes && sum === total && served[0]! >= fewest;
    if (isSpread && indexes === total) return served;
    if (performance.now() > late) throw new Error(`${total} segments stay at ${served.join(" + ")} on query nodes`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const shape = dataSet("l2-128").shape!;
const data = await readPeerData({
  ...{ name: "scale", description: "generated", rows, metric: "L2", shape, queries: QUERIES },
});
if (values.prepare) process.exit();
const machine = { cpu: cpus()[0]?.model ?? "?", cores: cpus().length, node: process.version };
const folder = join(PROJECT_FOLDER, "bench", "results");
const file = join(folder, `scale-${new Date().toISOString().slice(0, 19).replace(/:/g, "")}.json`);
await mkdir(folder, { recursive: true });
const results: ScaleResult[] = [];
for (const [i, segments] of values.segments.split(",").map(Number).entries()) {
  await measure(data, segments, async (found) => {
    results[i] = found;
    await writeFile(file, `${JSON.stringify({ version: VERSION, machine, results }, null, 2)}\n`);
  });
  const peaks = results[i]!.memory.map(({ process: name, peakMiB }) => `${name} ${peakMiB} MiB`);
  say(`peak RSS ${peaks.join(", ")}\n`);
}
say(file);
