/**
 * A cluster of real processes under a steady load, whose processes are killed or frozen one after the other: everything
 * that was acknowledged is there, once, and service comes back soon. The times are printed; the bounds are loose, because
 * all of it shares two cores with the load.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Role } from "../../runtime/actor.ts";
import type { ClusterStatus } from "../../runtime/commands/status/collect.ts";
import {
  clusterStatus,
  type ProcessCluster,
  type RoleProcess,
  startProcessCluster,
  TWO_OF_EACH,
} from "../../runtime/testing/process-cluster.ts";
import { createLoadedCollection, type SteadyLoad, startSteadyLoad } from "../../runtime/testing/steady-load.ts";

const COLLECTION = "steady";

/** Seals, index builds and loads go on all the time. */
const SETTINGS = ["streaming.sealRows=300", "coordinator.indexRowsMin=100", "log.level=info"];

/** What is promised is 5 s for writes and 3 s for the coordinator, on a machine that does nothing else. A client gives up after 30 s. */
const RESUME_MS_MAX = 30_000;
/** That nobody hangs: each client does several calls between two that count. */
const SETTLE_MS_MAX = 120_000;

let cluster: ProcessCluster;
let client: VdbClient;
let load: SteadyLoad;

beforeAll(async () => {
  cluster = await startProcessCluster({ roles: TWO_OF_EACH, settings: SETTINGS });
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await createLoadedCollection(client, COLLECTION);
  load = await startSteadyLoad({ servers: cluster.nats.url, collectionName: COLLECTION, writers: 4, readers: 2 });
});
afterAll(async () => {
  await load?.stop();
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

const status = (): Promise<ClusterStatus> => clusterStatus(cluster.nats.url);

/** The running process of a role that matters most: the leader, or the owner of most of the channels in use. */
async function victimOf(role: Role): Promise<{ process: RoleProcess; nodeId: string }> {
  const { nodes, leader, channels } = await status();
  const ownedBy = (nodeId: string) => channels.filter(({ owner, shards }) => owner === nodeId && shards > 0).length;
  const weight = (nodeId: string) => (leader?.nodeId === nodeId ? 1 : 0) + ownedBy(nodeId);
  const [victim] = nodes
    .filter(({ roles }) => roles.includes(role))
    .sort((a, b) => weight(b.nodeId) - weight(a.nodeId));
  const process = cluster.processes.find(({ pid }) => pid === victim?.pid);
  if (victim === undefined || process === undefined) throw new Error(`no process of role ${role} is registered`);
  return { process, nodeId: victim.nodeId };
}

/** Every process is registered, every channel open, every sealed segment served, and `gone` holds nothing. */
async function untilSettled(gone: string): Promise<void> {
  await expect
    .poll(
      async () => {
        const { nodes, channels, collections, leader } = await status();
        const [collection] = collections;
        return {
          nodes: nodes.length,
          isLed: leader?.isAlive,
          closedChannels: channels.filter(({ isOpen }) => !isOpen).length,
          ownedByGone: channels.filter(({ owner }) => owner === gone).length,
          loadState: collection?.loadState,
        };
      },
      { timeout: SETTLE_MS_MAX, interval: 250 },
    )
    .toEqual({ nodes: TWO_OF_EACH.length, isLed: true, closedChannels: 0, ownedByGone: 0, loadState: "loaded" });
}

/** What the collection holds now, in pages by id. */
async function storedIds(expected: readonly number[]): Promise<unknown[]> {
  const ids: unknown[] = [];
  const edges = [Number.MIN_SAFE_INTEGER, ...expected.filter((_, i) => i % 5000 === 4999), Number.MAX_SAFE_INTEGER];
  for (let i = 1; i < edges.length; i++) {
    const filter = `id >= ${edges[i - 1]} and id < ${edges[i]}`;
    const rows = await client.query({
      collectionName: COLLECTION,
      filter,
      outputFields: ["id"],
      limit: 16_384,
      consistencyLevel: "Strong",
    });
    ids.push(...rows.map(({ id }) => id));
  }
  return ids;
}

test.each<Role>(["proxy", "data", "query", "streaming", "coordinator"])(
  "kill -9 of a %s: nobody fails, writes resume",
  async (role) => {
    await load.everybodyServed(SETTLE_MS_MAX);
    const { process, nodeId } = await victimOf(role);
    const killedAt = performance.now();
    process.kill("SIGKILL");
    await process.exited;
    const replaced = cluster.start([role]);
    // Needs a leader, and so tells when there is one again.
    await client.createCollection({ collectionName: `after_${role}`, dimension: 2 });
    const ledAfter = performance.now() - killedAt;
    await load.everybodyServed(SETTLE_MS_MAX);
    const resumedAfter = performance.now() - killedAt;
    const { insertMs, searchMs } = load.longestWait(killedAt);
    console.log(
      `${role} killed: longest insert ${ms(insertMs)}, longest search ${ms(searchMs)}, catalogue change after ${ms(ledAfter)}, all clients served after ${ms(resumedAfter)}`,
    );
    expect(insertMs).toBeLessThan(RESUME_MS_MAX);
    expect(ledAfter).toBeLessThan(RESUME_MS_MAX);
    await client.dropCollection({ collectionName: `after_${role}` });
    await replaced;
    await untilSettled(nodeId);
    expect(load.failures).toEqual([]);
  },
);

test.each<Role>(["streaming", "coordinator"])(
  "a frozen %s that wakes up after it was replaced steps down",
  async (role) => {
    await load.everybodyServed(SETTLE_MS_MAX);
    const { process, nodeId } = await victimOf(role);
    const frozenAt = performance.now();
    process.kill("SIGSTOP");
    try {
      await expect
        .poll(
          async () => {
            const { leader, channels } = await status();
            return leader?.nodeId === nodeId || channels.some(({ owner }) => owner === nodeId);
          },
          { timeout: SETTLE_MS_MAX, interval: 100 },
        )
        .toBe(false);
      await load.everybodyServed(SETTLE_MS_MAX);
      const { insertMs, searchMs } = load.longestWait(frozenAt);
      console.log(`${role} frozen: longest insert ${ms(insertMs)}, longest search ${ms(searchMs)}`);
    } finally {
      process.kill("SIGCONT");
    }
    // It is a node like any other again, and may even be given channels; what it held before is not its own.
    await expect
      .poll(async () => (await status()).nodes.length, { timeout: SETTLE_MS_MAX, interval: 250 })
      .toBe(TWO_OF_EACH.length);
    await load.everybodyServed(SETTLE_MS_MAX);
    expect(load.failures).toEqual([]);
  },
);

test("an insert that is sent again after its shards' owner was killed is stored once", async () => {
  const collectionName = "sent_again";
  await client.createCollection({ collectionName, dimension: 2 });
  const data = Array.from({ length: 100 }, (_, id) => ({ id, vector: [id, 1] }));
  const request = { collectionName, data, requestId: "insert-1" };
  const first = await client.insert(request);
  const { process, nodeId } = await victimOf("streaming");
  process.kill("SIGKILL");
  await process.exited;
  const replaced = cluster.start(["streaming"]);
  expect(await client.insert(request)).toEqual(first);
  await client.waitUntilLoaded({ collectionName });
  expect(
    await client.query({ collectionName, filter: "", outputFields: ["count(*)"], consistencyLevel: "Strong" }),
  ).toEqual([{ "count(*)": data.length }]);
  await client.dropCollection({ collectionName });
  await replaced;
  await untilSettled(nodeId);
});

test("after all of it every acknowledged row is found exactly once", async () => {
  await load.stop();
  expect(load.failures).toEqual([]);
  const expected = load.expectedIds();
  console.log(
    `${load.answered.writes} writes and ${load.answered.searches} searches were answered; ${expected.length} rows`,
  );
  const [row] = await client.query({
    collectionName: COLLECTION,
    outputFields: ["count(*)"],
    consistencyLevel: "Strong",
  });
  expect(row).toEqual({ "count(*)": expected.length });
  expect(await storedIds(expected)).toEqual(expected);
});

function ms(milliseconds: number): string {
  return `${Math.round(milliseconds)} ms`;
}
