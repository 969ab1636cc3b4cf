/** The NATS under a fault cluster: one server, or a cluster of three; all of it can be stopped and started on its stores. */
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { type NatsServerProcess, startNatsServer } from "../../nats/server.ts";
import { systemClock } from "../../system-clock.ts";
import { freePorts } from "../free-ports.ts";
import { type NatsCluster, startNatsCluster } from "../nats-cluster.ts";

const STOP_TIMEOUT_MS = 15_000;

export interface FaultNats extends AsyncDisposable {
  readonly servers: string;
  /** What the single server stores; null: there are members. */
  readonly folder: string | null;
  readonly members: NatsCluster | null;
  /** Ends all servers for good, until `start`. */
  stop(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
  start(): Promise<void>;
  /** To the single server. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
  /** Copies the servers' logs there. */
  keepLogs(folder: string): Promise<void>;
}

export async function startSingleNats(folder: string): Promise<FaultNats> {
  const [port] = (await freePorts(1)) as [number];
  let server: NatsServerProcess = await startNatsServer({ dataDir: folder, port });
  const { url } = server;
  return {
    servers: url,
    folder,
    members: null,
    async stop(signal) {
      server.kill(signal);
      const late = systemClock.timer(STOP_TIMEOUT_MS, () => server.kill("SIGKILL"));
      await server.exited;
      late[Symbol.dispose]();
    },
    async start() {
      server = await startNatsServer({ dataDir: folder, port });
    },
    signal: (signal) => server.kill(signal),
    keepLogs: (to) => keepLog(folder, join(to, "nats.log")),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

export async function startNatsOfThree(): Promise<FaultNats> {
  const members = await startNatsCluster({ canCut: true });
  const all = (change: (index: number) => Promise<void>) => Promise.all(members.members.map((_, i) => change(i)));
  return {
    servers: members.servers,
    folder: null,
    members,
    async stop(signal) {
      await all((i) => (signal === "SIGKILL" ? members.kill(i) : members.stop(i)));
    },
    async start() {
      await all((i) => members.start(i));
      await members.settled();
    },
    signal() {
      throw new Error("a member is frozen by itself");
    },
    async keepLogs(to) {
      for (const { name, dataDir } of members.members) await keepLog(dataDir, join(to, `nats-${name}.log`));
    },
    [Symbol.asyncDispose]: () => members[Symbol.asyncDispose](),
  };
}

function keepLog(dataDir: string, to: string): Promise<void> {
  return copyFile(join(dataDir, "nats.log"), to).catch(() => undefined);
}
