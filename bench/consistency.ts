/**
 * What each consistency level costs: searches of one client at a time, in five processes, on a collection that is written to
 * all the time. `--seconds N` per level. Prints a line per level.
 */
import { parseArgs } from "node:util";
import { VdbClient } from "../client/client.ts";
import type { ConsistencyLevel } from "../client/types.ts";
import { startProcessCluster } from "../runtime/testing/process-cluster.ts";
import { clusteredVectors } from "../runtime/testing/vectors.ts";
import { FIVE } from "./peers/vdb.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "5" } } });

const LEVELS: readonly ConsistencyLevel[] = ["Eventually", "Bounded", "Session", "Strong"];
const DIMENSION = 128;
const ROWS = 20_000;
const BATCH = 500;
const WARM_UP_MS = 1000;
const collectionName = "levels";

const vectors = clusteredVectors(ROWS, DIMENSION, 1);
const vectorOf = (n: number) => vectors.subarray((n % ROWS) * DIMENSION, ((n % ROWS) + 1) * DIMENSION);

await using cluster = await startProcessCluster({ roles: FIVE, settings: ["log.level=warn"] });
const reader = await VdbClient.connect({ servers: cluster.nats.url });
const writer = await VdbClient.connect({ servers: cluster.nats.url });
let isWriting = true;
let written = 0;
try {
  await reader.createCollection({ collectionName, dimension: DIMENSION, metricType: "L2" });
  while (written < ROWS) await writeBatch();
  await reader.waitUntilLoaded({ collectionName });
  const writing = keepWriting();
  for (const level of LEVELS) {
    await searchFor(level, WARM_UP_MS);
    const taken = (await searchFor(level, Number(values.seconds) * 1000)).sort((a, b) => a - b);
    const at = (part: number) => taken[Math.floor(part * taken.length)]!.toFixed(2);
    say(`${level.padEnd(10)} p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${taken.length} searches`);
  }
  isWriting = false;
  await writing;
} finally {
  isWriting = false;
  await Promise.all([reader.close(), writer.close()]);
}

async function writeBatch(): Promise<void> {
  const data = Array.from({ length: BATCH }, (_, i) => ({ id: written + i, vector: vectorOf(written + i) }));
  await writer.insert({ collectionName, data });
  written += BATCH;
}

/** Small writes, one after the other, for which reads at each level wait. */
async function keepWriting(): Promise<void> {
  for (; isWriting; written++) {
    await writer.insert({ collectionName, data: { id: written, vector: vectorOf(written) } });
  }
}

/** Milliseconds of each search. */
async function searchFor(consistencyLevel: ConsistencyLevel, ms: number): Promise<number[]> {
  const taken: number[] = [];
  const end = performance.now() + ms;
  for (let n = 0; performance.now() < end; n++) {
    const started = performance.now();
    await reader.search({ collectionName, data: [vectorOf(n * 7)], limit: 10, consistencyLevel });
    taken.push(performance.now() - started);
  }
  return taken;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
