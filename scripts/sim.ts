/**
 * Simulated clusters: `npm run sim -- --seed N` runs one again, exactly, and says what is wrong; with `--seeds COUNT` it
 * runs that many from there on, on every core, each up to its first problem, and tells those that fail.
 *
 *   --log      also prints what the nodes log, with virtual times
 *   --events   also prints every event
 *   --key K    also prints every operation of the clients that concerns a key
 *   --long     five times as long, with time-outs as in the real world, and fewer operations a second
 *   --fault-ms M  has faults for so many virtual milliseconds
 *   --plant B  plants a bug into the simulated server: it should be found
 *   --tally    also says what happened, in how many of the seeds and how often
 */
import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { PLANTED_BUGS, type PlantedBug } from "../runtime/sim/planted-bugs.ts";
import type { RunOptions, RunResult } from "../runtime/sim/run-seed.ts";
import type { LogLine } from "../runtime/sim/sim-logger.ts";
import { describe, type Operation } from "../runtime/testing/fault/history.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
    log: { type: "boolean", default: false },
    events: { type: "boolean", default: false },
    key: { type: "string" },
    plant: { type: "string" },
    long: { type: "boolean", default: false },
    tally: { type: "boolean", default: false },
    "fault-ms": { type: "string" },
    /** Set for the processes that this one starts: seeds come as messages. */
    worker: { type: "boolean", default: false },
  },
});

/**
 * Of V8, for the workers. There is one for each core, so what other threads do is not free: compiling less far, since much
 * code runs a little and none runs long, and never throwing away what it was compiled to; and collecting garbage less
 * often, about once in three seeds, since a seed leaves nothing behind.
 */
const V8_FLAGS = [
  "--no-flush-bytecode",
  "--single-threaded-gc",
  "--min-semi-space-size=64",
  "--max-semi-space-size=64",
  "--max-inlined-bytecode-size=160",
  "--max-inlined-bytecode-size-cumulative=300",
];

/** What a worker says of a seed. */
interface Outcome {
  seed: number;
  problems: string[];
  tally: [what: string, times: number][];
  events: number;
  /** What the machine's load moves less than the time by the clock. */
  cpuMs: number;
}

const plant = values.plant;
if (plant !== undefined && !(plant in PLANTED_BUGS)) {
  throw new Error(`--plant takes one of: ${Object.keys(PLANTED_BUGS).join(", ")}`);
}
const common: Omit<RunOptions, "seed"> = { isLong: values.long };
if (plant !== undefined) common.plant = plant as PlantedBug;
if (values["fault-ms"] !== undefined) common.faultMs = Number(values["fault-ms"]);
const firstSeed = Number(values.seed);
const count = Number(values.seeds);

/** Not by those that only hand out seeds: it takes a second. */
const simulator = () => Promise.all([import("../runtime/sim/run-seed.ts"), import("../runtime/sim/scheduler.ts")]);

if (values.worker) await work();
else if (count === 1) await runOne(firstSeed);
else await runMany();

async function runOne(seed: number): Promise<void> {
  const options: RunOptions = { seed, ...common };
  if (values.log) options.onLog = printLine;
  if (values.events) options.onEvent = (at, process, label) => print(`${at.toFixed(2)} ${process} ${label}`);
  const [{ runSeed }] = await simulator();
  const result = await runSeed(options);
  if (values.key !== undefined) printOperations(result, Number(values.key));
  for (const problem of result.problems) print(problem);
  const { problems, events, virtualMs, traceHash, history } = result;
  const verdict = problems.length === 0 ? "ok" : `${problems.length} problems`;
  const facts = `${events} events, ${history.operations.length} operations, ${Math.round(virtualMs)} virtual ms`;
  print(`seed ${seed}: ${verdict} (${facts}, trace ${traceHash})`);
  if (values.tally) printTally([[...result.tally]]);
  if (problems.length > 0) process.exitCode = 1;
}

async function runMany(): Promise<void> {
  const started = performance.now();
  const failed: number[] = [];
  const tallies: Outcome["tally"][] = [];
  const sum = { events: 0, cpuMs: 0 };
  let next = firstSeed;
  const onOutcome = ({ seed, problems, tally, events, cpuMs }: Outcome) => {
    tallies.push(tally);
    sum.events += events;
    sum.cpuMs += cpuMs;
    if (problems.length === 0) return;
    failed.push(seed);
    print(`seed ${seed}: ${problems.length} problems, npm run sim -- --seed ${seed}`);
    for (const problem of problems.slice(0, 3)) print(`    ${problem.split("\n", 1)[0]}`);
  };
  const takeSeed = () => (next < firstSeed + count ? next++ : null);
  const workers = Math.min(Number(values.workers), count);
  await Promise.all(Array.from({ length: workers }, () => superviseWorker(takeSeed, onOutcome)));
  const minutes = (performance.now() - started) / 60_000;
  if (values.tally) printTally(tallies);
  const each = `${Math.round(sum.events / count)} events and ${Math.round(sum.cpuMs / count)} ms of CPU each`;
  const pace = `${Math.round(count / minutes)} seeds a minute`;
  print(`${count} seeds from ${firstSeed} on: ${failed.length} failed, ${pace}, ${each}`);
  if (failed.length > 0) process.exitCode = 1;
}

/** Gives seeds to a process of its own until there are none left. */
function superviseWorker(takeSeed: () => number | null, onOutcome: (outcome: Outcome) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const execArgv = [...process.execArgv, ...V8_FLAGS];
    const worker: ChildProcess = fork(import.meta.filename, ["--worker", ...process.argv.slice(2)], { execArgv });
    let seed: number | null = null;
    const giveNext = () => {
      seed = takeSeed();
      if (seed === null) worker.disconnect();
      else worker.send(seed);
    };
    worker.on("message", (outcome: Outcome) => {
      onOutcome(outcome);
      giveNext();
    });
    worker.once("exit", (code) => {
      if (seed === null) resolve();
      else reject(new Error(`the process that ran seed ${seed} ended with ${code}`));
    });
    giveNext();
  });
}

async function work(): Promise<void> {
  const [{ runSeed }, { forbidRealWorld }] = await simulator();
  forbidRealWorld();
  process.on("message", (seed: number) => {
    const before = process.cpuUsage();
    const tell = (found: Pick<Outcome, "problems" | "tally" | "events">) => {
      const { user, system } = process.cpuUsage(before);
      process.send!({ seed, ...found, cpuMs: (user + system) / 1000 } satisfies Outcome);
    };
    runSeed({ seed, ...common, stopsAtProblem: true }).then(
      ({ problems, tally, events }) => tell({ problems, tally: [...tally], events }),
      (error: unknown) => tell({ problems: [String(error)], tally: [], events: 0 }),
    );
  });
}

function printOperations({ history }: RunResult, key: number): void {
  const concerns = (operation: Operation): boolean => {
    const rows = "rows" in operation ? operation.rows : "found" in operation ? operation.found : [];
    const keys = "keys" in operation ? operation.keys : "asked" in operation ? (operation.asked ?? []) : [];
    return keys.includes(key) || rows.some((row) => row.key === key);
  };
  for (const operation of history.operations.filter(concerns)) {
    const rows = "rows" in operation ? operation.rows : "found" in operation ? operation.found : [];
    const version = rows.find((row) => row.key === key)?.version;
    print(`${describe(operation)} version ${version ?? "none"} ${operation.error ?? ""}`);
  }
}

function printTally(tallies: readonly Outcome["tally"][]): void {
  const sums = new Map<string, { seeds: number; times: number }>();
  for (const [what, times] of tallies.flat()) {
    const sum = sums.get(what) ?? { seeds: 0, times: 0 };
    sums.set(what, { seeds: sum.seeds + 1, times: sum.times + times });
  }
  for (const [what, { seeds, times }] of [...sums].sort((a, b) => b[1].seeds - a[1].seeds)) {
    print(`${String(seeds).padStart(8)} seeds ${String(times).padStart(8)} times  ${what}`);
  }
}

function printLine(at: number, { level, node, message, fields }: LogLine): void {
  const text = JSON.stringify(fields, (_, value: unknown) => {
    if (typeof value === "bigint") return String(value);
    return value instanceof Error ? value.message : value;
  });
  print(`${at.toFixed(1)} ${level} ${node} ${message} ${text}`);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
