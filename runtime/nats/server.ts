/**
 * A nats-server of our own, for `vdb-actor dev`, the tests and the benchmarks: finds the program, writes its configuration into
 * the data folder, starts it, and makes sure that it does not outlive us.
 *
 * A clustered deployment has its own NATS, which needs the same settings as those written here.
 *
 * Owns in the data folder: nats.conf, nats.log, nats.pid, *.ports, jetstream/.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, watch } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { findNatsServer as lookForNatsServer, natsServerVersionMin } from "../../scripts/setup/find-nats-server.mjs";
import { errorMessage } from "../errors.ts";
import { PROJECT_FOLDER } from "../version.ts";

/** How long a server that was asked to stop may take to close its files before it is killed. */
const STOP_GRACE_MS = 10_000;

/** How long a start may take: a server with a large store reads its indexes before it accepts clients. */
const START_TIMEOUT_MS = 30_000;

export interface NatsServerOptions {
  /** Folder that holds everything of this server; made when missing. */
  dataDir: string;
  /** 0: any free port. */
  port: number;
  host?: string;
  /** More lines for nats.conf, in its syntax. */
  config?: string;
}

export interface NatsServerProcess extends AsyncDisposable {
  /** nats://host:port */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves once the server has ended, for whatever reason. */
  readonly exited: Promise<void>;
  /** Asks the server to stop, and resolves when it has. Idempotent. */
  stop(): Promise<void>;
  /** Sends a signal to nats-server itself; `exited` shows the effect. */
  kill(signal: NodeJS.Signals): void;
}

/**
 * The path of a nats-server that is new enough: $VDB_NATS_SERVER, else the one on PATH, else the one that `npm run setup` puts
 * under .vdb-tools. An old one on PATH is skipped; an old one that was named is an error.
 */
export function findNatsServer(): string {
  const { path, refused } = lookForNatsServer({ root: PROJECT_FOLDER });
  if (path !== undefined) return path;
  const found = refused.length === 0 ? "none was found" : refused.join("; ");
  throw new Error(
    `need nats-server ${natsServerVersionMin} or newer (${found}); run npm run setup, or name one in VDB_NATS_SERVER`,
  );
}

/** Starts a server and resolves when it accepts clients. A server that an earlier life left in dataDir is stopped first. */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServerProcess> {
  const host = options.host ?? "127.0.0.1";
  const dataDir = resolve(options.dataDir);
  const program = findNatsServer();
  await mkdir(dataDir, { recursive: true });
  const configPath = join(dataDir, "nats.conf");
  await stopEarlierServer(dataDir, configPath);
  await removeOldPortFiles(dataDir);
  await writeFile(configPath, serverConfig({ ...options, dataDir, host }));

  const log = openSync(join(dataDir, "nats.log"), "a");
  // Its own session: a Ctrl-C in the terminal is for us, and we still need the server while we drain.
  const server = spawn(program, ["-c", configPath], { stdio: ["ignore", log, log], detached: true });
  closeSync(log);
  const exited = new Promise<void>((done) => {
    server.once("exit", () => done());
    server.once("error", () => done());
  });
  if (server.pid === undefined) throw new Error(`cannot start ${program}`);
  const watchdog = startWatchdog(server.pid);
  void exited.then(() => watchdog.kill("SIGKILL"));

  let port: number;
  try {
    port = await listeningPort(dataDir, server.pid, basename(program), exited);
  } catch (error) {
    server.kill("SIGKILL");
    throw new Error(`nats-server did not start: ${errorMessage(error)}; its log ends: ${await logTail(dataDir)}`);
  }
  // From here on an unfinished server does not keep our process alive: the watchdog ends it with us.
  server.unref();
  return serverProcess(server, server.pid, exited, host, port);
}

function serverProcess(
  server: ChildProcess,
  pid: number,
  exited: Promise<void>,
  host: string,
  port: number,
): NatsServerProcess {
  const stop = async (): Promise<void> => {
    server.ref();
    server.kill("SIGTERM");
    const killer = setTimeout(() => server.kill("SIGKILL"), STOP_GRACE_MS);
    await exited;
    clearTimeout(killer);
  };
  return {
    url: `nats://${host}:${port}`,
    port,
    pid,
    exited,
    stop,
    kill: (signal) => {
      server.ref();
      server.kill(signal);
    },
    [Symbol.asyncDispose]: stop,
  };
}

function serverConfig(options: NatsServerOptions & { host: string }): string {
  const quoted = (path: string): string => JSON.stringify(join(options.dataDir, path));
  return `# Written by vdb-actor at every start; changes are lost.
host: ${JSON.stringify(options.host)}
port: ${options.port === 0 ? -1 : options.port}
pid_file: ${quoted("nats.pid")}
ports_file_dir: ${JSON.stringify(options.dataDir)}

max_payload: 8MB
# A reader that falls behind is cut off at this many bytes; flow-controlled readers stay far below it.
max_pending: 256MB
write_deadline: "10s"
ping_interval: "5s"
ping_max: 3

jetstream {
  store_dir: ${quoted("jetstream")}
  # Acknowledge after fsync. The stock setting acknowledges up to two minutes before it.
  sync_interval: always
}
${options.config ?? ""}
`;
}

/**
 * Ends the server when we die, however we die: it reads a pipe that only we hold open, and the kernel closes that.
 * On a normal exit of the server it is killed before it can hit a recycled pid.
 */
function startWatchdog(pid: number): ChildProcess {
  const script = `while read -r _; do :; done; kill -TERM "$1"; sleep ${STOP_GRACE_MS / 1000}; kill -KILL "$1"`;
  const watchdog = spawn("/bin/sh", ["-c", script, "sh", String(pid)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watchdog.once("error", () => undefined);
  watchdog.stdin?.once("error", () => undefined);
  watchdog.unref();
  (watchdog.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return watchdog;
}

/** Waits for the ports file, which the server writes once its listeners are ready. */
async function listeningPort(dataDir: string, pid: number, program: string, exited: Promise<void>): Promise<number> {
  const path = join(dataDir, `${program}_${pid}.ports`);
  const waiting = new AbortController();
  try {
    return await new Promise<number>((done, fail) => {
      const look = (): void => {
        const port = readPort(path);
        if (port !== null) done(port);
      };
      const watcher = watch(dataDir, { signal: waiting.signal }, look);
      watcher.on("error", fail);
      const late = setTimeout(() => fail(new Error(`not ready after ${START_TIMEOUT_MS} ms`)), START_TIMEOUT_MS);
      waiting.signal.addEventListener("abort", () => clearTimeout(late));
      void exited.then(() => fail(new Error("it ended")));
      look();
    });
  } finally {
    waiting.abort();
  }
}

/** Null while the file is not there or not complete. */
function readPort(path: string): number | null {
  try {
    const ports = JSON.parse(readFileSync(path, "utf8")) as { nats?: string[] };
    const url = ports.nats?.[0];
    return url === undefined ? null : Number(new URL(url).port);
  } catch {
    return null;
  }
}

async function removeOldPortFiles(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (name.endsWith(".ports")) await rm(join(dataDir, name), { force: true });
  }
}

/** Two servers on one store destroy it, so a survivor of an earlier life ends first. The pid alone proves nothing: it may be recycled. */
async function stopEarlierServer(dataDir: string, configPath: string): Promise<void> {
  const pid = Number(await readFile(join(dataDir, "nats.pid"), "utf8").catch(() => ""));
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (!(await isOurServer(pid, configPath))) return;
  process.kill(pid, "SIGTERM");
  const started = performance.now();
  while (await isOurServer(pid, configPath)) {
    // It is not our child, so no event reports its end: poll.
    if (performance.now() - started > STOP_GRACE_MS) process.kill(pid, "SIGKILL");
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function isOurServer(pid: number, configPath: string): Promise<boolean> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return commandLine.split("\0").includes(configPath);
}

async function logTail(dataDir: string): Promise<string> {
  const log = await readFile(join(dataDir, "nats.log"), "utf8").catch(() => "");
  return log.trimEnd().split("\n").slice(-5).join(" | ");
}
