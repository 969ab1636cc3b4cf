/**
 * Query nodes that are frozen, woken and killed for real, under a steady load of searches: with two replicas none fails,
 * and none waits for a lease to end; with one, searches wait until its segments are loaded elsewhere. The longest search
 * is printed.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Role } from "../../runtime/actor.ts";
import {
  clusterStatus,
  type ProcessCluster,
  type RoleProcess,
  startProcessCluster,
} from "../../runtime/testing/process-cluster.ts";
import { createLoadedCollection, type SteadyLoad, startSteadyLoad } from "../../runtime/testing/steady-load.ts";

const COLLECTION = "steady";
const PROCESSES: Role[][] = [["coordinator"], ["streaming"], ["query"], ["query"], ["data"], ["proxy"]];

/** So long that a search which waits for it to end can be told from one that does not, however slow the machine is. */
const LEASE_SECONDS = 25;
/** What is left of a lease is a renewal's interval less. */
const SEARCH_MS_MAX = (LEASE_SECONDS - 7) * 1_000;
const SETTLE_MS_MAX = 120_000;
const SETTINGS = ["coordinator.indexRowsMin=100", `node.leaseSeconds=${LEASE_SECONDS}`];
const READERS = 6;
const FLUSHES = 4;
/** Searches that are answered while a node is away: many more than were under way when it went. */
const SEARCHES = 50 * READERS;

let cluster: ProcessCluster;
let client: VdbClient;
let load: SteadyLoad;

beforeAll(async () => {
  cluster = await startProcessCluster({ roles: PROCESSES, settings: SETTINGS });
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await createLoadedCollection(client, COLLECTION);
  load = await startSteadyLoad({ servers: cluster.nats.url, collectionName: COLLECTION, writers: 1, readers: READERS });
});
afterAll(async () => {
  await load?.stop();
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

async function untilAnswered(what: "writes" | "searches", count: number): Promise<void> {
  const before = load.answered[what];
  await expect
    .poll(() => load.answered[what] - before, { timeout: SETTLE_MS_MAX, interval: 50 })
    .toBeGreaterThanOrEqual(count);
}

async function observed() {
  const { nodes, collections } = await clusterStatus(cluster.nats.url);
  const queryNodes = nodes.filter(({ roles }) => roles.includes("query"));
  const counts = queryNodes.map(({ load: { query } }) => Number(query?.segments ?? 0));
  return { queryNodes, counts, segments: collections[0]?.segments ?? { flushed: 0, indexed: 0, served: 0, bytes: 0 } };
}

/** Both query nodes are there and between them have so many copies of each segment. Gives their processes. */
async function untilSettled(replicas: number): Promise<RoleProcess[]> {
  let pids: number[] = [];
  await expect
    .poll(
      async () => {
        const { queryNodes, counts, segments } = await observed();
        pids = queryNodes.map(({ pid }) => pid);
        const copies = counts.reduce((sum, count) => sum + count, 0);
        const { flushed, served } = segments;
        return { nodes: pids.length, unserved: flushed - served, missing: replicas * flushed - copies };
      },
      { timeout: SETTLE_MS_MAX, interval: 500 },
    )
    .toEqual({ nodes: 2, unserved: 0, missing: 0 });
  return pids.map((pid) => cluster.processes.find((process) => process.pid === pid)!);
}

function report(what: string, since: number): number {
  const { searchMs } = load.longestWait(since);
  console.log(`${what}: longest search ${Math.round(searchMs)} ms of ${load.answered.searches} so far`);
  expect(load.failures).toEqual([]);
  return searchMs;
}

test("a query node that is frozen, with two replicas: no search fails or waits for its lease to end", async () => {
  for (let i = 0; i < FLUSHES; i++) {
    await untilAnswered("writes", 20);
    await client.flush({ collectionName: COLLECTION });
  }
  const [victim] = await untilSettled(2);
  const undisturbedSince = performance.now();
  await untilAnswered("searches", SEARCHES);
  report("undisturbed", undisturbedSince);

  const frozenAt = performance.now();
  victim!.kill("SIGSTOP");
  try {
    await untilAnswered("searches", SEARCHES);
    await load.everybodyServed(SETTLE_MS_MAX);
  } finally {
    victim!.kill("SIGCONT");
  }
  await untilAnswered("searches", SEARCHES);
  expect(report("frozen and woken", frozenAt)).toBeLessThan(SEARCH_MS_MAX);
});

test("a query node that is killed, with two replicas: no search fails or waits for its lease to end", async () => {
  const [, victim] = await untilSettled(2);
  const killedAt = performance.now();
  victim!.kill("SIGKILL");
  await untilAnswered("searches", SEARCHES);
  await load.everybodyServed(SETTLE_MS_MAX);
  expect(report("killed", killedAt)).toBeLessThan(SEARCH_MS_MAX);
  const replacedAt = performance.now();
  await cluster.start(["query"]);
  await untilSettled(2);
  expect(report("replaced", replacedAt)).toBeLessThan(SEARCH_MS_MAX);
});

test("a query node that is killed, with one replica: searches wait for its segments, and none gives a part", async () => {
  await client.loadCollection({ collectionName: COLLECTION, replicaNumber: 1 });
  const processes = await untilSettled(1);
  // What is on one node alone at first is shared between the two.
  const leastHeld = async () => Math.min(...(await observed()).counts);
  await expect.poll(leastHeld, { timeout: SETTLE_MS_MAX, interval: 500 }).toBeGreaterThan(0);
  const killedAt = performance.now();
  processes[0]!.kill("SIGKILL");
  await load.everybodyServed(SETTLE_MS_MAX);
  report("the only replica killed", killedAt);
});
