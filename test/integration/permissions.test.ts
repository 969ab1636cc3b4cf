/**
 * nats.conf as it is shipped: each user may do what its role does and nothing else, and a cluster whose nodes each have
 * a user of their own works, without the server refusing it anything.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, errors, type NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { openCluster } from "../../runtime/backup/cluster.ts";
import { restoreBackup } from "../../runtime/backup/restore-backup.ts";
import { takeBackup } from "../../runtime/backup/take-backup.ts";
import { collectStatus } from "../../runtime/commands/status/collect.ts";
import { loadConfig } from "../../runtime/config/load.ts";
import { createLogger } from "../../runtime/logger.ts";
import { natsOptions } from "../../runtime/nats/options.ts";
import { findNatsServer } from "../../runtime/nats/server.ts";
import { startNode, type VdbNode } from "../../runtime/node.ts";
import { drainNode } from "../../runtime/protocol/node.ts";
import { seededNumbers } from "../../runtime/testing/vectors.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

const USERS = ["client", "proxy", "coordinator", "streaming", "query", "data", "admin"] as const;
type User = (typeof USERS)[number];

const NODES: User[] = ["proxy", "coordinator", "streaming", "query", "data"];

/** Who may publish to it. */
const PUBLISH: Record<string, User[]> = {
  "vdb.v2.collections.list": ["client", "admin"],
  "vdb.coordinator.timestamps": ["proxy", "streaming", "admin"],
  "vdb.coordinator.ids": ["proxy", "data", "admin"],
  "vdb.coordinator.collection-restore": ["proxy", "admin"],
  "vdb.coordinator.channel-renew": ["proxy", "streaming"],
  "vdb.coordinator.collection-create": ["proxy"],
  "vdb.streaming.n1.append": ["proxy"],
  "vdb.streaming.n1.search": ["proxy"],
  "vdb.streaming.n1.flush": ["proxy", "coordinator", "admin"],
  "vdb.streaming.n1.stats": ["proxy", "admin"],
  "vdb.query.n1.search": ["streaming"],
  "vdb.query.n1.term-statistics": ["streaming"],
  "vdb.query.n1.load": ["coordinator"],
  "vdb.data.n1.build-index": ["coordinator"],
  "vdb.data.n1.compact": ["coordinator"],
  "vdb.data.n1.import": ["coordinator"],
  "vdb.node.n1.drain": ["coordinator", "admin"],
  "vdb.wal.0.ins": ["streaming"],
  "vdb.wal.0.mut": ["streaming"],
  "vdb.wal.0.ctl": ["streaming"],
  "$KV.vdb-meta.epoch": ["coordinator"],
  "$KV.vdb-meta.collection.1": ["coordinator"],
  "$KV.vdb-meta.channel.0": ["coordinator"],
  "$KV.vdb-meta.view.1v0": ["coordinator"],
  "$KV.vdb-meta.manifest.1v0": ["coordinator", "streaming"],
  "$KV.vdb-meta.checkpoint.0": ["coordinator", "streaming"],
  "$KV.vdb-meta.txn": ["coordinator", "streaming"],
  "$KV.vdb-lease.leader.coordinator": ["coordinator"],
  "$KV.vdb-lease.proxy.n1": ["proxy"],
  "$KV.vdb-lease.coordinator.n1": ["coordinator"],
  "$KV.vdb-lease.streaming.n1": ["streaming"],
  "$KV.vdb-lease.query.n1": ["query"],
  "$KV.vdb-lease.data.n1": ["data"],
  "$KV.vdb-lease.pin.0": ["admin"],
  "$O.vdb-objects.C.chunk": ["streaming", "data", "admin"],
  "$O.vdb-objects.M.name": ["coordinator", "streaming", "data", "admin"],
  "$JS.API.STREAM.CREATE.vdb-wal-0": ["coordinator", "admin"],
  "$JS.API.STREAM.UPDATE.vdb-wal-0": ["admin"],
  "$JS.API.STREAM.DELETE.vdb-wal-0": ["admin"],
  "$JS.API.STREAM.PURGE.vdb-wal-0": ["coordinator", "admin"],
  "$JS.API.STREAM.PURGE.KV_vdb-meta": ["admin"],
  "$JS.API.STREAM.PURGE.KV_vdb-lease": ["admin"],
  "$JS.API.STREAM.MSG.DELETE.vdb-wal-0": ["admin"],
  "$JS.API.STREAM.MSG.GET.vdb-wal-0": ["coordinator", "streaming", "query", "admin"],
  "$JS.API.STREAM.MSG.GET.KV_vdb-meta": [...NODES, "admin"],
  "$JS.API.STREAM.INFO.KV_vdb-lease": [...NODES, "admin"],
  "$JS.API.DIRECT.GET.OBJ_vdb-objects": ["coordinator", "streaming", "query", "data", "admin"],
  "$JS.API.CONSUMER.CREATE.KV_vdb-meta.c1.$KV.vdb-meta.>": [...NODES, "admin"],
  "$JS.API.CONSUMER.CREATE.KV_vdb-lease.here-n1.$KV.vdb-lease.here.n1": [...NODES, "admin"],
  "$JS.API.CONSUMER.CREATE.vdb-wal-0.c1": ["streaming", "admin"],
  "$JS.API.CONSUMER.CREATE.vdb-wal-0.c1.vdb.wal.0.mut": ["query", "admin"],
  "$JS.API.CONSUMER.CREATE.vdb-wal-0.c1.vdb.wal.0.ins": ["admin"],
  "$JS.API.CONSUMER.DELETE.vdb-wal-0.c1": ["admin"],
  "_INBOX_client.token.1": ["proxy"],
  "_INBOX_proxy.token.1": ["coordinator", "streaming"],
  "_INBOX_streaming.token.1": ["coordinator", "query"],
  "_INBOX_coordinator.token.1": NODES,
  "_INBOX_admin.token.1": NODES,
  "$SRV.PING": ["admin"],
  "$SYS.REQ.SERVER.PING": [],
  "some.other.subject": [],
};

/** Who may subscribe to it. */
const SUBSCRIBE: Record<string, { subject: string; queue?: string; users: User[] }> = {
  everything: { subject: ">", users: [] },
  "the public API, as one of the proxies": { subject: "vdb.v2.entities.search", queue: "proxy", users: ["proxy"] },
  "the public API, beside the proxies": { subject: "vdb.v2.entities.search", users: [] },
  "the public API, in a group of its own": { subject: "vdb.v2.entities.search", queue: "other", users: [] },
  "the coordinator's operations": { subject: "vdb.coordinator.timestamps", users: ["coordinator"] },
  "a streaming node's operations": { subject: "vdb.streaming.n1.append", users: ["streaming"] },
  "a query node's operations": { subject: "vdb.query.n1.search", users: ["query"] },
  "a data node's operations": { subject: "vdb.data.n1.build-index", users: ["data"] },
  "what every node is asked": { subject: "vdb.node.n1.drain", users: NODES },
  "the log": { subject: "vdb.wal.>", users: [] },
  meta: { subject: "$KV.vdb-meta.>", users: [] },
  leases: { subject: "$KV.vdb-lease.>", users: [] },
  "who is not connected any more": {
    subject: "$JS.EVENT.ADVISORY.CONSUMER.DELETED.KV_vdb-lease.*",
    users: ["coordinator"],
  },
  objects: { subject: "$O.vdb-objects.>", users: [] },
  "JetStream's API": { subject: "$JS.API.>", users: [] },
  "the stock inbox": { subject: "_INBOX.>", users: [] },
  "the client's inbox": { subject: "_INBOX_client.>", users: ["client"] },
  "the proxy's inbox": { subject: "_INBOX_proxy.>", users: ["proxy"] },
  "the coordinator's inbox": { subject: "_INBOX_coordinator.>", users: ["coordinator"] },
  "service requests to all": { subject: "$SRV.PING", users: NODES },
  "service requests to proxies": { subject: "$SRV.STATS.vdb-proxy", users: ["proxy"] },
};

interface Server {
  url: string;
  /** What it refused, in its own words. */
  readonly violations: readonly string[];
  stop(): Promise<void>;
}

/** nats.conf unchanged; the command line gives it a free port, the environment a folder. */
async function startShippedServer(): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), "vdb-permissions-"));
  const passwords = USERS.map((user) => [`VDB_${user.toUpperCase()}_PASSWORD`, passwordOf(user)]);
  const child: ChildProcess = spawn(
    findNatsServer(),
    ["-c", join(PROJECT_FOLDER, "nats.conf"), "-a", "127.0.0.1", "-p", "-1", "-m", "-1"],
    { stdio: ["ignore", "ignore", "pipe"], env: { ...Object.fromEntries(passwords), VDB_NATS_DIR: folder } },
  );
  const violations: string[] = [];
  const exited = once(child, "exit");
  const port = new Promise<number>((resolve, reject) => {
    let listening = 0;
    const log: string[] = [];
    createInterface({ input: child.stderr! }).on("line", (line) => {
      log.push(line);
      if (line.includes("Violation")) violations.push(line);
      listening ||= Number(/Listening for client connections on 127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? 0);
      if (line.includes("Server is ready")) resolve(listening);
    });
    void exited.then(() => reject(new Error(`nats-server ended:\n${log.join("\n")}`)));
  });
  return {
    url: `nats://127.0.0.1:${await port}`,
    violations,
    async stop() {
      child.kill("SIGKILL");
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function passwordOf(user: User): string {
  return `secret-of-${user}`;
}

/** Of the tests that run, which come one after the other: each list of what it refused is of one describe's. */
let server: Server;
const startsServer = (): void => {
  beforeAll(async () => {
    server = await startShippedServer();
  });
  afterAll(() => server.stop());
};

function connectAs(user: User): Promise<NatsConnection> {
  return connect({ servers: server.url, user, pass: passwordOf(user), inboxPrefix: `_INBOX_${user}` });
}

/** Nobody serves anything here, so what is allowed comes back as "no responders", or as an error of JetStream. */
async function mayPublish(connection: NatsConnection, subject: string): Promise<boolean> {
  try {
    await connection.request(subject, "", { timeout: 30_000 });
    return true;
  } catch (error) {
    for (let cause = error; cause instanceof Error; cause = cause.cause) {
      if (cause instanceof errors.PermissionViolationError) return false;
      if (cause instanceof errors.NoRespondersError) return true;
    }
    throw error;
  }
}

async function maySubscribe(connection: NatsConnection, subject: string, queue?: string): Promise<boolean> {
  let isAllowed = true;
  const callback = (error: Error | null): void => {
    if (error instanceof errors.PermissionViolationError) isAllowed = false;
  };
  const subscription = connection.subscribe(subject, { callback, ...(queue === undefined ? {} : { queue }) });
  await connection.flush();
  subscription.unsubscribe();
  return isAllowed;
}

describe("nats.conf", () => {
  startsServer();

  test("lets nobody in without a user's password", async () => {
    await expect(connect({ servers: server.url })).rejects.toThrow(/authorization/i);
    await expect(connect({ servers: server.url, user: "client", pass: passwordOf("proxy") })).rejects.toThrow(
      /authorization/i,
    );
  });

  test.each(USERS)("lets %s publish to the subjects of its role only", async (user) => {
    const connection = await connectAs(user);
    const found: string[] = [];
    for (const subject of Object.keys(PUBLISH)) if (await mayPublish(connection, subject)) found.push(subject);
    await connection.close();
    expect(found).toEqual(Object.keys(PUBLISH).filter((subject) => PUBLISH[subject]!.includes(user)));
    // What the test of the cluster rests on: a refusal shows in the server's log.
    await expect.poll(() => server.violations.length).toBeGreaterThan(0);
  });

  test.each(USERS)("lets %s subscribe to the subjects of its role only", async (user) => {
    const connection = await connectAs(user);
    const found: string[] = [];
    for (const [name, { subject, queue }] of Object.entries(SUBSCRIBE)) {
      if (await maySubscribe(connection, subject, queue)) found.push(name);
    }
    await connection.close();
    const expected = Object.entries(SUBSCRIBE).filter(([, { users }]) => users.includes(user));
    expect(found).toEqual(expected.map(([name]) => name));
  });
});

describe("a cluster whose nodes have the users of nats.conf", () => {
  startsServer();
  const nodes = new Map<Role, VdbNode>();
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "vdb-permissions-"));
    // The coordinator's node makes the stores, the others wait for them.
    await Promise.all(ROLES.map(start));
  });
  afterAll(async () => {
    await Promise.all([...nodes.values()].map((node) => node.stop()));
    await rm(folder, { recursive: true, force: true });
  });

  async function start(role: Role): Promise<void> {
    const logger = createLogger({ level: "error" });
    nodes.set(role, await startNode({ roles: [role], config: settings(role), logger }));
  }

  function settings(user: User) {
    const { config } = loadConfig({
      flags: [
        ...[`nats.servers=${server.url}`, `nats.user=${user}`, `nats.password=${passwordOf(user)}`],
        ...[`node.dataDir=${join(folder, user)}`, "node.leaseSeconds=10"],
        ...["coordinator.indexRowsMin=100", "coordinator.garbageIntervalMs=1000", "proxy.http=127.0.0.1:0"],
      ],
    });
    return config;
  }

  test("writes, recovers, flushes, indexes, searches, collects its garbage, and is refused nothing", async () => {
    const collectionName = "guarded";
    const client = await VdbClient.connect({ servers: server.url, user: "client", pass: passwordOf("client") });
    const next = seededNumbers(7);
    const data = Array.from({ length: 500 }, (_, id) => ({ id, vector: Float32Array.from({ length: 8 }, next) }));
    const nearest = async (): Promise<unknown> => {
      const [hits] = await client.search({
        collectionName,
        data: data[42]!.vector,
        limit: 1,
        consistencyLevel: "Strong",
      });
      return hits![0]!.id;
    };

    await client.createCollection({ collectionName, dimension: 8, metricType: "L2" });
    await client.waitUntilLoaded({ collectionName });
    await client.insert({ collectionName, data });
    expect(await nearest()).toBe(42);

    // The next owner of the channels reads the log.
    await nodes.get("streaming")!.stop();
    await start("streaming");
    expect(await nearest()).toBe(42);

    await client.flush({ collectionName });
    await expect
      .poll(() => client.describeIndex({ collectionName, indexName: "vector" }), { interval: 200 })
      .toMatchObject({ totalRows: 500, pendingRows: 0 });
    await client.waitUntilLoaded({ collectionName });
    expect(await nearest()).toBe(42);

    await client.delete({ collectionName, filter: "id == 42" });
    expect(await nearest()).not.toBe(42);

    const status = async () => {
      const { nodes: shown, collections } = await collectStatus(settings("admin"));
      return { roles: new Set(shown.flatMap(({ roles }) => roles)), collections };
    };
    // It does not wait long for a node that is slow to answer.
    const counted = { rowsInSegments: 500, growingRows: 0 };
    await expect.poll(status).toMatchObject({
      roles: new Set(ROLES),
      collections: [{ name: collectionName, ...counted, loadState: "loaded" }],
    });

    {
      await using cluster = await openCluster(natsOptions(settings("admin"), "vdb-test"), "vdb");
      await takeBackup(cluster, { folder: join(folder, "backup"), holder: "test" });
      await client.dropCollection({ collectionName });
      await restoreBackup(cluster, { folder: join(folder, "backup"), holder: "test" });
    }
    await client.waitUntilLoaded({ collectionName });
    const [count] = await client.query({ collectionName, outputFields: ["count(*)"] });
    expect(count).toEqual({ "count(*)": 499 });

    await client.dropCollection({ collectionName });
    await client.close();
    await expect.poll(countObjects, { interval: 500 }).toBe(0);
    expect(server.violations).toEqual([]);
  });

  test("a proxy that drains answers what comes over HTTP, and is refused nothing", async () => {
    const proxy = nodes.get("proxy")!;
    const { http } = proxy.observe().proxy as { http: string };
    const list = async () => {
      const response = await fetch(`http://${http}/v2/vectordb/collections/list`, { method: "POST", body: "{}" });
      return response.json();
    };
    await using cluster = await openCluster(natsOptions(settings("admin"), "vdb-test"), "vdb");
    for (const isDraining of [true, false, true, false]) {
      await cluster.bus.ask(drainNode, { nodeId: proxy.nodeId }, { isDraining });
      expect(await list()).toMatchObject({ code: 0 });
    }
    const client = await VdbClient.connect({ servers: server.url, user: "client", pass: passwordOf("client") });
    expect(await client.listCollections()).toEqual([]);
    await client.close();
    expect(server.violations).toEqual([]);
  });

  async function countObjects(): Promise<number> {
    const connection = await connectAs("admin");
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const { state } = await manager.streams.info("OBJ_vdb-objects");
    await connection.close();
    return state.messages;
  }
});
