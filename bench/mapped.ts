/**
 * `node dist/bench/mapped.js`: the cost of searching segments in the disk cache (`query.mmap`) instead of in memory: the
 * 100,000 rows of 128 dimensions of the comparison, one process, client inside. Each setting gets the same data, in a freshly
 * started node. "Cold" is with the system's page cache emptied after the load, which only root can do; its figures are those of
 * the first searches, since every search fills the cache again.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { VdbClient } from "../client/client.ts";
import { ROLES } from "../runtime/actor.ts";
import { loadConfig } from "../runtime/config/load.ts";
import { createLogger } from "../runtime/logger.ts";
import { startNatsServer } from "../runtime/nats/server.ts";
import { startNode, type VdbNode } from "../runtime/node.ts";
import { BUCKETS, dataSet, K, type PeerData, readPeerData } from "./peers/data-sets.ts";
import type { PeerSession } from "./peers/peer.ts";
import { searchAsClients } from "./peers/searches.ts";
import { clientWire, vdbSession } from "./peers/vdb.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: "l2-128" },
    ef: { type: "string", default: "64" },
    seconds: { type: "string", default: "3" },
  },
});
const ef = Number(values.ef);
const WARM_UP_MS = 1000;
/** Searches with a cold cache: so few that most pages are read for the first time. */
const COLD_SEARCHES = 100;

async function main(): Promise<void> {
  const data = await readPeerData(dataSet(values.data));
  const folder = await mkdtemp(join(tmpdir(), "vdb-mapped-"));
  const nats = await startNatsServer({ dataDir: join(folder, "nats"), port: 0 });
  const start = async (mmap: string): Promise<{ node: VdbNode; client: VdbClient }> => {
    const flags = [`nats.servers=${nats.url}`, `node.dataDir=${join(folder, "node")}`, `query.mmap=${mmap}`];
    const { config } = loadConfig({ flags });
    const node = await startNode({ roles: ROLES, config, logger: createLogger({ level: "warn" }) });
    return { node, client: VdbClient.inProcess(node.bus) };
  };
  try {
    let { node, client } = await start("never");
    const noClose = () => Promise.resolve();
    const session = await vdbSession(client, data, { ...clientWire(client), close: noClose });
    await session.load?.();
    await session.buildIndex();
    for (const mmap of ["never", "surplus", "always"]) {
      await node.stop();
      ({ node, client } = await start(mmap));
      await untilOpen(node);
      const searched = { ...session, search: searchOf(client) };
      if (mmap === "always" && dropPageCache()) await measureCold(searched, data);
      await searchAsClients(searched, data, { ...effort(), clients: 8, forMs: WARM_UP_MS });
      for (const clients of [1, 8]) {
        const forMs = Number(values.seconds) * 1000;
        const { qps, p50Ms, p99Ms, cpuMs } = await searchAsClients(searched, data, { ...effort(), clients, forMs });
        const times = `p50 ${p50Ms?.toFixed(2)} ms, p99 ${p99Ms?.toFixed(2)} ms, ${cpuMs.toFixed(3)} ms of CPU`;
        say(`${mmap}, ${clients} clients: ${qps.toFixed(0)} QPS, ${times}`);
      }
      const { memoryBytes, mappedBytes } = node.observe().query as Record<string, number>;
      const { heapUsed, external, rss } = process.memoryUsage();
      const mib = (bytes = 0) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
      const own = `${mib(heapUsed)} heap, ${mib(external)} external, ${mib(rss)} RSS`;
      say(`${mmap}: ${mib(memoryBytes)} counted, ${mib(mappedBytes)} mapped; process, with client and data, ${own}`);
    }
    await node.stop();
  } finally {
    await nats.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function effort() {
  return { below: BUCKETS, effort: { k: K, ef } };
}

function searchOf(client: VdbClient): PeerSession["search"] {
  return async (query, { k }) => {
    const options = { collectionName: "rows", data: [query], limit: k, searchParams: { params: { ef } } };
    return ((await client.search(options))[0] ?? []).map(({ id }) => Number(id));
  };
}

/** Waits until the node serves the segments, each with its index. */
async function untilOpen(node: VdbNode): Promise<void> {
  for (;;) {
    const { segments, engine, mappedEngine } = node.observe().query as Record<string, unknown>;
    const open = (one: unknown) => Number((one as { indexes?: number } | null)?.indexes ?? 0);
    if (Number(segments) > 0 && open(engine) + open(mappedEngine) === Number(segments)) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function measureCold(session: PeerSession, data: PeerData): Promise<void> {
  const latencies: number[] = [];
  for (let query = 0; query < COLD_SEARCHES; query++) {
    const started = performance.now();
    await session.search(data.queries.subarray(query * data.dimension, (query + 1) * data.dimension), { k: K, ef });
    latencies.push(performance.now() - started);
  }
  const rate = (1000 * COLD_SEARCHES) / latencies.reduce((sum, ms) => sum + ms, 0);
  const [first = 0] = latencies;
  latencies.sort((a, b) => a - b);
  const p50 = latencies[COLD_SEARCHES >>> 1] ?? 0;
  say(
    `cold, 1 client: the first search ${first.toFixed(1)} ms, the first ${COLD_SEARCHES}: ${rate.toFixed(0)} QPS, p50 ${p50.toFixed(2)} ms`,
  );
}

/** False if it is not permitted. */
function dropPageCache(): boolean {
  try {
    execFileSync("sh", ["-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
    return true;
  } catch {
    say("the page cache cannot be emptied here: no cold figures");
    return false;
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await main();
process.exit();
