/**
 * Every process of a cluster is restarted, one after the other, under a steady load: no call fails, although there is one
 * replica of everything. The times are printed. And a node that is drained by the command owns nothing.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Role } from "../../runtime/actor.ts";
import type { ClusterStatus } from "../../runtime/commands/status/collect.ts";
import {
  clusterStatus,
  type ProcessCluster,
  startProcessCluster,
  TWO_OF_EACH,
} from "../../runtime/testing/process-cluster.ts";
import { createLoadedCollection, type SteadyLoad, startSteadyLoad } from "../../runtime/testing/steady-load.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

const COLLECTION = "steady";
const SETTINGS = ["streaming.sealRows=300", "coordinator.indexRowsMin=100"];
const SETTLE_MS_MAX = 120_000;

let cluster: ProcessCluster;
let client: VdbClient;
let load: SteadyLoad;

beforeAll(async () => {
  cluster = await startProcessCluster({ roles: TWO_OF_EACH, settings: SETTINGS });
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await createLoadedCollection(client, COLLECTION, 1);
  load = await startSteadyLoad({ servers: cluster.nats.url, collectionName: COLLECTION, writers: 3, readers: 2 });
});
afterAll(async () => {
  await load?.stop();
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

const status = (): Promise<ClusterStatus> => clusterStatus(cluster.nats.url);

async function untilSettled(): Promise<void> {
  await expect
    .poll(
      async () => {
        const { nodes, channels, collections } = await status();
        return {
          nodes: nodes.length,
          closedChannels: channels.filter(({ isOpen }) => !isOpen).length,
          loadState: collections[0]?.loadState,
        };
      },
      { timeout: SETTLE_MS_MAX, interval: 500 },
    )
    .toEqual({ nodes: TWO_OF_EACH.length, closedChannels: 0, loadState: "loaded" });
}

const drain = (...args: string[]) =>
  promisify(execFile)(process.execPath, [
    join(PROJECT_FOLDER, "dist", "runtime", "cli.js"),
    "drain",
    "--nats",
    cluster.nats.url,
    ...args,
  ]);

test.each<Role>(["proxy", "data", "query", "streaming", "coordinator"])(
  "restarting every %s: nobody fails",
  async (role) => {
    await load.everybodyServed(SETTLE_MS_MAX);
    const since = performance.now();
    for (const old of cluster.processes.filter((process) => process.isAlive() && process.roles.includes(role))) {
      await untilSettled();
      const stoppedAt = performance.now();
      old.kill("SIGTERM");
      expect(await old.exited).toBe("0");
      console.log(`${old.name} stopped in ${Math.round(performance.now() - stoppedAt)} ms`);
      await cluster.start([role]);
    }
    await load.everybodyServed(SETTLE_MS_MAX);
    const { insertMs, searchMs } = load.longestWait(since);
    console.log(
      `every ${role} restarted: longest insert ${Math.round(insertMs)} ms, longest search ${Math.round(searchMs)} ms`,
    );
    expect(load.failures).toEqual([]);
  },
);

test("the drain command says when a node owns nothing, and can be undone", async () => {
  await untilSettled();
  const { channels } = await status();
  const owner = channels.find(({ shards }) => shards > 0)!.owner!;
  const { stdout } = await drain(owner);
  expect(stdout).toMatch(/owns nothing any more/);
  const after = await status();
  expect(after.channels.filter((channel) => channel.owner === owner)).toEqual([]);
  expect(after.nodes.find(({ nodeId }) => nodeId === owner)?.isDraining).toBe(true);
  // The other one is the last that stays: nobody could take over from it.
  const other = after.nodes.find(({ nodeId, roles }) => nodeId !== owner && roles.includes("streaming"))!;
  await expect(drain(other.nodeId)).rejects.toMatchObject({ stderr: expect.stringMatching(/start another streaming/) });
  const { host, pid } = after.nodes.find(({ nodeId }) => nodeId === owner)!;
  expect((await drain(`${host}:${pid}`, "--undo")).stdout).toMatch(/takes part again/);
  await expect
    .poll(async () => (await status()).channels.some((channel) => channel.owner === owner), {
      timeout: SETTLE_MS_MAX,
      interval: 500,
    })
    .toBe(true);
  await load.everybodyServed(SETTLE_MS_MAX);
  expect(load.failures).toEqual([]);
});

test("after all of it every acknowledged row is there once", async () => {
  await load.stop();
  expect(load.failures).toEqual([]);
  const request = { collectionName: COLLECTION, outputFields: ["count(*)"], consistencyLevel: "Strong" as const };
  expect(await client.query(request)).toEqual([{ "count(*)": load.expectedIds().length }]);
});

test("a node stops within its time though NATS does not answer", async () => {
  const stopping = cluster.processes.filter((process) => process.isAlive());
  cluster.nats.kill("SIGSTOP");
  const since = performance.now();
  for (const process of stopping) process.kill("SIGTERM");
  const ended = await Promise.all(stopping.map(({ exited }) => exited.then(() => performance.now() - since)));
  cluster.nats.kill("SIGCONT");
  console.log(`stopped without NATS in at most ${Math.round(Math.max(...ended))} ms`);
  // 10 s are promised, by node.drainTimeoutMs; a machine that ends nine of them at once, and does other things, needs longer to get to it.
  expect(Math.max(...ended)).toBeLessThan(40_000);
});
