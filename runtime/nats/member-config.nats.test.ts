/** deploy/nats-cluster: three servers on member.conf are a cluster, strangers are kept out, and compose gives it all it asks for. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { createNatsMeta } from "../meta/nats-meta.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { freePorts } from "../testing/free-ports.ts";
import { PROJECT_FOLDER } from "../version.ts";
import { connectNats } from "./connect.ts";
import { findNatsServer } from "./server.ts";

const FOLDER = join(PROJECT_FOLDER, "deploy", "nats-cluster");
const USERS = ["client", "proxy", "coordinator", "streaming", "query", "data", "admin"];
const ROUTE_PASSWORD = "proute";

interface Member {
  process: ChildProcess;
  client: number;
  log: () => string;
}

let folder: string;
let program: string;
let routePorts: number[];
const members: Member[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-member-"));
  program = await findNatsServer();
  const ports = await freePorts(9);
  routePorts = ports.slice(0, 3);
  for (let i = 0; i < 3; i++)
    members.push(startMember(`n${i + 1}`, ROUTE_PASSWORD, [ports[i]!, ...ports.slice(3 + 2 * i)]));
});
afterAll(async () => {
  for (const { process } of members)
    if (process.exitCode === null && process.kill("SIGKILL")) await once(process, "exit");
  await rm(folder, { recursive: true, force: true });
});

/** As by hand, on this machine: what differs on one machine is given by options. */
function startMember(name: string, routePassword: string, ports: readonly number[]): Member {
  const [route, client, monitor] = ports as [number, number, number];
  const environment: Record<string, string> = {
    VDB_NATS_NAME: name,
    VDB_NATS_DIR: join(folder, name),
    VDB_NATS_ROUTES: JSON.stringify(routePorts.map((port) => `nats://route:${routePassword}@127.0.0.1:${port}`)),
    VDB_ROUTE_PASSWORD: routePassword,
    VDB_ROUTE_LISTEN: `127.0.0.1:${route}`,
  };
  for (const user of USERS) environment[`VDB_${user.toUpperCase()}_PASSWORD`] = `p${user}`;
  const options = ["-a", "127.0.0.1", "-p", `${client}`, "-m", `${monitor}`];
  const args = ["-c", join(FOLDER, "member.conf"), ...options];
  const child = spawn(program, args, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.on("data", (data: Buffer) => {
    log += data.toString();
  });
  return { process: child, client, log: () => log };
}

test("three members are a cluster, in which the coordinator's user makes stores of three copies", async () => {
  const servers = members.map(({ client }) => `127.0.0.1:${client}`);
  await expect.poll(() => members.every(({ log }) => log().includes("Server is ready"))).toBe(true);
  const coordinator = await connectNats({
    servers,
    name: "test",
    user: "coordinator",
    pass: "pcoordinator",
    inboxPrefix: "_INBOX_coordinator",
  });
  const admin = await connectNats({
    servers,
    name: "test",
    user: "admin",
    pass: "padmin",
    inboxPrefix: "_INBOX_admin",
  });
  const meta = createNatsMeta(coordinator.control, { prefix: "vdb", clock: systemClock, random: systemRandom });
  await meta.ensure({ replicas: 3 });
  expect(await meta.commit([{ op: "put", key: "cluster", value: new Uint8Array(1), revision: 0 }])).toBe(1);
  const { config, cluster } = await (await jetstreamManager(admin.control)).streams.info("KV_vdb-meta");
  expect(config.num_replicas).toBe(3);
  const holders = [cluster?.leader, ...(cluster?.replicas ?? []).map(({ name }) => name)];
  expect(new Set(holders)).toEqual(new Set(["n1", "n2", "n3"]));
  await coordinator.close();
  await admin.close();
});

test("a server without the routes' password does not become a member", async () => {
  const stranger = startMember("stranger", "pguess", await freePorts(3));
  members.push(stranger);
  const isRefused = () => members.slice(0, 3).every(({ log }) => log().includes("authentication error"));
  await expect.poll(isRefused).toBe(true);
  expect(stranger.log()).not.toContain("JetStream cluster new metadata leader");
});

test("compose gives each member its configuration, and every variable that it asks for", () => {
  interface Service {
    command: string[];
    environment: Record<string, string>;
    volumes: string[];
  }
  const { services, volumes } = parse(readFileSync(join(FOLDER, "docker-compose.yml"), "utf8"), { merge: true }) as {
    services: Record<string, Service>;
    volumes: Record<string, unknown>;
  };
  const asked = [join(FOLDER, "member.conf"), join(PROJECT_FOLDER, "nats.conf")].flatMap((path) =>
    [...readFileSync(path, "utf8").matchAll(/^[^#\n]*\$(VDB_\w+)/gm)].map((match) => match[1]!),
  );
  for (const name of ["nats", "nats-2", "nats-3"]) {
    const { command, environment, volumes: mounts } = services[name]!;
    expect(new Set(Object.keys(environment)), name).toEqual(new Set(asked));
    expect(environment.VDB_NATS_NAME).toBe(name);
    expect(environment.VDB_NATS_ROUTES).toContain(`@${name}:6222"`);
    for (const mount of mounts.filter((text) => text.startsWith("./"))) {
      expect(existsSync(join(PROJECT_FOLDER, mount.split(":")[0]!)), mount).toBe(true);
    }
    expect(mounts.map((mount) => mount.split(":")[1])).toContain(command[1]);
    expect(services.proxy!.environment.VDB_NATS__SERVERS!.split(",")).toContain(`nats://${name}:4222`);
  }
  expect(Object.keys(volumes)).toEqual(["nats-data-2", "nats-data-3"]);
  for (const role of ["proxy", "coordinator", "streaming", "query", "data", "cli"]) {
    expect(services[role]!.environment.VDB_CLUSTER__REPLICAS).toBe("3");
  }
});
