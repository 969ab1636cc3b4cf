/**
 * A run: a cluster of real processes under the workload, the faults of a seed's schedule one after the other, then peace,
 * a full read, and the checker's verdict.
 */
import { writeFile } from "node:fs/promises";
import { errorMessage } from "../../errors.ts";
import { keysOf, shardOfKey } from "../../segment/keys.ts";
import { systemClock as clock } from "../../system-clock.ts";
import { seededNumbers } from "../vectors.ts";
import { checkHistory } from "./check-history.ts";
import { type FaultCluster, startFaultCluster } from "./fault-cluster.ts";
import { describe, emptyHistory, type History } from "./history.ts";
import { type Heal, inject } from "./inject.ts";
import { firstAnswer, type Prober, startProber } from "./prober.ts";
import { connectRecordingClient } from "./recording-client.ts";
import {
  describeFault,
  type Fault,
  type FaultKind,
  type NatsServers,
  nameOf,
  type Step,
  scheduleFaults,
} from "./schedule.ts";
import type { Violation } from "./violation.ts";
import { prepareCollection, SHARDS, startWorkload } from "./workload.ts";

const COLLECTION = "chaos";
const CLIENTS = 5;

/** After the end of a fault everything must be served again within this, however loaded the machine is. */
const RECOVERY_MS_MAX = 120_000;
const SETTLE_MS_MAX = 180_000;
/** What takes longer is said. */
const SETTLE_MS_SAID = 20_000;

export interface ChaosOptions {
  seed: number;
  /** How long new faults begin. */
  minutes: number;
  /** And longer, until there have been so many faults, and inserts. */
  atLeast?: { faults: number; inserts: number };
  kinds?: readonly FaultKind[];
  /** 1 when absent. */
  natsServers?: NatsServers;
  /** Faults with which the schedule begins that are left out. */
  skip?: number;
  say: (line: string) => void;
  /** Ends the run at once, and what it has started. */
  signal?: AbortSignal;
  /** Where the history goes when something is wrong; nowhere when absent. */
  historyFile?: string;
}

/** Times in milliseconds, from the fault on unless said otherwise; null: not within RECOVERY_MS_MAX after its end. */
export interface FaultResult {
  name: string;
  writableMs: number | null;
  searchableMs: number | null;
  /** From the end of the fault on. */
  healedWritableMs: number | null;
  healedSearchableMs: number | null;
  /** Of the workload's calls that ran between the fault and recovery, retries included. */
  longestWriteMs: number;
  longestReadMs: number;
  failedCalls: number;
}

export interface ChaosResult {
  seed: number;
  minutes: number;
  natsServers: NatsServers;
  startedAt: string;
  operations: Record<string, number>;
  unknownOutcomes: number;
  faults: FaultResult[];
  skipped: string[];
  unexpectedExits: string[];
  /** What went wrong besides the data: a process that did not come back, a cluster that did not settle. */
  problems: string[];
  violations: Violation[];
}

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { seed, say, natsServers = 1 } = options;
  const random = seededNumbers(seed);
  const steps = scheduleFaults(random, options.kinds, natsServers);
  for (let i = 0; i < (options.skip ?? 0); i++) steps.next();
  const history = emptyHistory();
  const result: ChaosResult = {
    seed,
    minutes: options.minutes,
    natsServers,
    startedAt: new Date().toISOString(),
    operations: {},
    unknownOutcomes: 0,
    faults: [],
    skipped: [],
    unexpectedExits: [],
    problems: [],
    violations: [],
  };
  const wantsDisk = options.kinds === undefined || options.kinds.includes("disk full");
  const cluster = await startFaultCluster({ say, limitDisk: wantsDisk && natsServers === 1, natsServers });
  result.unexpectedExits = cluster.unexpectedExits;
  try {
    const interrupted = new Promise<never>((_, reject) => {
      options.signal?.addEventListener("abort", () => reject(new Error("interrupted")), { once: true });
    });
    await Promise.race([runOn(cluster, { ...options, steps, history, result }), interrupted]);
    cluster.keepFolder = result.violations.length + result.problems.length > 0;
  } catch (error) {
    cluster.keepFolder = true;
    throw error;
  } finally {
    await cluster[Symbol.asyncDispose]();
  }
  const isWrong = result.violations.length + result.problems.length > 0;
  if (isWrong && options.historyFile !== undefined) await writeHistory(options.historyFile, history);
  return result;
}

async function runOn(
  cluster: FaultCluster,
  run: ChaosOptions & { steps: Generator<Step, never>; history: History; result: ChaosResult },
): Promise<void> {
  const { say, seed, steps, history, result } = run;
  const connected = await Promise.all(
    Array.from({ length: CLIENTS + 1 }, () => connectRecordingClient(cluster.nats.servers)),
  );
  const workloadOptions = {
    collectionName: COLLECTION,
    clients: connected.slice(1).map(({ forWorkload }) => forWorkload),
    clock,
    randomOf: (client: number) => seededNumbers(seed * 1000 + client),
    history,
  };
  await prepareCollection(workloadOptions);
  await untilSettled(cluster, run, "at the start");
  const workload = startWorkload(workloadOptions);
  const prober = connected[0]!.client;
  const began = clock.monotonic();
  const time = () => `${((clock.monotonic() - began) / 1000).toFixed(0).padStart(4)} s`;
  await clock.sleep(3_000);
  const { faults: faultsMin, inserts: insertsMin } = run.atLeast ?? { faults: 0, inserts: 0 };
  const isEnough = () =>
    result.faults.length >= faultsMin &&
    history.operations.filter(({ kind }) => kind === "insert").length >= insertsMin;
  while (clock.monotonic() - began < run.minutes * 60_000 || !isEnough()) {
    const { faults, gapMs } = steps.next().value;
    say(`${time()}  ${faults.map(describeFault).join("; and ")}`);
    const outcome = await strike(cluster, faults, startProber(prober, COLLECTION, history), history, result);
    if (outcome !== null) {
      result.faults.push(outcome);
      say(`${time()}    ${describeOutcome(outcome)}`);
    }
    await untilSettled(cluster, run, `after ${faults.map(describeFault).join("; and ")}`);
    await clock.sleep(gapMs);
  }
  say(`${time()}  peace`);
  await workload.stop();
  await untilSettled(cluster, run, "at the end");
  await workload.readAll();
  await Promise.all(connected.map((client) => client[Symbol.asyncDispose]()));
  history.observations.push(...(await cluster.observations()));
  for (const { kind } of history.operations) result.operations[kind] = (result.operations[kind] ?? 0) + 1;
  result.unknownOutcomes = history.operations.filter(({ outcome }) => outcome === "info").length;
  const refused = history.operations.find(({ outcome }) => outcome === "fail");
  if (refused !== undefined) result.problems.push(`a call was refused: ${describe(refused)} ${refused.error}`);
  result.violations = checkHistory(history, { shardOf });
}

/** One step of the schedule, from the first fault to the recovery from the last. Null: nothing of it could be done. */
async function strike(
  cluster: FaultCluster,
  faults: readonly Fault[],
  prober: Prober,
  history: History,
  result: ChaosResult,
): Promise<FaultResult | null> {
  const heals: { fault: Fault; heal: Heal; at: number }[] = [];
  try {
    for (const fault of faults) {
      const at = clock.monotonic();
      history.faults.push({ kind: "fault", name: describeFault(fault), at });
      const heal = await inject(cluster, fault);
      if (heal === null) result.skipped.push(nameOf(fault));
      else heals.push({ fault, heal, at });
    }
    await clock.sleep(Math.max(...faults.map(({ holdMs }) => holdMs)));
    const healedAt = clock.monotonic();
    for (const { fault, heal } of heals) {
      await heal().catch((error: unknown) => {
        result.problems.push(`${describeFault(fault)} could not be undone: ${errorMessage(error)}`);
      });
      history.faults.push({ kind: "healed", name: describeFault(fault), at: clock.monotonic() });
    }
    const isBack = () =>
      firstAnswer(prober.writes, healedAt) !== null && firstAnswer(prober.searches, healedAt) !== null;
    while (!isBack() && clock.monotonic() - healedAt < RECOVERY_MS_MAX) await clock.sleep(100);
    if (!isBack())
      result.problems.push(`no service ${RECOVERY_MS_MAX / 1000} s after ${faults.map(describeFault).join("; and ")}`);
    const at = heals[0]?.at;
    if (at === undefined) return null;
    return {
      name: heals
        .map(({ fault }) => nameOf(fault))
        .sort(byText)
        .join(" + "),
      writableMs: firstAnswer(prober.writes, at),
      searchableMs: firstAnswer(prober.searches, at),
      healedWritableMs: firstAnswer(prober.writes, healedAt),
      healedSearchableMs: firstAnswer(prober.searches, healedAt),
      ...callsBetween(history, at, clock.monotonic()),
    };
  } catch (error) {
    result.problems.push(`${faults.map(describeFault).join("; and ")} could not be done: ${errorMessage(error)}`);
    for (const { heal } of heals) await heal().catch(() => undefined);
    return null;
  } finally {
    await prober.stop();
  }
}

const byText = (a: string, b: string) => (a < b ? -1 : 1);

function callsBetween(history: History, from: number, to: number) {
  const facts = { longestWriteMs: 0, longestReadMs: 0, failedCalls: 0 };
  for (const { kind, client, start, end, outcome } of history.operations) {
    if (client > CLIENTS || end < from || start > to || kind === "flush" || kind === "load") continue;
    if (outcome !== "ok") facts.failedCalls++;
    else if (kind === "insert" || kind === "upsert" || kind === "delete")
      facts.longestWriteMs = Math.max(facts.longestWriteMs, end - start);
    else facts.longestReadMs = Math.max(facts.longestReadMs, end - start);
  }
  return facts;
}

/** Everybody is there, every channel open, every segment served. What does not come to be is a problem of the run. */
async function untilSettled(
  cluster: FaultCluster,
  { say, result }: Pick<ChaosOptions, "say"> & { result: ChaosResult },
  when: string,
): Promise<void> {
  const since = clock.monotonic();
  const deadline = since + SETTLE_MS_MAX;
  let missing = "";
  for (;;) {
    try {
      const { nodes, leader, channels, collections } = await cluster.status();
      const problems = [
        nodes.length === cluster.places.length ? [] : [`${nodes.length} nodes of ${cluster.places.length}`],
        leader?.isAlive === true ? [] : ["no leader"],
        channels.filter(({ isOpen }) => !isOpen).map(({ channel }) => `channel ${channel} is not open`),
        collections
          .filter(({ loadState }) => loadState !== "loaded")
          .map(({ segments }) => `loading ${JSON.stringify(segments)}`),
      ].flat();
      if (problems.length === 0) {
        const took = clock.monotonic() - since;
        if (took > SETTLE_MS_SAID)
          say(`        settled after ${(took / 1000).toFixed(0)} s; at last it was ${missing}`);
        return;
      }
      missing = problems.join(", ");
    } catch (error) {
      missing = errorMessage(error);
    }
    if (clock.monotonic() > deadline) break;
    await clock.sleep(1_000);
  }
  result.problems.push(`not settled ${SETTLE_MS_MAX / 1000} s ${when}: ${missing}`);
}

function shardOf(key: number): number {
  return shardOfKey(keysOf("int64", [key]), 0, SHARDS);
}

function describeOutcome(outcome: FaultResult): string {
  const seconds = (ms: number | null) => (ms === null ? "never" : `${(ms / 1000).toFixed(1)} s`);
  return (
    `writes after ${seconds(outcome.writableMs)} (${seconds(outcome.healedWritableMs)} from its end), ` +
    `searches after ${seconds(outcome.searchableMs)} (${seconds(outcome.healedSearchableMs)}), ` +
    `longest write ${seconds(outcome.longestWriteMs)}, read ${seconds(outcome.longestReadMs)}, ${outcome.failedCalls} failed`
  );
}

async function writeHistory(path: string, history: History): Promise<void> {
  const lines = [
    ...history.operations.map((operation) => ({ type: "operation", ...operation })),
    ...history.observations.map((observation) => ({ type: "observation", ...observation })),
    ...history.faults.map((fault) => ({ type: "fault", ...fault })),
  ].map((line) => JSON.stringify(line, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)));
  await writeFile(path, `${lines.join("\n")}\n`);
}
