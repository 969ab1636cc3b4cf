/**
 * One run: a cluster and a workload of one seed, faults, healing, and the verdict. What the seed decides: the size of the
 * cluster, its settings, the weather, every fault and its moment, every operation of the clients.
 */
import { ROLES, type Role } from "../actor.ts";
import { errorMessage } from "../errors.ts";
import { keysOf, shardOfKey } from "../segment/keys.ts";
import { checkHistory } from "../testing/fault/check-history.ts";
import { emptyHistory, type History } from "../testing/fault/history.ts";
import { prepareCollection, startWorkload } from "../testing/fault/workload.ts";
import { startChurn } from "./catalogue-churn.ts";
import { type ClusterOptions, SimCluster } from "./cluster.ts";
import { watchInvariants } from "./invariants.ts";
import { startNameChurn } from "./name-churn.ts";
import { startNemesis } from "./nemesis.ts";
import { PLANTED_BUGS, type PlantedBug } from "./planted-bugs.ts";
import { Scheduler } from "./scheduler.ts";
import type { Seeded } from "./seeded.ts";
import type { LogLine } from "./sim-logger.ts";

export interface RunOptions {
  seed: number;
  /** Five times as long, with time-outs as they are in the real world, and fewer operations a second. */
  isLong?: boolean;
  /** How long faults happen, in virtual milliseconds, instead of what is usual. */
  faultMs?: number;
  /** A bug of the server, to see that it is found. */
  plant?: PlantedBug;
  /** Ends at the first problem: enough to know which seeds fail. Their traces begin as those of whole runs. */
  stopsAtProblem?: boolean;
  onLog?: (at: number, line: LogLine) => void;
  onEvent?: (at: number, process: string, label: string) => void;
}

export interface RunResult {
  seed: number;
  /** What is wrong; none when all is well. */
  problems: string[];
  virtualMs: number;
  events: number;
  history: History;
  /** What happened, and how often. */
  tally: ReadonlyMap<string, number>;
  /** Same seed, same trace. */
  traceHash: string;
}

interface Pace {
  faultMs: number;
  /** Of a client, between two operations; each seed has one of these. */
  pausesMs: readonly number[];
  /** Of a client's call. */
  timeoutMs: number;
  haste: number;
  leaseSeconds: readonly number[];
}

const LONG: Pace = { faultMs: 25_000, pausesMs: [400], timeoutMs: 15_000, haste: 1, leaseSeconds: [2, 3] };
const DENSE: Pace = {
  faultMs: 2_000,
  // Operations are what a run costs. Some bugs need many of them at once, others are found sooner by more runs of fewer.
  pausesMs: [80, 80, 400, 400],
  timeoutMs: 4_000,
  haste: 0.15,
  leaseSeconds: [1, 2, 2],
};

const COLLECTION = "c";
const STATIC_ROWS = 64;
/** Of the seeds, in which the catalogue changes all the time. */
const CHURNED = 0.25;
/** Of those, in which it is collections that take each other's names. */
const RENAMED = 0.4;
/** Of the seeds, in which rows are laid out by their key now and then. */
const CLUSTERED = 0.3;

/** After the last fault everything must work again within this time: a message lost by then is noticed by the wait for its answer alone. */
const HEAL_MS = 60_000;
const LIMITS = { virtualMs: 600_000, events: 3_000_000 };
/** Problems that one run reports. */
const PROBLEMS_MAX = 20;

export async function runSeed(options: RunOptions): Promise<RunResult> {
  const { seed, isLong = false } = options;
  const pace = isLong ? LONG : DENSE;
  const { faultMs = pace.faultMs } = options;
  const scheduler = new Scheduler(seed);
  scheduler.onEvent = options.onEvent;
  const pauseMs = scheduler.random.fork("pace").pick(pace.pausesMs);
  const problems: string[] = [];
  const report = (problem: string) => {
    if (problems.length < PROBLEMS_MAX) problems.push(`${scheduler.now.toFixed(1)} ms: ${problem}`);
    if (options.stopsAtProblem === true) scheduler.stop();
  };
  const design = scheduler.random.fork("design");
  const shards = design.pick([1, 1, 2, 3]);
  const cluster = new SimCluster({
    scheduler,
    nodes: designNodes(design),
    server: {
      walChannels: 1 + design.int(3),
      logBytesMax: design.chance(0.1) ? 48 << 10 : 64 << 20,
      messageBytesMax: design.chance(0.2) ? 8 << 10 : 1 << 20,
      isReplicated: design.chance(0.5),
      haste: pace.haste,
    },
    config: designConfig(design),
    leaseSeconds: design.pick(pace.leaseSeconds),
    isVerbose: options.onLog !== undefined,
    onLog: (line) => {
      options.onLog?.(scheduler.now, line);
      const bug = bugIn(line);
      if (bug !== null) report(bug);
    },
  });
  watchInvariants(cluster.server, report);
  if (options.plant !== undefined) PLANTED_BUGS[options.plant](cluster);
  const history = emptyHistory();
  const isClustered = scheduler.random.fork("clustering").chance(CLUSTERED);

  const main = async (): Promise<void> => {
    for (const node of cluster.nodes) cluster.start(node);
    const clients = Array.from({ length: 2 + design.int(2) }, () => cluster.connectClient(pace.timeoutMs));
    const { clock } = clients[0]!;
    const workloadOptions = {
      collectionName: COLLECTION,
      clients: clients.map(({ client }) => client),
      clock,
      randomOf: (client: number) => {
        const random = scheduler.random.fork(`workload ${client}`);
        return () => random.next();
      },
      history,
      pauseMs,
      shards,
      staticRows: STATIC_ROWS,
      isClustered,
    };
    await prepareCollection(workloadOptions, 1 + design.int(2));
    const { client: admin } = cluster.connectClient(pace.timeoutMs);
    const nemesis = startNemesis(cluster, { admin, collectionName: COLLECTION, isClustered });
    const workload = startWorkload(workloadOptions);
    const churnRandom = scheduler.random.fork("churn");
    const churned = () => {
      const { client, clock: own } = cluster.connectClient(pace.timeoutMs);
      const count = (what: string) => cluster.server.tally.count(what);
      const options = { client, clock: own, random: churnRandom, collectionName: COLLECTION, pauseMs, report, count };
      const start = churnRandom.chance(RENAMED) ? startNameChurn : startChurn;
      return start(options).catch(() => undefined);
    };
    const churn = churnRandom.chance(CHURNED) ? await churned() : undefined;
    await clock.sleep(faultMs);
    nemesis.stop();
    const deadline = clock.monotonic() + HEAL_MS;
    await workload.stop();
    await churn?.stop();
    for (;;) {
      try {
        await workload.readAll();
        await churn?.check();
        return;
      } catch (error) {
        if (clock.monotonic() >= deadline) {
          report(`not healed in ${HEAL_MS} ms: ${errorMessage(error)}`);
          return;
        }
      }
      // What refuses at once would be asked ten thousands of times.
      await clock.sleep(pauseMs);
    }
  };
  // Stacks are for people: making them, of each error that the product meets as it should, takes more than the rest of it.
  const { stackTraceLimit } = Error;
  if (options.onLog === undefined && options.onEvent === undefined) Error.stackTraceLimit = 0;
  try {
    await scheduler.run(main, LIMITS);
  } catch (error) {
    report(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  const shardOf = remembered((key) => shardOfKey(keysOf("int64", [key]), 0, shards));
  for (const { kind, message } of checkHistory(history, { shardOf })) report(`${kind}: ${message}`);
  return {
    seed,
    problems,
    virtualMs: scheduler.now,
    events: scheduler.events,
    history,
    tally: cluster.server.tally.counts,
    traceHash: scheduler.traceHash,
  };
}

function remembered(ask: (key: number) => number): (key: number) => number {
  const known = new Map<number, number>();
  return (key) => {
    const answer = known.get(key) ?? ask(key);
    known.set(key, answer);
    return answer;
  };
}

/** From everything in two nodes to every role on its own. */
function designNodes(design: Seeded): Role[][] {
  switch (design.int(4)) {
    case 0:
      return [[...ROLES], [...ROLES]];
    case 1:
      return [
        ["coordinator", "proxy", "data"],
        ["coordinator", "streaming", "query"],
        ["streaming", "query", "proxy"],
      ];
    case 2:
      return [
        ["coordinator", "proxy"],
        ["coordinator", "data"],
        ["streaming", "query"],
        ["streaming", "query", "proxy"],
      ];
    default:
      return [["coordinator", "data"], ["coordinator", "proxy"], ["streaming"], ["streaming"], ["query"], ["query"]];
  }
}

/** Small everything, so that much is sealed, indexed, compacted and collected in a run of seconds. */
function designConfig(design: Seeded): ClusterOptions["config"] {
  return {
    streaming: {
      sealRows: design.pick([10, 20, 60, 100_000]),
      sealAgeMs: design.pick([1_000, 4_000, 600_000]),
      deleteRows: design.pick([5, 30, 65_536]),
    },
    coordinator: {
      indexRowsMin: design.pick([10, 50, 1_024]),
      compactionBytes: design.pick([8 << 10, 64 << 10, 256 << 20]),
      deletedShare: design.pick([0.05, 0.2]),
      deltaRows: design.pick([5, 30, 262_144]),
      deltaObjects: design.pick([1, 3, 10]),
      garbageIntervalMs: design.pick([1_000, 3_000]),
    },
  };
}

/** A handler that failed in a way that no error kind describes: a bug, whatever the weather. */
function bugIn(line: LogLine): string | null {
  if (line.message !== "handler failed" && line.message !== "reply could not be sent") return null;
  const error = line.fields.err as Error | undefined;
  if (error?.message === "the build's process died") return null;
  return `${line.node}: ${line.message} (${String(line.fields.subject)}): ${error?.stack ?? String(error)}`;
}
