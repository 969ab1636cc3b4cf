/**
 * A cluster of real processes: a nats-server and one `vdb-actor start` for each list of roles, on this machine. For
 * tests that kill them, for benchmarks, for the quickstart. It runs what `npm run setup` built.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import type { Role } from "../actor.ts";
import { type ClusterStatus, collectStatus } from "../commands/status/collect.ts";
import { loadConfig } from "../config/load.ts";
import { type NatsServerProcess, startNatsServer } from "../nats/server.ts";
import { PROJECT_FOLDER } from "../version.ts";

/** The smallest cluster that does without any one of its processes but the data node. */
export const TWO_OF_EACH: readonly (readonly Role[])[] = [
  ["coordinator"],
  ["coordinator"],
  ["streaming"],
  ["streaming"],
  ["query"],
  ["query"],
  ["data"],
  ["proxy"],
  ["proxy"],
];

/** Nine of them start at once on two cores. */
const READY_TIMEOUT_MS = 150_000;

const STATUS_TIMEOUT_MS = 60_000;
const STATUS_RETRY_MS = 250;

export interface RoleProcess {
  readonly roles: readonly Role[];
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Resolves with the exit code (or signal) once it has ended. */
  readonly exited: Promise<string>;
  isAlive(): boolean;
  kill(signal: NodeJS.Signals): void;
}

export interface ProcessCluster extends AsyncDisposable {
  readonly nats: NatsServerProcess;
  readonly folder: string;
  readonly processes: readonly RoleProcess[];
  /** Starts one more process and resolves when it is ready. */
  start(roles: readonly Role[], settings?: readonly string[]): Promise<RoleProcess>;
  /** The end of every process's log: for a failure's report. */
  logs(): Promise<string>;
}

/** settings: `section.key=value` for every process. servers: NATS that runs already, and goes on; else one is started. */
export async function startProcessCluster(options: {
  roles: readonly (readonly Role[])[];
  settings?: readonly string[];
  servers?: string;
}): Promise<ProcessCluster> {
  const folder = await mkdtemp(join(tmpdir(), "vdb-cluster-"));
  const own = options.servers === undefined ? await startNatsServer({ dataDir: join(folder, "nats"), port: 0 }) : null;
  const servers = own === null ? options.servers : own.url;
  const processes: RoleProcess[] = [];
  const cluster: ProcessCluster = {
    get nats() {
      if (own === null) throw new Error("this cluster runs on a NATS that was given to it");
      return own;
    },
    folder,
    processes,
    async start(roles, more = []) {
      const name = `${roles.join("-")}-${processes.length}`;
      const settings = [
        `nats.servers=${servers}`,
        // JetStream reserves a stream's bound on the disk; what runs here needs little of it.
        "cluster.walBytesMax=268435456",
        `node.dataDir=${join(folder, name)}`,
        ...(options.settings ?? []),
        ...more,
      ];
      const started = startRoleProcess({ roles, name, settings, logFile: join(folder, `${name}.log`) });
      processes.push(started.process);
      await started.ready;
      return started.process;
    },
    async logs() {
      const parts = processes.map(async ({ name, logFile }) => {
        const text = await readFile(logFile, "utf8").catch(() => "");
        return `--- ${name}\n${text.split("\n").slice(-30).join("\n")}`;
      });
      return (await Promise.all(parts)).join("\n");
    },
    async [Symbol.asyncDispose]() {
      for (const process of processes) process.kill("SIGTERM");
      const late = setTimeout(() => {
        for (const process of processes) process.kill("SIGKILL");
      }, 12_000);
      await Promise.all(processes.map(({ exited }) => exited));
      clearTimeout(late);
      await own?.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await Promise.all(options.roles.map((roles) => cluster.start(roles)));
  } catch (error) {
    const logs = await cluster.logs();
    await cluster[Symbol.asyncDispose]();
    throw new Error(`${(error as Error).message}\n${logs}`, { cause: error });
  }
  return cluster;
}

function startRoleProcess(options: {
  roles: readonly Role[];
  name: string;
  settings: readonly string[];
  logFile: string;
}): { process: RoleProcess; ready: Promise<void> } {
  const { roles, name, settings, logFile } = options;
  const cli = join(PROJECT_FOLDER, "dist", "runtime", "cli.js");
  if (!existsSync(cli)) throw new Error(`${cli} is missing: run npm run setup`);
  const args = [
    "start",
    `--role=${roles.join(",")}`,
    "--exit-with-parent",
    ...settings.flatMap((set) => ["--set", set]),
  ];
  const child = spawn(process.execPath, [cli, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  child.stderr.pipe(createWriteStream(logFile, { flags: "a" }));
  const exited = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => resolve(signal ?? String(code)));
  });
  const roleProcess: RoleProcess = {
    roles,
    name,
    pid: child.pid ?? 0,
    logFile,
    exited,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    kill: (signal) => child.kill(signal),
  };
  return { process: roleProcess, ready: readyLine(child, name, exited) };
}

/** Resolves at the line that begins with `ready`. */
async function readyLine(child: ChildProcess, name: string, exited: Promise<string>): Promise<void> {
  const lines = createInterface({ input: child.stdout! });
  const ready = new Promise<void>((resolve) => {
    lines.on("line", (line) => {
      if (line.startsWith("ready")) resolve();
    });
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${name} was not ready within ${READY_TIMEOUT_MS} ms`)),
      READY_TIMEOUT_MS,
    );
  });
  const died = exited.then((how) => Promise.reject(new Error(`${name} ended (${how}) before it was ready`)));
  died.catch(() => undefined);
  try {
    await Promise.race([ready, late, died]);
  } finally {
    clearTimeout(timer);
  }
}

/** What `vdb-actor status` says of the cluster on these servers: asked again where the command would end, as its stores are away for a moment. */
export async function clusterStatus(servers: string): Promise<ClusterStatus> {
  const { config } = loadConfig({ flags: [`nats.servers=${servers}`] });
  const giveUp = performance.now() + STATUS_TIMEOUT_MS;
  for (;;) {
    try {
      return await collectStatus(config);
    } catch (error) {
      if (performance.now() > giveUp) throw error;
      await pause(STATUS_RETRY_MS);
    }
  }
}
