/** A small cluster for the demonstration: a nats-server and one process a role, in a folder of their own, gone at the end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { type NatsServerProcess, startNatsServer } from "../../runtime/nats/server.ts";

/** Five processes that start at once on two cores; measured: 2 s. */
const READY_TIMEOUT_MS = 60_000;

/** A little more than a node takes at most to hand over. */
const STOP_TIMEOUT_MS = 12_000;

const LOG_LINES_SHOWN = 8;

export interface DemoCluster extends AsyncDisposable {
  readonly natsUrl: string;
  readonly pids: Record<string, number>;
  /** Rejects when one of the processes ends before it is told to. */
  readonly failed: Promise<never>;
  /** The last lines of every log, for a person to read what went wrong. */
  logTails(): Promise<string>;
}

interface RoleProcess {
  role: Role;
  child: ChildProcess;
  exited: Promise<string>;
}

/** Resolves when every process says that it is ready. @throws Error that names the one that is not */
export async function startDemoCluster(): Promise<DemoCluster> {
  const folder = await mkdtemp(join(tmpdir(), "vdb-quickstart-"));
  const nats = await startNatsServer({ dataDir: join(folder, "nats"), port: 0 });
  const processes: RoleProcess[] = [];
  let isStopping = false;
  let fail = (_: Error) => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);
  const cluster: DemoCluster = {
    natsUrl: nats.url,
    pids: { "nats-server": nats.pid },
    failed,
    logTails: () => logTails(folder),
    async [Symbol.asyncDispose]() {
      isStopping = true;
      await Promise.all(processes.map(stopProcess));
      await nats.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await mkdir(join(folder, "logs"));
    const ready = ROLES.map((role) => {
      const started = spawnRole(role, folder, nats);
      processes.push(started);
      cluster.pids[role] = started.child.pid ?? 0;
      void started.exited.then((how) => {
        if (!isStopping) fail(new Error(`the ${role} process ended (${how})`));
      });
      return whenReady(started);
    });
    await Promise.race([Promise.all(ready), failed]);
    return cluster;
  } catch (error) {
    const tails = await cluster.logTails();
    await cluster[Symbol.asyncDispose]();
    throw new Error(`${(error as Error).message}\n${tails}`);
  }
}

function spawnRole(role: Role, folder: string, nats: NatsServerProcess): RoleProcess {
  // From dist/ as JavaScript, from the sources by the loader that runs us.
  const isSource = import.meta.url.endsWith(".ts");
  const cli = fileURLToPath(new URL(`../../runtime/cli.${isSource ? "ts" : "js"}`, import.meta.url));
  const args = [
    ...(isSource ? ["--import", "tsx"] : []),
    ...[cli, "start", `--role=${role}`, "--exit-with-parent", "--nats", nats.url],
    ...["--set", `node.dataDir=${join(folder, role)}`],
  ];
  const log = openSync(join(folder, "logs", `${role}.log`), "w");
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", log] });
  closeSync(log);
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  return { role, child, exited };
}

/** The command prints one line when it serves. */
async function whenReady({ role, child }: RoleProcess): Promise<void> {
  const lines = createInterface({ input: child.stdout! });
  const timeout = AbortSignal.timeout(READY_TIMEOUT_MS);
  try {
    for (;;) {
      const [line] = (await once(lines, "line", { signal: timeout })) as [string];
      if (line.startsWith("ready ")) return;
    }
  } catch (error) {
    if (!timeout.aborted) throw error;
    throw new Error(`the ${role} process was not ready after ${READY_TIMEOUT_MS / 1000} s`);
  }
}

async function stopProcess({ child, exited }: RoleProcess): Promise<void> {
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(killer);
}

async function logTails(folder: string): Promise<string> {
  const files = [join("nats", "nats.log"), ...ROLES.map((role) => join("logs", `${role}.log`))];
  const tails = files.map(async (name) => {
    const text = await readFile(join(folder, name), "utf8").catch(() => "");
    const lines = text.trimEnd().split("\n").slice(-LOG_LINES_SHOWN);
    return `--- ${name}\n${lines.join("\n")}`;
  });
  return (await Promise.all(tails)).join("\n");
}
