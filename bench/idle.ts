/**
 * `node dist/bench/idle.js`: the share of a core that an idle cluster takes, process by process, with one process per role
 * (`--one-process`: all roles in one): without collections, then with `--collections 1000` loaded, empty ones, then with the
 * same ones released. `--seconds 30` per measurement. A nats-server by itself comes first, as the minimum.
 *
 * Processor time is the scheduler's, so other work on the machine hardly affects it; wake-ups are ended waits.
 */
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { VdbClient } from "../client/client.ts";
import { ROLES } from "../runtime/actor.ts";
import { startNatsServer } from "../runtime/nats/server.ts";
import { startProcessCluster } from "../runtime/testing/process-cluster.ts";
import { processTree } from "./memory.ts";
import { FIVE, freePort } from "./peers/vdb.ts";

const { values } = parseArgs({
  options: {
    collections: { type: "string", default: "1000" },
    seconds: { type: "string", default: "30" },
    "one-process": { type: "boolean", default: false },
    set: { type: "string", multiple: true, default: [] },
  },
});
const collections = Number(values.collections);
const CLIENTS = 8;
/** By then the after-effects of a start, a burst of changes or a closed client are over: consumers go after 30 s. */
const SETTLE_MS = 35_000;

interface Sample {
  cpuMs: number;
  wakeUps: number;
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vdb-idle-"));
  const monitor = await freePort();
  const nats = await startNatsServer({ dataDir: folder, port: 0, config: `http: "127.0.0.1:${monitor}"` });
  try {
    const processes = new Map([["nats", nats.pid]]);
    const measure = (what: string) => report(what, processes, monitor);
    await pause(5_000);
    await measure("nats-server alone");
    await using cluster = await startProcessCluster({
      roles: values["one-process"] ? [ROLES] : FIVE,
      settings: ["log.level=warn", ...values.set],
      servers: nats.url,
    });
    for (const { name, pid } of cluster.processes) processes.set(name, pid);
    await pause(SETTLE_MS);
    await measure("no collections");
    if (collections > 0) {
      await asClient(nats.url, (client, i) => client.createCollection({ collectionName: `c${i}`, dimension: 8 }));
      await pause(SETTLE_MS);
      await measure(`${collections} collections, loaded`);
      await asClient(nats.url, (client, i) => client.releaseCollection({ collectionName: `c${i}` }));
      await pause(SETTLE_MS);
      await measure(`${collections} collections, released`);
    }
  } finally {
    await nats.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function asClient(servers: string, act: (client: VdbClient, i: number) => Promise<unknown>): Promise<void> {
  const client = await VdbClient.connect({ servers });
  let next = 0;
  const work = async () => {
    while (next < collections) await act(client, next++);
  };
  await Promise.all(Array.from({ length: CLIENTS }, work));
  await client.close();
}

async function report(what: string, processes: Map<string, number>, monitor: number): Promise<void> {
  const sampled = () => [...processes].map(([name, pid]) => ({ name, ...sample(pid) }));
  const startedAt = performance.now();
  const before = { processes: sampled(), traffic: await messages(monitor) };
  await pause(Number(values.seconds) * 1_000);
  const after = { processes: sampled(), traffic: await messages(monitor) };
  const seconds = (performance.now() - startedAt) / 1_000;
  const rows = after.processes.map(({ name, cpuMs, wakeUps }, i) => {
    const earlier = before.processes[i]!;
    return { name, percent: (cpuMs - earlier.cpuMs) / seconds / 10, wakeUps: (wakeUps - earlier.wakeUps) / seconds };
  });
  const total = rows.reduce((sum, { percent }) => sum + percent, 0);
  const parts = rows.map(({ name, percent, wakeUps }) => `${name} ${percent.toFixed(2)} (${wakeUps.toFixed(0)})`);
  const perSecond = (after.traffic - before.traffic) / seconds;
  process.stdout.write(
    `${what}: ${total.toFixed(2)} % of a core, NATS moves ${perSecond.toFixed(1)} messages/s; each, with wake-ups/s: ${parts.join(", ")}\n`,
  );
}

/** For a process, its children and all their threads; 0 except on Linux. */
function sample(rootPid: number): Sample {
  const found: Sample = { cpuMs: 0, wakeUps: 0 };
  for (const { pid } of processTree(rootPid)) {
    for (const task of threadsOf(pid)) {
      found.cpuMs += Number(readOr(`/proc/${pid}/task/${task}/schedstat`).split(" ")[0]) / 1e6;
      const [, switches = 0] =
        /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readOr(`/proc/${pid}/task/${task}/status`)) ?? [];
      found.wakeUps += Number(switches);
    }
  }
  return found;
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function readOr(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "0";
  }
}

/** Messages in and out. */
async function messages(monitor: number): Promise<number> {
  const reply = await fetch(`http://127.0.0.1:${monitor}/varz`);
  const { in_msgs: received, out_msgs: sent } = (await reply.json()) as { in_msgs: number; out_msgs: number };
  return received + sent;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

await main();
