/**
 * A cluster of real nats-servers on this machine, for tests that kill, freeze, restart and cut off its members. Each has a
 * folder and ports of its own, which it keeps over restarts; all of them are gone when the test is.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type NatsServerProcess, startNatsServer } from "../nats/server.ts";
import { type CutRoutes, relayRoutes } from "./cut-routes.ts";
import { freePorts } from "./free-ports.ts";

const LOOK_MS = 200;
const ANSWER_TIMEOUT_MS = 2_000;
/** An election takes 4 to 9 s, and on a busy machine more than one may be needed. */
const SETTLE_TIMEOUT_MS = 60_000;

export interface NatsMember {
  readonly name: string;
  readonly url: string;
  /** host:port of /healthz, /jsz and their like. */
  readonly monitor: string;
  /** Everything it has; under jetstream/ what it stores. */
  readonly dataDir: string;
  readonly pid: number;
  /** Runs, and is not frozen. */
  readonly isAnswering: boolean;
}

export interface NatsCluster extends AsyncDisposable {
  /** All members' URLs, comma-separated: what a node's `nats.servers` takes. */
  readonly servers: string;
  readonly members: readonly NatsMember[];
  readonly folder: string;
  /** kill -9, and resolves once it is dead. */
  kill(index: number): Promise<void>;
  /** SIGTERM, and resolves once it has ended: as for an upgrade. */
  stop(index: number): Promise<void>;
  /** Starts a member that does not run, on the same folder and ports. Resolves when it takes connections. */
  start(index: number): Promise<void>;
  /** SIGSTOP: for all others as if the network were cut, except that connections stay open. */
  freeze(index: number): void;
  thaw(index: number): void;
  /** Takes the network between a member and the others away; its clients still reach it. Of a cluster that `canCut`. */
  cut(index: number): void;
  mend(index: number): void;
  /** Index of the member that leads a stream now; waits out an election. */
  leaderOf(stream: string): Promise<number>;
  /** How many members hold a copy of a stream, by the configuration and by its members' own accounts. */
  copiesOf(stream: string): Promise<{ configured: number; held: number }>;
  /** Resolves when every member says that it is healthy: all that it holds is up to date. */
  settled(): Promise<void>;
}

interface StreamDetail {
  name: string;
  config?: { num_replicas: number };
  cluster?: { leader?: string };
}

interface Member {
  name: string;
  dataDir: string;
  /** relay: where the others are told that it listens, which is its route unless links can be cut. */
  ports: { client: number; route: number; monitor: number; relay: number };
  server: NatsServerProcess | null;
  isFrozen: boolean;
}

/**
 * Starts the members and resolves when streams with as many replicas can be made. config: more lines for each, in the
 * server's syntax. canCut: what members say to each other goes through relays, so that it can be cut.
 */
export async function startNatsCluster(
  options: { members?: number; config?: string; canCut?: boolean } = {},
): Promise<NatsCluster> {
  const { canCut = false } = options;
  const folder = await mkdtemp(join(tmpdir(), "vdb-nats-cluster-"));
  const ports = await freePorts(4 * (options.members ?? 3));
  const members: Member[] = [];
  for (let i = 0; i < ports.length / 4; i++) {
    const [client, route, monitor, relay] = ports.slice(4 * i) as [number, number, number, number];
    const name = `n${i + 1}`;
    members.push({
      name,
      dataDir: join(folder, name),
      ports: { client, route, monitor, relay: canCut ? relay : route },
      server: null,
      isFrozen: false,
    });
  }
  const routes = members.map((member) => `"nats://127.0.0.1:${member.ports.relay}"`).join(", ");
  const relays: CutRoutes | null = canCut
    ? await relayRoutes(
        members.map(({ name, ports: { route, relay } }) => ({ name, routePort: route, relayPort: relay })),
      )
    : null;
  const requireRelays = (): CutRoutes => {
    if (relays === null) throw new Error("the links of this cluster cannot be cut: start it with canCut");
    return relays;
  };

  const start = async (index: number): Promise<void> => {
    const member = members[index]!;
    if (member.server !== null) throw new Error(`${member.name} runs already`);
    const { client, route, monitor, relay } = member.ports;
    const advertise = canCut ? `, advertise: "127.0.0.1:${relay}"` : "";
    const config = `
server_name: ${member.name}
http: "127.0.0.1:${monitor}"
cluster { name: vdb, listen: "127.0.0.1:${route}", routes: [${routes}], ping_interval: "2s", ping_max: 2${advertise} }
${options.config ?? ""}`;
    member.server = await startNatsServer({ dataDir: member.dataDir, port: client, config });
    member.isFrozen = false;
  };
  const end = async (index: number, signal: NodeJS.Signals): Promise<void> => {
    const { server } = members[index]!;
    if (server === null) return;
    server.kill(signal);
    await server.exited;
    members[index]!.server = null;
  };
  const closeAll = async (): Promise<void> => {
    await Promise.all(members.map((_, i) => end(i, "SIGKILL")));
    await relays?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  };
  const answering = (): Member[] => members.filter(({ server, isFrozen }) => server !== null && !isFrozen);

  const cluster: NatsCluster = {
    servers: members.map(({ ports: { client } }) => `nats://127.0.0.1:${client}`).join(","),
    folder,
    members: members.map((member) => ({
      name: member.name,
      url: `nats://127.0.0.1:${member.ports.client}`,
      monitor: `127.0.0.1:${member.ports.monitor}`,
      dataDir: member.dataDir,
      get pid() {
        if (member.server === null) throw new Error(`${member.name} does not run`);
        return member.server.pid;
      },
      get isAnswering() {
        return member.server !== null && !member.isFrozen;
      },
    })),
    kill: (index) => end(index, "SIGKILL"),
    stop: (index) => end(index, "SIGTERM"),
    start,
    freeze(index) {
      members[index]!.server?.kill("SIGSTOP");
      members[index]!.isFrozen = true;
    },
    thaw(index) {
      members[index]!.server?.kill("SIGCONT");
      members[index]!.isFrozen = false;
    },
    cut: (index) => requireRelays().cut(members[index]!.name),
    mend: (index) => requireRelays().mend(members[index]!.name),
    async leaderOf(stream) {
      return await until(`no member leads ${stream}`, async () => {
        for (const member of answering()) {
          const detail = await streamDetail(member, stream);
          // Its own word: another's may be of yesterday.
          if (detail?.cluster?.leader === member.name) return members.indexOf(member);
        }
        return null;
      });
    },
    async copiesOf(stream) {
      const details = await Promise.all(answering().map((member) => streamDetail(member, stream)));
      const held = details.filter((detail) => detail !== undefined);
      return { configured: held[0]?.config?.num_replicas ?? 0, held: held.length };
    },
    async settled() {
      await until("the cluster did not settle", async () => {
        const states = await Promise.all(members.map((member) => isHealthy(member)));
        return states.every((state) => state) ? true : null;
      });
    },
    [Symbol.asyncDispose]: closeAll,
  };
  try {
    await Promise.all(members.map((_, i) => start(i)));
    await until("the members did not become a cluster", async () => {
      const states = await Promise.all(members.map((member) => isComplete(member, members.length)));
      return states.some((state) => state) ? true : null;
    });
  } catch (error) {
    await closeAll();
    throw error;
  }
  return cluster;
}

/** Whether the member leads JetStream's meta group, which knows of all members, none of them away. */
async function isComplete(member: Member, size: number): Promise<boolean> {
  const jsz = await ask<{ meta_cluster?: { leader?: string; replicas?: { current: boolean }[] } }>(member, "jsz");
  const { leader, replicas = [] } = jsz?.meta_cluster ?? {};
  return leader === member.name && replicas.filter(({ current }) => current).length === size - 1;
}

async function isHealthy(member: Member): Promise<boolean> {
  return (await ask<{ status: string }>(member, "healthz"))?.status === "ok";
}

async function streamDetail(member: Member, stream: string): Promise<StreamDetail | undefined> {
  type Jsz = { account_details?: { stream_detail?: StreamDetail[] }[] };
  const jsz = await ask<Jsz>(member, "jsz?accounts=true&streams=true&config=true");
  return jsz?.account_details?.flatMap(({ stream_detail = [] }) => stream_detail).find(({ name }) => name === stream);
}

/** Undefined when the member does not answer. */
async function ask<T>(member: Member, path: string): Promise<T | undefined> {
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const response = await fetch(`http://127.0.0.1:${member.ports.monitor}/${path}`, { signal });
    return (await response.json()) as T;
  } catch {
    return undefined;
  }
}

/** Looks again until there is something; no event tells of a server's inner state. */
async function until<T>(failure: string, look: () => Promise<T | null>): Promise<T> {
  const deadline = performance.now() + SETTLE_TIMEOUT_MS;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (performance.now() >= deadline) throw new Error(`${failure} within ${SETTLE_TIMEOUT_MS} ms`);
    await pause(LOOK_MS);
  }
}
