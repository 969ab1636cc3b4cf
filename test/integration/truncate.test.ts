/**
 * Truncation beside writes and reads: whatever their order, a write is before it or after it as a whole, nobody reads a
 * half, and what was taken away stays away, also when the log is read again.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { Row } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import * as api from "../../runtime/protocol/public.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

const LAYOUTS: { layout: string; nodes: Role[][] }[] = [
  { layout: "one process with all roles", nodes: [[...ROLES]] },
  { layout: "five nodes with a role each", nodes: [["coordinator"], ["streaming"], ["query"], ["data"], ["proxy"]] },
];

/** Rows of one write, on all shards. */
const ROWS = 8;
const WRITERS = 6;
const TRUNCATIONS = 6;

const STRONG = { consistencyLevel: "Strong" } as const;

describe.each(LAYOUTS)("$layout", ({ nodes }) => {
  let cluster: TestCluster;
  let client: VdbClient;

  beforeAll(async () => {
    cluster = await startTestCluster(nodes);
    client = await VdbClient.connect({ servers: cluster.nats.url });
  });

  afterAll(async () => {
    await client.close();
    await cluster[Symbol.asyncDispose]();
  });

  test("writes and reads beside truncations are before or after them as a whole", async () => {
    const collectionName = "busy";
    const proxy = cluster.nodes.find((node) => node.observe().proxy !== undefined)!;
    await client.createCollection({ collectionName, dimension: 4, params: { shardsNum: 3 } });
    await client.waitUntilLoaded({ collectionName });
    /** Of each acknowledged write: how many truncations had been asked for when it began, and done when it ended. */
    const writes: { write: number; doneBefore: number; askedBefore: number }[] = [];
    let asked = 0;
    let done = 0;
    let next = 0;
    let isOver = false;

    const write = async () => {
      while (!isOver) {
        const number = next++;
        const doneBefore = done;
        const data = Array.from({ length: ROWS }, (_, row) => ({
          ...{ id: number * ROWS + row, write: number, vector: [number, row, 0, 1] },
        }));
        // Not by a client, which would try again.
        expect(await proxy.bus.ask(api.insertEntities, {}, { collectionName, data })).toMatchObject({ code: 0 });
        writes.push({ write: number, doneBefore, askedBefore: asked });
      }
    };
    const seen = async () => {
      const query = { collectionName, outputFields: ["write"], limit: 16_384, ...STRONG };
      const { data } = await proxy.bus.ask(api.queryEntities, {}, query);
      const counts = new Map<number, number>();
      for (const row of data as Row[]) counts.set(row.write as number, (counts.get(row.write as number) ?? 0) + 1);
      return counts;
    };
    const read = async () => {
      while (!isOver) {
        const doneBefore = done;
        const known = [...writes];
        const counts = await seen();
        // Parts of a write that is under way become visible one after the other; an acknowledged one is there or gone.
        expect(known.filter(({ write }) => ![undefined, ROWS].includes(counts.get(write)))).toEqual([]);
        // What was acknowledged before a truncation began that is over is not there any more.
        const gone = known.filter(({ askedBefore }) => askedBefore < doneBefore).map((each) => each.write);
        expect(gone.filter((each) => counts.has(each))).toEqual([]);
      }
    };
    const truncate = async () => {
      try {
        for (let i = 0; i < TRUNCATIONS; i++) {
          const before = writes.length;
          await expect.poll(() => writes.length).toBeGreaterThan(before + WRITERS);
          if (i === 1) await client.flush({ collectionName });
          asked++;
          await client.truncateCollection({ collectionName });
          done++;
        }
      } finally {
        isOver = true;
      }
    };
    await Promise.all([truncate(), read(), ...Array.from({ length: WRITERS }, write)]);

    const counts = await seen();
    const kept = writes.filter(({ doneBefore }) => doneBefore === TRUNCATIONS).map((each) => each.write);
    expect(kept.filter((each) => counts.get(each) !== ROWS)).toEqual([]);
    const taken = writes.filter(({ askedBefore }) => askedBefore < TRUNCATIONS).map((each) => each.write);
    expect(taken.filter((each) => counts.has(each))).toEqual([]);
  });

  test.runIf(nodes.length > 1)("a truncation answers once the owners of the shards know of it", async () => {
    const collectionName = "owned";
    await client.createCollection({ collectionName, dimension: 4 });
    const streaming = cluster.nodes.find((node) => node.observe().streaming !== undefined)!;
    await cluster.stopNode(streaming);
    const impatient = await VdbClient.connect({ servers: cluster.nats.url, timeoutMs: 1_500 });
    // Whoever owns the shards next may not know of it yet, and would take writes for those that are gone.
    await expect(impatient.truncateCollection({ collectionName })).rejects.toThrow();
    await impatient.close();
    await cluster.startNode(["streaming"]);
    await client.truncateCollection({ collectionName });
  });

  test("what was taken away stays away when the owner of the log replays it", async () => {
    const collectionName = "replayed";
    await client.createCollection({ collectionName, dimension: 4, params: { shardsNum: 2 } });
    await client.waitUntilLoaded({ collectionName });
    const rows = (first: number) => Array.from({ length: 20 }, (_, i) => ({ id: first + i, vector: [i, 1, 2, 3] }));
    await client.insert({ collectionName, data: rows(0) });
    await client.truncateCollection({ collectionName });
    await client.insert({ collectionName, data: rows(100) });
    const streaming = cluster.nodes.find((node) => node.observe().streaming !== undefined)!;
    const roles = nodes.find((list) => list.includes("streaming"))!;
    await cluster.stopNode(streaming);
    await cluster.startNode(roles);
    await client.waitUntilLoaded({ collectionName });
    const found = await client.query({ collectionName, outputFields: ["id"], limit: 100, ...STRONG });
    expect(found.map(({ id }) => id)).toEqual(rows(100).map(({ id }) => id));
  });
});
