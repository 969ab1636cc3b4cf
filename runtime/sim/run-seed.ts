/**
 * One run: a cluster and a workload of one seed, faults, healing, and the verdict. What the seed decides: the size of the
 * cluster, its settings, the weather, every fault and its moment, every operation of the clients.
 */
import { ROLES, type Role } from "../actor.ts";
import { errorMessage } from "../errors.ts";
import { keysOf, shardOfKey } from "../segment/keys.ts";
import { checkHistory } from "../testing/fault/check-history.ts";
import { emptyHistory, type History } from "../testing/fault/history.ts";
import { prepareCollection, SHARDS, startWorkload } from "../testing/fault/workload.ts";
import { SimCluster } from "./cluster.ts";
import { watchInvariants } from "./invariants.ts";
import { startNemesis } from "./nemesis.ts";
import { PLANTED_BUGS, type PlantedBug } from "./planted-bugs.ts";
import { Scheduler } from "./scheduler.ts";
import type { Seeded } from "./seeded.ts";
import type { LogLine } from "./sim-logger.ts";

export interface RunOptions {
  seed: number;
  /** How long faults happen, in virtual milliseconds. */
  faultMs?: number;
  /** A bug of the server, to see that it is found. */
  plant?: PlantedBug;
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
  /** Same seed, same trace. */
  traceHash: string;
}

const FAULT_MS = 25_000;
/** After the last fault everything must work again within this time. */
const HEAL_MS = 60_000;
const LIMITS = { virtualMs: 600_000, events: 3_000_000 };
/** Problems that one run reports. */
const PROBLEMS_MAX = 20;

export async function runSeed(options: RunOptions): Promise<RunResult> {
  const { seed, faultMs = FAULT_MS } = options;
  const scheduler = new Scheduler(seed);
  scheduler.onEvent = options.onEvent;
  const problems: string[] = [];
  const report = (problem: string) => {
    if (problems.length < PROBLEMS_MAX) problems.push(`${scheduler.now.toFixed(1)} ms: ${problem}`);
  };
  const design = scheduler.random.fork("design");
  const cluster = new SimCluster({
    scheduler,
    nodes: designNodes(design),
    server: {
      walChannels: 1 + design.int(3),
      logBytesMax: design.chance(0.1) ? 1 << 20 : 64 << 20,
      isReplicated: design.chance(0.3),
    },
    config: designConfig(design),
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

  const main = async (): Promise<void> => {
    for (const node of cluster.nodes) cluster.start(node);
    const clients = Array.from({ length: 2 + design.int(2) }, () => cluster.connectClient(15_000));
    const { clock } = clients[0]!;
    const workloadOptions = {
      collectionName: "c",
      clients: clients.map(({ client }) => client),
      clock,
      randomOf: (client: number) => {
        const random = scheduler.random.fork(`workload ${client}`);
        return () => random.next();
      },
      history,
      pauseMs: 400,
    };
    await prepareCollection(workloadOptions, 1 + design.int(2));
    const nemesis = startNemesis(cluster);
    const workload = startWorkload(workloadOptions);
    await clock.sleep(faultMs);
    nemesis.stop();
    const healed = clock.monotonic();
    await workload.stop();
    try {
      await workload.readAll();
    } catch (error) {
      report(`not healed: ${errorMessage(error)}`);
    }
    if (clock.monotonic() - healed > HEAL_MS) report(`healing took ${(clock.monotonic() - healed).toFixed(0)} ms`);
  };
  try {
    await scheduler.run(main, LIMITS);
  } catch (error) {
    report(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  for (const { kind, message } of checkHistory(history, { shardOf })) report(`${kind}: ${message}`);
  return {
    seed,
    problems,
    virtualMs: scheduler.now,
    events: scheduler.events,
    history,
    traceHash: scheduler.traceHash,
  };
}

/** From everything in two nodes to every role on its own. */
function designNodes(design: Seeded): Role[][] {
  switch (design.int(3)) {
    case 0:
      return [[...ROLES], [...ROLES]];
    case 1:
      return [
        ["coordinator", "proxy"],
        ["coordinator", "data"],
        ["streaming", "query"],
        ["streaming", "query", "proxy"],
      ];
    default:
      return [
        ["coordinator"],
        ["coordinator", "data"],
        ["streaming"],
        ["streaming"],
        ["query"],
        ["query"],
        ["proxy"],
        ["proxy"],
      ];
  }
}

function designConfig(design: Seeded): Record<string, Record<string, unknown>> {
  return {
    node: { leaseSeconds: design.pick([2, 3]) },
    streaming: {
      sealRows: design.pick([20, 60, 200, 100_000]),
      sealAgeMs: design.pick([1_500, 4_000, 600_000]),
    },
    coordinator: { indexRowsMin: design.pick([10, 50, 1_024]), garbageIntervalMs: design.pick([2_000, 10_000]) },
  };
}

/** A handler that failed in a way that no error kind describes: a bug, whatever the weather. */
function bugIn(line: LogLine): string | null {
  if (line.message !== "handler failed" && line.message !== "reply could not be sent") return null;
  const error = line.fields.err as Error | undefined;
  if (error?.message === "the build's process died") return null;
  return `${line.node}: ${line.message} (${String(line.fields.subject)}): ${error?.stack ?? String(error)}`;
}

function shardOf(key: number): number {
  return shardOfKey(keysOf("int64", [key]), 0, SHARDS);
}
