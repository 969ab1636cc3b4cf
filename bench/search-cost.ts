/**
 * `node dist/bench/search-cost.js`: the cost of one search for each process and for NATS, in a cluster of one process per role:
 * processor time, messages, bytes. By the number of segments (`--segments 1,8`), query processes (`--query-processes 1,2`) and
 * clients (`--clients 1,8,32`); the 100,000 rows of 128 dimensions of the comparison. docs/performance.md predicts larger
 * clusters from it.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { VdbClient } from "../client/client.ts";
import { startNatsServer } from "../runtime/nats/server.ts";
import { clusterStatus, type ProcessCluster, startProcessCluster } from "../runtime/testing/process-cluster.ts";
import { cpuSeconds } from "./cpu-time.ts";
import { BUCKETS, dataSet, K, type PeerData, readPeerData } from "./peers/data-sets.ts";
import type { PeerSession } from "./peers/peer.ts";
import { searchAsClients } from "./peers/searches.ts";
import { clientWire, FIVE, freePort, vdbSession } from "./peers/vdb.ts";

const { values } = parseArgs({
  options: {
    segments: { type: "string", default: "1" },
    "query-processes": { type: "string", default: "1,2" },
    clients: { type: "string", default: "1,8,32" },
    seconds: { type: "string", default: "3" },
    ef: { type: "string", default: "64" },
  },
});
const numbers = (text: string) => text.split(",").map(Number);
const ef = Number(values.ef);
const WARM_UP_MS = 1500;
const BALANCE_TIMEOUT_MS = 60_000;

interface Traffic {
  messages: number;
  bytes: number;
}

async function measure(data: PeerData, segments: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vdb-cost-"));
  const monitor = await freePort();
  const nats = await startNatsServer({ dataDir: folder, port: 0, config: `http: "127.0.0.1:${monitor}"` });
  const settings = ["log.level=warn", `streaming.sealRows=${Math.ceil(data.rows / segments)}`];
  const cluster = await startProcessCluster({ roles: FIVE, settings, servers: nats.url });
  const client = await VdbClient.connect({ servers: nats.url });
  try {
    const wire = { ...clientWire(client), close: () => client.close() };
    const session = await vdbSession(client, data, wire);
    await session.load?.();
    await session.buildIndex();
    for (const processes of numbers(values["query-processes"])) {
      while (queryProcesses(cluster) < processes) await cluster.start(["query"]);
      const spread = await untilSpread(nats.url, processes);
      await searchAsClients(session, data, { ...options(), clients: 8, forMs: WARM_UP_MS });
      for (const clients of numbers(values.clients)) {
        const line = await costOf(session, data, { cluster, natsPid: nats.pid, monitor, clients });
        process.stdout.write(`${spread.join(" + ")} segments on query processes, ${clients} clients: ${line}\n`);
      }
    }
  } finally {
    await client.close();
    await cluster[Symbol.asyncDispose]();
    await nats.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function costOf(
  session: PeerSession,
  data: PeerData,
  run: { cluster: ProcessCluster; natsPid: number; monitor: number; clients: number },
): Promise<string> {
  const { cluster, natsPid, monitor, clients } = run;
  const cpu = () =>
    new Map<string, number>([
      ...cluster.processes.map(({ name, pid }): [string, number] => [name, cpuSeconds(pid)]),
      ["nats", cpuSeconds(natsPid)],
    ]);
  const before = { cpu: cpu(), traffic: await trafficOf(monitor), own: process.cpuUsage() };
  const forMs = Number(values.seconds) * 1000;
  const { qps, p50Ms = 0, p99Ms = 0 } = await searchAsClients(session, data, { ...options(), clients, forMs });
  const searches = (qps * forMs) / 1000;
  const own = process.cpuUsage(before.own);
  const after = { cpu: cpu(), traffic: await trafficOf(monitor) };
  const ms = [...after.cpu].map(([name, seconds]) => {
    return `${name} ${((1000 * (seconds - (before.cpu.get(name) ?? 0))) / searches).toFixed(3)}`;
  });
  const messages = (after.traffic.messages - before.traffic.messages) / searches;
  const bytes = (after.traffic.bytes - before.traffic.bytes) / searches;
  const client = (own.user + own.system) / 1000 / searches;
  return (
    `${qps.toFixed(0)} QPS, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms; ms of CPU a search: ${ms.join(", ")}, ` +
    `client ${client.toFixed(3)}; NATS ${messages.toFixed(2)} messages in, ${bytes.toFixed(0)} bytes in`
  );
}

function options() {
  return { below: BUCKETS, effort: { k: K, ef } };
}

const queryProcesses = ({ processes }: ProcessCluster) =>
  processes.filter(({ roles }) => roles.includes("query")).length;

async function trafficOf(monitor: number): Promise<Traffic> {
  const reply = await fetch(`http://127.0.0.1:${monitor}/varz`);
  const { in_msgs: messages, in_bytes: bytes } = (await reply.json()) as { in_msgs: number; in_bytes: number };
  return { messages, bytes };
}

/** The number of segments of each query node, once as many nodes as possible have some, each with its index. */
async function untilSpread(servers: string, processes: number): Promise<number[]> {
  const late = performance.now() + BALANCE_TIMEOUT_MS;
  for (;;) {
    const { nodes, collections } = await clusterStatus(servers);
    const loads = nodes.flatMap(({ load }) => (load.query === undefined ? [] : [load.query]));
    const total = collections.reduce((sum, { segments }) => sum + segments.flushed, 0);
    const served = loads.map(({ segments }) => Number(segments));
    const open = loads.reduce(
      (sum, { engine }) => sum + Number((engine as { indexes?: number } | null)?.indexes ?? 0),
      0,
    );
    const isSpread =
      served.length === processes && served.filter((count) => count > 0).length === Math.min(total, processes);
    if (isSpread && open === total && served.reduce((a, b) => a + b, 0) === total) return served;
    if (performance.now() > late) throw new Error(`segments stay at ${served.join(" + ")}, ${open} with an index`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

const data = await readPeerData(dataSet("l2-128"));
for (const segments of numbers(values.segments)) await measure(data, segments);
process.exit();
