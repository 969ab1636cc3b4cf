/** A node that is drained under load: others take over what it owns, nobody fails, and it can be called off. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Role } from "../../runtime/actor.ts";
import type { VdbNode } from "../../runtime/node.ts";
import { drainNode } from "../../runtime/protocol/node.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { createLoadedCollection, type SteadyLoad, startSteadyLoad } from "../../runtime/testing/steady-load.ts";

const COLLECTION = "steady";
const NODES: Role[][] = [
  ["coordinator"],
  ["coordinator"],
  ["streaming"],
  ["streaming"],
  ["query", "data"],
  ["query", "data"],
  ["proxy"],
  ["proxy"],
];
const SETTLE_MS_MAX = 60_000;

const NOTHING = { leads: 0, channels: 0, segments: 0, jobs: 0, requests: 0 };

describe("draining", () => {
  let cluster: TestCluster;
  let client: VdbClient;
  let load: SteadyLoad;
  beforeAll(async () => {
    cluster = await startTestCluster(NODES, ["streaming.sealRows=300", "coordinator.indexRowsMin=100"]);
    client = await VdbClient.connect({ servers: cluster.nats.url });
    await createLoadedCollection(client, COLLECTION);
    load = await startSteadyLoad({ servers: cluster.nats.url, collectionName: COLLECTION, writers: 3, readers: 2 });
  });
  afterAll(async () => {
    await load?.stop();
    await client?.close();
    await cluster?.[Symbol.asyncDispose]();
  });

  const having = (role: Role): VdbNode[] => cluster.nodes.filter((node) => node.observe()[role] !== undefined);
  const drain = (node: VdbNode, isDraining: boolean | null) => {
    // Asked over the wire, as the command does.
    const other = cluster.nodes.find(({ nodeId }) => nodeId !== node.nodeId)!;
    return other.bus.ask(drainNode, { nodeId: node.nodeId }, { isDraining });
  };
  const untilEmpty = (node: VdbNode) =>
    expect.poll(async () => (await drain(node, null)).owned, { timeout: SETTLE_MS_MAX, interval: 20 }).toEqual(NOTHING);

  test.each<Role>(["streaming", "coordinator", "query", "proxy"])(
    "a %s that drains loses what it owns, and no request",
    async (role) => {
      await load.everybodyServed(SETTLE_MS_MAX);
      const weight = (node: VdbNode) => {
        const { channels = [], segments = 0, isLeading } = node.observe()[role]!;
        return (channels as unknown[]).length + Number(segments) + (isLeading === true ? 1 : 0);
      };
      const node = having(role).sort((a, b) => weight(b) - weight(a))[0]!;
      const since = performance.now();
      expect((await drain(node, true)).isDraining).toBe(true);
      await untilEmpty(node);
      const emptyMs = performance.now() - since;
      await load.everybodyServed(SETTLE_MS_MAX);
      const { insertMs, searchMs } = load.longestWait(since);
      console.log(
        `${role} drained in ${Math.round(emptyMs)} ms: longest insert ${Math.round(insertMs)} ms, longest search ${Math.round(searchMs)} ms`,
      );
      expect(load.failures).toEqual([]);

      await drain(node, false);
      // It takes part again: channels come back to it, and a node that is alone in its role serves.
      const others = having(role).filter(({ nodeId }) => nodeId !== node.nodeId);
      for (const other of others) await drain(other, true);
      for (const other of others) await untilEmpty(other);
      await load.everybodyServed(SETTLE_MS_MAX);
      for (const other of others) await drain(other, false);
      expect(load.failures).toEqual([]);
    },
    4 * SETTLE_MS_MAX,
  );

  test("a node that is stopped drains first", async () => {
    await load.everybodyServed(SETTLE_MS_MAX);
    for (const roles of NODES.slice(2)) {
      const since = performance.now();
      const node = having(roles[0]!)[0]!;
      await cluster.startNode(roles);
      await cluster.stopNode(node);
      await load.everybodyServed(SETTLE_MS_MAX);
      const { insertMs, searchMs } = load.longestWait(since);
      console.log(
        `${roles} replaced: longest insert ${Math.round(insertMs)} ms, longest search ${Math.round(searchMs)} ms`,
      );
    }
    expect(load.failures).toEqual([]);
  }, 600_000);

  test("after all of it every acknowledged row is there once", async () => {
    await load.stop();
    expect(load.failures).toEqual([]);
    const request = { collectionName: COLLECTION, outputFields: ["count(*)"], consistencyLevel: "Strong" as const };
    expect(await client.query(request)).toEqual([{ "count(*)": load.expectedIds().length }]);
  });
});
