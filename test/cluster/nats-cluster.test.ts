/**
 * A cluster of real processes on a NATS of three members and three replicas, under a steady load. Members are killed,
 * frozen and restarted: service comes back by itself, everybody is registered afterwards, and everything that was
 * acknowledged is there, once. The times are printed; the bounds are loose, because thirteen processes share two cores.
 */
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { ClusterStatus } from "../../runtime/commands/status/collect.ts";
import { type NatsCluster, startNatsCluster } from "../../runtime/testing/nats-cluster.ts";
import {
  clusterStatus,
  type ProcessCluster,
  startProcessCluster,
  TWO_OF_EACH,
} from "../../runtime/testing/process-cluster.ts";
import { createLoadedCollection, type SteadyLoad, startSteadyLoad } from "../../runtime/testing/steady-load.ts";

const COLLECTION = "steady";
const SETTINGS = ["cluster.replicas=3", "streaming.sealRows=300", "coordinator.indexRowsMin=100", "log.level=info"];

/** An election takes 4 to 9 s, and a request whose answer died with a connection is sent again after 10. */
const RESUME_MS_MAX = 30_000;
/** That nobody hangs: each client does several calls between two that count. */
const SETTLE_MS_MAX = 120_000;
/** Longer than an election, and than the wait for a server that does not answer. */
const FREEZE_MS = 15_000;

let nats: NatsCluster;
let cluster: ProcessCluster;
let client: VdbClient;
let load: SteadyLoad;

beforeAll(async () => {
  nats = await startNatsCluster();
  cluster = await startProcessCluster({ roles: TWO_OF_EACH, settings: SETTINGS, servers: nats.servers });
  client = await VdbClient.connect({ servers: nats.servers });
  await createLoadedCollection(client, COLLECTION);
  load = await startSteadyLoad({ servers: nats.servers, collectionName: COLLECTION, writers: 3, readers: 2 });
});
afterAll(async () => {
  await load?.stop();
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
  await nats?.[Symbol.asyncDispose]();
});

/** Asked of the members that answer: a connection may otherwise wait for one that is frozen. */
const status = (): Promise<ClusterStatus> => {
  const servers = nats.members.filter(({ isAnswering }) => isAnswering).map(({ url }) => url);
  return clusterStatus(servers.join(","));
};

/** The log stream of a channel that rows are written to. */
async function busyStream(): Promise<string> {
  const { channels } = await status();
  return `vdb-wal-${channels.find(({ shards }) => shards > 0)?.channel}`;
}

/** What a fault must not change: who leads, and under which terms the channels are held. */
async function tenures(): Promise<string> {
  const { leader, channels } = await status();
  return `epoch ${leader?.epoch}, terms ${channels.map(({ term }) => term)}`;
}

/** Every process is registered, every channel open, every sealed segment served. */
async function untilWhole(): Promise<void> {
  const look = async () => {
    const { nodes, channels, collections, leader } = await status();
    const loadState = collections[0]?.loadState;
    return { nodes: nodes.length, isLed: leader?.isAlive, open: channels.map(({ isOpen }) => isOpen), loadState };
  };
  await expect
    .poll(look, { timeout: SETTLE_MS_MAX, interval: 500 })
    .toEqual({ nodes: TWO_OF_EACH.length, isLed: true, open: [true, true, true, true], loadState: "loaded" });
}

/** Runs a fault under the load, mends it, and prints how long the unluckiest calls took. */
async function endure(what: string, fault: () => Promise<() => Promise<void>>): Promise<void> {
  await load.everybodyServed(SETTLE_MS_MAX);
  const before = await tenures();
  const brokenAt = performance.now();
  const mend = await fault();
  await load.everybodyServed(SETTLE_MS_MAX);
  const servedAfter = performance.now() - brokenAt;
  await mend();
  await nats.settled();
  await untilWhole();
  await load.everybodyServed(SETTLE_MS_MAX);
  const wholeAfter = performance.now() - brokenAt;
  const { insertMs, searchMs } = load.longestWait(brokenAt);
  const after = await tenures();
  console.log(
    `${what}: longest insert ${ms(insertMs)}, longest search ${ms(searchMs)}, all clients served after ${ms(servedAfter)}, whole after ${ms(wholeAfter)}; ${before === after ? before : `${before} -> ${after}`}`,
  );
  expect(load.failures).toEqual([]);
}

test("every stream, bucket and object store has three copies", async () => {
  const { walChannels } = await status();
  const streams = ["KV_vdb-meta", "KV_vdb-lease", "OBJ_vdb-objects"];
  for (let channel = 0; channel < walChannels; channel++) streams.push(`vdb-wal-${channel}`);
  // A stream is there when two of them have it; and a member may be slow to say what it has.
  for (const stream of streams)
    await expect.poll(() => nats.copiesOf(stream), { message: stream }).toEqual({ configured: 3, held: 3 });
});

test("kill -9 of the member that leads a log stream", async () => {
  await endure("log leader killed", async () => {
    const victim = await nats.leaderOf(await busyStream());
    await nats.kill(victim);
    return () => nats.start(victim);
  });
});

test("kill -9 of the member that leads the meta store", async () => {
  await endure("meta leader killed", async () => {
    const victim = await nats.leaderOf("KV_vdb-meta");
    await nats.kill(victim);
    return () => nats.start(victim);
  });
});

test("a member that is frozen, and wakes up", async () => {
  await endure("member frozen for 15 s", async () => {
    const victim = await nats.leaderOf(await busyStream());
    nats.freeze(victim);
    await pause(FREEZE_MS);
    return async () => nats.thaw(victim);
  });
});

test("a rolling restart of all members", async () => {
  await endure("members restarted one by one", async () => {
    for (let i = 0; i < nats.members.length; i++) {
      await nats.stop(i);
      await nats.start(i);
      await nats.settled();
    }
    return async () => undefined;
  });
});

test("kill -9 of the active coordinator: the stand-by takes over long before the lease would have ended", async () => {
  const { leader, nodes } = await status();
  const { pid } = nodes.find(({ nodeId }) => nodeId === leader?.nodeId)!;
  const killedAt = performance.now();
  cluster.processes.find((process) => process.pid === pid)!.kill("SIGKILL");
  await client.createCollection({ collectionName: "after_coordinator", dimension: 2 });
  const ledAfter = performance.now() - killedAt;
  console.log(`coordinator killed: catalogue change after ${ms(ledAfter)}`);
  expect(ledAfter).toBeLessThan(RESUME_MS_MAX);
  await cluster.start(["coordinator"]);
  await untilWhole();
  expect(load.failures).toEqual([]);
});

test("after all of it every acknowledged row is found exactly once", async () => {
  await load.stop();
  expect(load.failures).toEqual([]);
  const expected = load.expectedIds();
  console.log(
    `${load.answered.writes} writes and ${load.answered.searches} searches were answered; ${expected.length} rows`,
  );
  const count = { collectionName: COLLECTION, outputFields: ["count(*)"], consistencyLevel: "Strong" as const };
  expect(await client.query(count)).toEqual([{ "count(*)": expected.length }]);
  const stored: unknown[] = [];
  const edges = [Number.MIN_SAFE_INTEGER, ...expected.filter((_, i) => i % 5000 === 4999), Number.MAX_SAFE_INTEGER];
  for (let i = 1; i < edges.length; i++) {
    const filter = `id >= ${edges[i - 1]} and id < ${edges[i]}`;
    const page = { collectionName: COLLECTION, filter, outputFields: ["id"], limit: 16_384 };
    const rows = await client.query({ ...page, consistencyLevel: "Strong" });
    stored.push(...rows.map(({ id }) => id));
  }
  expect(stored).toEqual(expected);
});

function ms(milliseconds: number): string {
  return `${Math.round(milliseconds)} ms`;
}
