/**
 * One scenario, in its own process so that memory and profile are its own: `single` (every role and the client in this process)
 * or `five` (one process per role, the client over NATS). Sends its result to its parent.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VdbClient } from "../client/client.ts";
import { ROLES } from "../runtime/actor.ts";
import { loadConfig } from "../runtime/config/load.ts";
import { createLogger } from "../runtime/logger.ts";
import { startNatsServer } from "../runtime/nats/server.ts";
import { startNode } from "../runtime/node.ts";
import { startProcessCluster } from "../runtime/testing/process-cluster.ts";
import { type Dataset, readDataset } from "./dataset.ts";
import { type PeakMemory, watchMemory } from "./memory.ts";
import { type ProfileRow, topFunctions } from "./profile.ts";
import { type LoadResult, load, type SearchResult, search } from "./workload.ts";

export interface ScenarioResult {
  scenario: string;
  load: LoadResult;
  searches: SearchResult[];
  memory: PeakMemory[];
  /** The single process's main thread during searches. */
  profile?: { idlePercent: number; top: ProfileRow[] };
}

const [scenario = "single", seconds = "5", limit = "0"] = process.argv.slice(2);

async function main(): Promise<ScenarioResult> {
  const all = await readDataset();
  const dataset = Number(limit) > 0 ? { ...all, rows: all.rows.slice(0, Number(limit)) } : all;
  return scenario === "single" ? single(dataset) : five(dataset);
}

async function single(dataset: Dataset): Promise<ScenarioResult> {
  const folder = await mkdtemp(join(tmpdir(), "vdb-bench-"));
  await using nats = await startNatsServer({ dataDir: join(folder, "nats"), port: 0 });
  const { config } = loadConfig({ flags: [`nats.servers=${nats.url}`, `node.dataDir=${join(folder, "node")}`] });
  const node = await startNode({ roles: ROLES, config, logger: createLogger({ level: "warn" }) });
  const client = VdbClient.inProcess(node.bus);
  const memory = watchMemory(process.pid);
  try {
    const loaded = await load(client, dataset);
    const searches = await search(client, dataset, Number(seconds));
    const profile = await topFunctions(() => search(client, dataset, 1));
    return { scenario, load: loaded, searches, memory: memory.stop(), profile };
  } finally {
    await node.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function five(dataset: Dataset): Promise<ScenarioResult> {
  await using cluster = await startProcessCluster({
    roles: [["coordinator"], ["streaming"], ["query"], ["data"], ["proxy"]],
    settings: ["log.level=warn"],
  });
  const client = await VdbClient.connect({ servers: cluster.nats.url });
  const memory = watchMemory(process.pid);
  try {
    const loaded = await load(client, dataset);
    const searches = await search(client, dataset, Number(seconds));
    return { scenario, load: loaded, searches, memory: memory.stop() };
  } finally {
    await client.close();
  }
}

const result = await main();
process.send?.(result);
if (process.send === undefined) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
process.disconnect?.();
