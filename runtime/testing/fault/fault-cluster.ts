/**
 * A cluster of real processes that is there to be broken: each process has a place (its role, its number, its folder)
 * that outlives it, NATS (one server or three) can be broken too, and what ends by itself is started again, as an
 * orchestrator would.
 */
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Role } from "../../actor.ts";
import type { ClusterStatus } from "../../commands/status/collect.ts";
import { systemClock } from "../../system-clock.ts";
import { PROJECT_FOLDER } from "../../version.ts";
import { clusterStatus, type RoleProcess, startProcessCluster } from "../process-cluster.ts";
import { type FaultNats, startNatsOfThree, startSingleNats } from "./fault-nats.ts";
import type { Observation } from "./history.ts";
import { type LimitedDisk, mountLimitedDisk } from "./limited-disk.ts";
import { CLUSTER, type NatsServers } from "./schedule.ts";

/** Seals, index builds and loads go on all the time; the log's bound is the smallest there is. */
const SETTINGS = [
  "streaming.sealRows=300",
  "streaming.sealAgeMs=10000",
  "coordinator.indexRowsMin=100",
  "coordinator.garbageIntervalMs=5000",
  "cluster.walBytesMax=67108864",
  "log.level=info",
];

const DISK_BYTES = 2 * 1024 * 1024 * 1024;

export interface Place {
  readonly role: Role;
  readonly index: number;
  readonly folder: string;
  /** The process that is or was there last. */
  readonly process: RoleProcess;
  isFrozen: boolean;
}

export interface FaultCluster extends AsyncDisposable {
  readonly folder: string;
  readonly places: readonly Place[];
  readonly disk: LimitedDisk | null;
  readonly nats: FaultNats;
  placeOf(role: Role | undefined, index: number | undefined): Place;
  /** Ends it for good, until `start`. */
  end(place: Place, signal: "SIGKILL" | "SIGTERM"): Promise<void>;
  start(place: Place): Promise<void>;
  signal(place: Place, signal: "SIGSTOP" | "SIGCONT" | "SIGUSR2"): void;
  stepClock(place: Place, offsetMs: number): Promise<void>;
  status(): Promise<ClusterStatus>;
  /** Who acted as owner or leader, as the processes' logs tell. */
  observations(): Promise<Observation[]>;
  /** Processes that ended though nobody told them to. */
  readonly unexpectedExits: string[];
  /** Removes the folder at the end only when this is false. */
  keepFolder: boolean;
}

/** limitDisk: of the single server, where that can be done. */
export async function startFaultCluster(options: {
  say: (line: string) => void;
  limitDisk: boolean;
  natsServers: NatsServers;
}): Promise<FaultCluster> {
  const { say, natsServers } = options;
  const folder = await mkdtemp(join(tmpdir(), "vdb-chaos-"));
  const disk = options.limitDisk ? await mountLimitedDisk(folder, DISK_BYTES, say) : null;
  const nats =
    natsServers === 1 ? await startSingleNats(join(disk?.folder ?? folder, "nats")) : await startNatsOfThree();
  const { servers } = nats;
  // All of them can have their clocks stepped; their own children are left in peace.
  const shim = pathToFileURL(join(PROJECT_FOLDER, "dist", "runtime", "testing", "fault", "clock-shim.js")).href;
  const processes = await startProcessCluster({
    roles: [],
    settings: [...SETTINGS, `cluster.replicas=${natsServers}`],
    servers,
  });
  const unexpectedExits: string[] = [];
  let isOver = false;

  interface MutablePlace extends Place {
    process: RoleProcess;
    isWanted: boolean;
  }
  const launch = async (role: Role, index: number, placeFolder: string): Promise<RoleProcess> => {
    const clockFile = join(folder, `${role}-${index}.clock`);
    await writeFile(clockFile, "0");
    const before = { options: process.env.NODE_OPTIONS, file: process.env.VDB_CLOCK_OFFSET_FILE };
    process.env.NODE_OPTIONS = `--import=${shim}`;
    process.env.VDB_CLOCK_OFFSET_FILE = clockFile;
    // Spawns before it first waits, so nothing else is started in this environment.
    const started = processes.start([role], [`node.dataDir=${placeFolder}`]);
    restore("NODE_OPTIONS", before.options);
    restore("VDB_CLOCK_OFFSET_FILE", before.file);
    return started;
  };
  const watchOver = (place: MutablePlace): void => {
    const { process: watched } = place;
    void watched.exited.then(async (how) => {
      if (isOver || !place.isWanted || place.process !== watched) return;
      unexpectedExits.push(`${place.role} ${place.index} ended by itself (${how}), log ${watched.logFile}`);
      say(unexpectedExits.at(-1)!);
      while (!isOver && place.isWanted && place.process === watched) {
        await systemClock.sleep(1_000);
        await start(place).catch((error: unknown) => say(`${place.role} ${place.index}: ${String(error)}`));
      }
    });
  };
  const start = async (place: MutablePlace): Promise<void> => {
    place.isWanted = true;
    place.isFrozen = false;
    place.process = await launch(place.role, place.index, place.folder);
    watchOver(place);
  };

  const places = await Promise.all(
    CLUSTER.flatMap(([role, count]) => Array.from({ length: count }, (_, index) => ({ role, index }))).map(
      async ({ role, index }): Promise<MutablePlace> => {
        const placeFolder = join(folder, `${role}-${index}`);
        const process = await launch(role, index, placeFolder);
        return { role, index, folder: placeFolder, process, isFrozen: false, isWanted: true };
      },
    ),
  );
  for (const place of places) watchOver(place);

  const cluster: FaultCluster = {
    folder,
    places,
    disk,
    nats,
    unexpectedExits,
    keepFolder: false,
    placeOf(role, index) {
      const place = places.find((candidate) => candidate.role === role && candidate.index === index);
      if (place === undefined) throw new Error(`there is no ${role} ${index}`);
      return place;
    },
    async end(place, signal) {
      (place as MutablePlace).isWanted = false;
      place.process.kill(signal);
      const late = systemClock.timer(20_000, () => place.process.kill("SIGKILL"));
      await place.process.exited;
      late[Symbol.dispose]();
    },
    start: (place) => start(place as MutablePlace),
    signal(place, signal) {
      if (signal !== "SIGUSR2") place.isFrozen = signal === "SIGSTOP";
      place.process.kill(signal);
    },
    async stepClock(place, offsetMs) {
      await writeFile(join(folder, `${place.role}-${place.index}.clock`), String(offsetMs));
      place.process.kill("SIGUSR2");
    },
    status: () => clusterStatus(servers),
    observations: () => observationsIn(processes.folder),
    async [Symbol.asyncDispose]() {
      isOver = true;
      for (const place of places) if (place.isFrozen) place.process.kill("SIGCONT");
      if (cluster.keepFolder) say(`logs: ${await keepLogs(processes.folder, folder, nats)}`);
      await processes[Symbol.asyncDispose]();
      await nats[Symbol.asyncDispose]();
      await disk?.[Symbol.asyncDispose]();
      if (!cluster.keepFolder) await rm(folder, { recursive: true, force: true });
    },
  };
  return cluster;
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

async function logFiles(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith(".log"));
}

interface LogLine {
  msg: string;
  nodeId: string;
  epoch: number;
  pchannel: number;
  term: number;
}

async function observationsIn(folder: string): Promise<Observation[]> {
  const observations: Observation[] = [];
  for (const name of await logFiles(folder)) {
    for (const line of (await readFile(join(folder, name), "utf8")).split("\n")) {
      if (!line.includes('"leading"') && !line.includes('"channel open"')) continue;
      try {
        const { msg, nodeId, epoch, pchannel, term } = JSON.parse(line) as LogLine;
        if (msg === "leading") observations.push({ kind: "leader", epoch, nodeId });
        else if (msg === "channel open") observations.push({ kind: "owner", pchannel, term, nodeId });
      } catch {
        // The line that a kill cut off.
      }
    }
  }
  return observations;
}

/** Beside the processes' folders, which stay. */
async function keepLogs(from: string, to: string, nats: FaultNats): Promise<string> {
  for (const name of await logFiles(from)) await copyFile(join(from, name), join(to, name));
  await nats.keepLogs(to);
  return to;
}
