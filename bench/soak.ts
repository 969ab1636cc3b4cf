/**
 * `node --expose-gc dist/bench/soak.js`: a million searches (`--searches`) of one process, through the whole path, one in eight
 * with a filter and one in eight with the vectors as output, a third of the loaded data in memory and the rest mapped; prints
 * the memory of the process ten times on the way, after a garbage collection: it must not grow.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { VdbClient } from "../client/client.ts";
import { ROLES } from "../runtime/actor.ts";
import { loadConfig } from "../runtime/config/load.ts";
import { createLogger } from "../runtime/logger.ts";
import { startNatsServer } from "../runtime/nats/server.ts";
import { startNode } from "../runtime/node.ts";
import { dataSet, K, readPeerData } from "./peers/data-sets.ts";
import { clientWire, vdbSession } from "./peers/vdb.ts";

const { values } = parseArgs({
  options: {
    searches: { type: "string", default: "1000000" },
    data: { type: "string", default: "l2-128" },
    clients: { type: "string", default: "16" },
  },
});
const SEGMENTS = 4;
const REPORTS = 10;

const data = await readPeerData(dataSet(values.data));
const folder = await mkdtemp(join(tmpdir(), "vdb-soak-"));
const nats = await startNatsServer({ dataDir: join(folder, "nats"), port: 0 });
const settings = {
  "nats.servers": nats.url,
  "node.dataDir": join(folder, "node"),
  "streaming.sealRows": Math.ceil(data.rows / SEGMENTS),
  // Room for about half of the indexes, which take 4 x (dimension + 36) bytes per row.
  "query.memoryBytes": Math.ceil(data.rows * (60 + 2 * (data.dimension + 36))),
};
const flags = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
const node = await startNode({
  roles: ROLES,
  config: loadConfig({ flags }).config,
  logger: createLogger({ level: "warn" }),
});
const client = VdbClient.inProcess(node.bus);
try {
  const close = () => Promise.resolve();
  const session = await vdbSession(client, data, { ...clientWire(client), close });
  await session.load?.();
  await session.buildIndex();
  const { memoryBytes, mappedBytes } = node.observe().query as Record<string, number>;
  console.log(`${data.rows} rows: ${mib(memoryBytes)} in memory, ${mib(mappedBytes)} mapped`);
  const searches = Number(values.searches);
  const queries = data.queries.length / data.dimension;
  const started = performance.now();
  let done = 0;
  const one = async () => {
    for (let n = done++; n < searches; n = done++) {
      if (n % Math.ceil(searches / REPORTS) === 0) report(n, started);
      const query = n % queries;
      const found = await client.search({
        ...{ collectionName: "rows", limit: K, searchParams: { params: { ef: 32 } } },
        data: [data.queries.subarray(query * data.dimension, (query + 1) * data.dimension)],
        ...(n % 8 === 3 ? { filter: `bucket < ${n % 1000}` } : {}),
        ...(n % 8 === 7 ? { outputFields: ["vector"] } : {}),
      });
      if (found[0] === undefined) throw new Error(`search ${n} has no result`);
    }
  };
  await Promise.all(Array.from({ length: Number(values.clients) }, one));
  report(searches, started);
} finally {
  await node.stop();
  await nats.stop();
  await rm(folder, { recursive: true, force: true });
}
process.exit();

function report(count: number, started: number): void {
  (globalThis as { gc?: () => void }).gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${count} searches, ${seconds.toFixed(0)} s: RSS ${mib(rss)}, heap ${mib(heapUsed)}, external ${mib(external)}`,
  );
}

function mib(bytes = 0): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
