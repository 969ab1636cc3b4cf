/**
 * `node dist/bench/objects.js [--replicas 3]`: how fast objects go from a file into the store and back, the CPU time of both
 * sides, how long the event loop is held, and how much memory it takes. One process on a nats-server of its own (or a cluster
 * of three, all on this machine) with the settings of `vdb-actor dev`.
 *
 * Virtual machines often have memory that the host hands out page by page when it is first touched, and takes back soon after
 * it is freed. A plain write of a file is then ten times slower than into memory that was just in use (2.5 ms a MiB of a core
 * against 0.2), which says much about the host and nothing about this program. So before each step the page cache is filled and
 * freed (--cold skips that), and the speed of a plain synced write is shown beside the others.
 */

import { randomBytes } from "node:crypto";
import { constants, readFileSync } from "node:fs";
import { mkdtemp, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { createNatsBlob } from "../runtime/blob/nats-blob.ts";
import type { ObjectRef } from "../runtime/blob/port.ts";
import { connectNats } from "../runtime/nats/connect.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { startNatsCluster } from "../runtime/testing/nats-cluster.ts";
import { startTestNats } from "../runtime/testing/nats-server.ts";

const MIB = 1 << 20;
/** Objects of one timed step; a phase is STEPS of them. */
const SHAPES = [
  { mib: 1, objects: 96 },
  { mib: 16, objects: 12 },
  { mib: 256, objects: 1 },
];
const STEPS = 4;
/** How much is freed before a step, relative to what the step writes: it does not get all of that. */
const SPARE_FACTOR = 2;
const NOISE = randomBytes(MIB);
const RSS_SAMPLE_MS = 10;
/** Unit of /proc/<pid>/stat; the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

interface Figures {
  mbPerSecond: number;
  loopMaxMs: number;
  /** The worst step's. */
  loopP99Ms: number;
  /** The peak above the value at the start of the phase. */
  rssGrowthMib: number;
  /** Cores that were busy on average. */
  clientCores: number;
  serverCores: number;
  /** Cores busy with anything else, or taken by the host: if it is much, the measurement is void. */
  otherCores: number;
}

interface Phase {
  /** Bytes that a step moves. */
  stepBytes: number;
  serverPids: number[];
  isCold: boolean;
}

/** Times only the steps, not what comes between them. */
async function measure(phase: Phase, step: (index: number) => Promise<void>): Promise<Figures> {
  let loopMaxNs = 0;
  let loopP99Ns = 0;
  const rssBefore = process.memoryUsage.rss();
  let rssPeak = rssBefore;
  const sampler = setInterval(() => {
    rssPeak = Math.max(rssPeak, process.memoryUsage.rss());
  }, RSS_SAMPLE_MS);
  let seconds = 0;
  let clientSeconds = 0;
  let serverSeconds = 0;
  let busySeconds = 0;
  for (let i = 0; i < STEPS; i++) {
    if (!phase.isCold) await freePageCache(SPARE_FACTOR * phase.stepBytes);
    // A new one for each step, because it counts a pause as a delay.
    const loop = monitorEventLoopDelay({ resolution: 1 });
    const cpuBefore = process.cpuUsage();
    const serverBefore = cpuSeconds(phase.serverPids);
    const busyBefore = busyCpuSeconds();
    loop.enable();
    const started = performance.now();
    await step(i);
    seconds += (performance.now() - started) / 1_000;
    loop.disable();
    loopMaxNs = Math.max(loopMaxNs, loop.max);
    loopP99Ns = Math.max(loopP99Ns, loop.percentile(99));
    const { user, system } = process.cpuUsage(cpuBefore);
    clientSeconds += (user + system) / 1e6;
    serverSeconds += cpuSeconds(phase.serverPids) - serverBefore;
    busySeconds += busyCpuSeconds() - busyBefore;
  }
  clearInterval(sampler);
  return {
    mbPerSecond: (phase.stepBytes * STEPS) / 1e6 / seconds,
    loopMaxMs: loopMaxNs / 1e6,
    loopP99Ms: loopP99Ns / 1e6,
    rssGrowthMib: (rssPeak - rssBefore) / MIB,
    clientCores: clientSeconds / seconds,
    serverCores: serverSeconds / seconds,
    otherCores: Math.max(0, busySeconds - serverSeconds - clientSeconds) / seconds,
  };
}

/**
 * Uses pages of a file, because the kernel gives those to the next file that is written, but not a process's pages. They never
 * reach the disk: nothing is synced, and the file is removed before the kernel writes it.
 */
async function freePageCache(bytes: number): Promise<void> {
  const path = join(folder, "free");
  await writeFile(path, 0, bytes / MIB);
  await rm(path);
}

/** User and system time of processes so far; 0 where there is no /proc. */
function cpuSeconds(pids: number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = readText(`/proc/${pid}/stat`).split(") ").at(-1)!.split(" ");
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks / TICKS_PER_SECOND;
}

/** Processor time of all processes, and the time that the host took. */
function busyCpuSeconds(): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = readText("/proc/stat")
    .split("\n", 1)[0]!
    .split(/ +/)
    .map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

async function writeFile(path: string, flags: number, mib: number): Promise<void> {
  await using file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | flags);
  for (let i = 0; i < mib; i++) await file.write(NOISE);
}

async function clearFolder(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name));
}

function show(what: string, figures: Figures): void {
  const { mbPerSecond, loopMaxMs, loopP99Ms, rssGrowthMib, clientCores, serverCores, otherCores } = figures;
  console.log(
    `${what}: ${mbPerSecond.toFixed(0)} MB/s, event loop p99 ${loopP99Ms.toFixed(1)} max ${loopMaxMs.toFixed(1)} ms, ` +
      `RSS +${rssGrowthMib.toFixed(0)} MiB, cores: client ${clientCores.toFixed(2)}, server ${serverCores.toFixed(2)}, others ${otherCores.toFixed(2)}`,
  );
}

async function startServers(replicas: number): Promise<{ url: string; pids: number[] } & AsyncDisposable> {
  if (replicas === 1) {
    const nats = await startTestNats();
    return { url: nats.url, pids: [nats.server.pid], [Symbol.asyncDispose]: () => nats[Symbol.asyncDispose]() };
  }
  const cluster = await startNatsCluster();
  return {
    url: cluster.servers,
    pids: cluster.members.map(({ pid }) => pid),
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

const { values } = parseArgs({
  options: {
    replicas: { type: "string", default: "1" },
    cold: { type: "boolean", default: false },
    /** Only objects of so many MiB. */
    only: { type: "string" },
  },
});
const replicas = Number(values.replicas);
const folder = await mkdtemp(join(tmpdir(), "vdb-objects-"));
{
  await using servers = await startServers(replicas);
  const connections = await connectNats({ servers: servers.url, name: "bench" });
  const blob = createNatsBlob(connections.bulk, { prefix: "bench", clock: systemClock, random: systemRandom });
  await blob.ensure({ replicas });
  for (const { mib, objects } of SHAPES.filter(({ mib }) => values.only === undefined || mib === Number(values.only))) {
    const source = join(folder, `source-${mib}`);
    const got = join(folder, "got");
    await writeFile(source, constants.O_SYNC, mib);
    const refs: ObjectRef[] = [];
    const phase = { stepBytes: mib * MIB * objects, serverPids: servers.pids, isCold: values.cold };
    const plain = await measure(phase, async () => {
      // Each write waits for the disk, like the server's.
      await writeFile(got, constants.O_SYNC, mib * objects);
    });
    show(`${mib * objects} MiB written to a file`, plain);
    const put = await measure(phase, async (step) => {
      for (let i = 0; i < objects; i++) refs.push(await blob.putFile(`${mib}/${step}/${i}`, source));
    });
    show(`put ${mib} MiB`, put);
    const get = await measure(phase, async (step) => {
      for (const [i, ref] of refs.slice(step * objects, (step + 1) * objects).entries()) {
        await blob.getFile(ref, join(folder, `got-${step}-${i}`));
      }
    });
    show(`get ${mib} MiB`, get);
    for (const { name } of refs) await blob.remove(name);
    await clearFolder(folder);
  }
  await connections.close();
}
await rm(folder, { recursive: true, force: true });
process.exit();
