/**
 * `node dist/bench/beyond-memory.js`, as root: the cost of searching mapped index files when the page cache has no room for all
 * of them. A process with only the engine of a query node runs in a memory control group (version 1 or 2), which also counts
 * page cache; its limit is the memory of the process itself plus a share of the file. For comparison the same index is measured
 * copied to memory, and mapped without a limit. If control groups cannot be created, one line says so.
 *
 * Index files are built once and kept in .vdb-tools/bench-data.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildIndex } from "../runtime/ann/build-index.ts";
import { createMappedEngine } from "../runtime/ann/create-engine.ts";
import type { IndexToLoad, SearchEngine } from "../runtime/ann/engine.ts";
import { checkIndexParams } from "../runtime/ann/index-params.ts";
import { loadNativeAddon } from "../runtime/ann/native-addon.ts";
import { createNativeEngine } from "../runtime/ann/native-engine.ts";
import { seeded } from "../runtime/sim/seeded.ts";
import { systemClock } from "../runtime/system-clock.ts";
import { PROJECT_FOLDER } from "../runtime/version.ts";
import { dataSet, K, type PeerData, readPeerData } from "./peers/data-sets.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: "cosine-768" },
    index: { type: "string", default: "HNSW,IVF_FLAT,FLAT" },
    /** Size of the file relative to its share of the page cache. */
    ratios: { type: "string", default: "1,2,4" },
    seconds: { type: "string", default: "3" },
    /** The job of a child process. */
    child: { type: "string" },
  },
});

const THREADS = 2;
const WARM_UP_MS = 1500;
/** Memory that the process gains after its limit is set, beside the file. */
const SLACK_BYTES = 12 << 20;
const BOUND_ATTEMPTS = 20;
const PARAMS: Readonly<Record<string, Record<string, number>>> = {
  HNSW: { M: 16, efConstruction: 200 },
  IVF_FLAT: { nlist: 256 },
};
const EFFORT = { ef: 64, nprobe: 8 };

interface Job {
  toLoad: IndexToLoad;
  file: string;
  queriesFile: string;
  clients: number[];
  /** 0: mapped without a limit; absent: in memory. */
  ratio?: number;
  group?: string;
}

async function main(): Promise<void> {
  const group = createGroup();
  if (group === undefined) return say("control groups of memory cannot be made here: nothing is measured");
  try {
    const data = await readPeerData(dataSet(values.data));
    const queriesFile = await keep(`${values.data}-queries.f32`, (path) => writeFile(path, data.queries));
    for (const type of values.index.split(",")) {
      const { file, toLoad } = await indexFile(data, type);
      evict(file);
      say(`${type} of ${data.rows} x ${data.dimension}, ${mib(statSync(file).size)}; ${diskOf(file)}`);
      const job = { toLoad, file, queriesFile, clients: [1, 8] };
      await runChild(job);
      for (const ratio of [0, ...values.ratios.split(",").map(Number)]) {
        evict(file);
        bound(group);
        await runChild({ ...job, ratio, group });
      }
    }
  } finally {
    rmdirSync(group);
  }
}

/** Undefined if it may not be created. */
function createGroup(): string | undefined {
  const name = `vdb-bench-${process.pid}`;
  for (const root of ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"]) {
    const group = join(root, name);
    try {
      mkdirSync(group);
      if (limitFile(group) !== undefined) return group;
      rmdirSync(group);
    } catch {
      // The other version of control groups, or no permission.
    }
  }
  return undefined;
}

function limitFile(group: string): string | undefined {
  return ["memory.limit_in_bytes", "memory.max"].map((name) => join(group, name)).find(existsSync);
}

/** What a group is charged for: page cache of files, and everything else. */
function chargedBytes(group: string): { file: number; own: number } {
  const about = new Map(
    readFileSync(join(group, "memory.stat"), "utf8")
      .split("\n")
      .map((line) => line.split(" ") as [string, string]),
  );
  const file = Number(about.get("file") ?? about.get("cache"));
  const all = ["memory.usage_in_bytes", "memory.current"].map((name) => join(group, name)).find(existsSync)!;
  return { file, own: Math.max(0, Number(readFileSync(all, "utf8")) - file) };
}

async function keep(name: string, write: (path: string) => Promise<unknown>): Promise<string> {
  const folder = join(PROJECT_FOLDER, ".vdb-tools", "bench-data");
  const path = join(folder, name);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  await write(`${path}.${process.pid}`);
  await rename(`${path}.${process.pid}`, path);
  return path;
}

async function indexFile(data: PeerData, type: string): Promise<{ file: string; toLoad: IndexToLoad }> {
  const { metric, dimension, rows } = data;
  const params = PARAMS[type] ?? {};
  const spec = checkIndexParams(type, metric, dimension, params);
  const name = [values.data, type, ...Object.values(params)].join("-");
  const file = await keep(`${name}.index`, async (outFile) => {
    say(`building ${name}, once`);
    const vectorsFile = await keep(`${values.data}-rows.f32`, (path) => writeFile(path, data.vectors));
    await buildIndex({ spec, metric, dimension, rows, vectorsFile, outFile, threads: THREADS });
  });
  return { file, toLoad: { ...spec, metric, dimension, rows } };
}

/** Removes the file from the page cache: pages count for the group that reads them first. */
function evict(file: string): void {
  execFileSync("sync", [file]);
  execFileSync("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc", "count=0"], { stdio: "ignore" });
}

function diskOf(file: string): string {
  const { int } = seeded(1, "disk");
  const size = statSync(file).size;
  const handle = openSync(file, "r");
  const page = Buffer.alloc(4096);
  const times: number[] = [];
  for (let i = 0; i < 200; i++) {
    const at = 4096 * int(Math.floor(size / 4096) - 1);
    const started = performance.now();
    readSync(handle, page, 0, page.length, at);
    times.push(performance.now() - started);
  }
  closeSync(handle);
  evict(file);
  const whole = performance.now();
  readFileSync(file);
  const rate = size / 1e6 / ((performance.now() - whole) / 1000);
  times.sort((a, b) => a - b);
  const us = (share: number) => (1000 * times[Math.floor(share * times.length)]!).toFixed(0);
  return `a page from the disk p50 ${us(0.5)}, p90 ${us(0.9)} us, all of it at ${rate.toFixed(0)} MB/s`;
}

function runChild(job: Job): Promise<void> {
  const args = [fileURLToPath(import.meta.url), "--seconds", values.seconds, "--child", JSON.stringify(job)];
  const child = spawn(process.execPath, args, { stdio: "inherit" });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a measurement ended with ${code}`))));
  });
}

async function measure({ toLoad, file, queriesFile, clients, ratio, group }: Job): Promise<void> {
  const addon = loadNativeAddon();
  if (addon instanceof Error) throw addon;
  const queryBytes = readFileSync(queriesFile);
  const queries = new Float32Array(queryBytes.buffer, queryBytes.byteOffset, queryBytes.length / 4);
  if (group !== undefined) writeFileSync(join(group, "cgroup.procs"), String(process.pid));
  await using engine: SearchEngine =
    ratio === undefined
      ? createNativeEngine({ addon, clock: systemClock, threads: THREADS })
      : createMappedEngine({ clock: systemClock, threads: THREADS })!;
  await engine.load("index", file, toLoad);
  const searches = { engine, queries, dimension: toLoad.dimension };
  await searchFor(searches, { clients: 8, ms: WARM_UP_MS });
  const { size } = statSync(file);
  if (group !== undefined && ratio !== undefined && ratio > 0) {
    const limit = Math.ceil(chargedBytes(group).own + SLACK_BYTES + size / ratio);
    bound(group, limit);
    await searchFor(searches, { clients: 8, ms: WARM_UP_MS });
  }
  for (const count of clients) {
    const { times, faults } = await searchFor(searches, { clients: count, ms: 1000 * Number(values.seconds) });
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))]!.toFixed(2);
    const qps = (times.length / Number(values.seconds)).toFixed(times.length < 100 ? 1 : 0);
    const cached = group === undefined ? "" : `, ${mib(chargedBytes(group).file)} cached`;
    const where = ratio === undefined ? "in memory" : ratio === 0 ? "mapped, no bound" : `mapped, ${ratio}x the cache`;
    const waits = `${(faults / times.length).toFixed(1)} waits for the disk a search`;
    say(`  ${where}, ${count} clients: ${qps} QPS, p50 ${at(0.5)}, p99 ${at(0.99)} ms, ${waits}${cached}`);
  }
}

/** Sets the limit; retried if the kernel cannot meet it at once. @param bytes absent: no limit */
function bound(group: string, bytes?: number): void {
  const file = limitFile(group)!;
  const limit = bytes ?? (file.endsWith("max") ? "max" : -1);
  for (let attempt = 1; ; attempt++) {
    try {
      writeFileSync(file, String(limit));
      return;
    } catch (error) {
      if (attempt === BOUND_ATTEMPTS) throw error;
    }
  }
}

interface Searches {
  engine: SearchEngine;
  queries: Float32Array;
  dimension: number;
}

/** @returns milliseconds of each search, and how often a thread waited for a page */
async function searchFor(
  { engine, queries, dimension }: Searches,
  { clients, ms }: { clients: number; ms: number },
): Promise<{ times: number[]; faults: number }> {
  const times: number[] = [];
  const { int } = seeded(clients, "queries");
  const before = process.resourceUsage().majorPageFault;
  const end = performance.now() + ms;
  const client = async () => {
    while (performance.now() < end) {
      const query = int(queries.length / dimension);
      const started = performance.now();
      await engine.search("index", queries.subarray(query * dimension, (query + 1) * dimension), K, EFFORT);
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { times, faults: process.resourceUsage().majorPageFault - before };
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

if (values.child === undefined) await main();
else await measure(JSON.parse(values.child) as Job);
process.exit();
