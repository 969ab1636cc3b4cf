/** One coordinator leads, whatever the others believe: hand-over, take-over, and a leader that was frozen meanwhile. */
import { afterEach, describe, expect, test } from "vitest";
import { type Leadership, leadOnce } from "../../actors/coordinator/leadership.ts";
import { Window } from "../../actors/coordinator/window.ts";
import { VdbClient } from "../../client/client.ts";
import type { ActorContext } from "../../runtime/actor.ts";
import { loadConfig } from "../../runtime/config/load.ts";
import { createLogger } from "../../runtime/logger.ts";
import { startMetaCache } from "../../runtime/meta/cache.ts";
import { createCatalog, putDoc } from "../../runtime/meta/catalog.ts";
import { createNatsLeases } from "../../runtime/meta/nats-lease.ts";
import { createNatsMeta } from "../../runtime/meta/nats-meta.ts";
import type { LeasePort } from "../../runtime/meta/port.ts";
import { connectNats } from "../../runtime/nats/connect.ts";
import type { VdbNode } from "../../runtime/node.ts";
import { decodeDoc, KEY_KINDS, metaKeys } from "../../runtime/protocol/catalog.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { startTestNats } from "../../runtime/testing/nats-server.ts";

const isLeading = (node: VdbNode): boolean => node.observe().coordinator?.isLeading === true;

describe("two coordinators", () => {
  let cluster: TestCluster;
  afterEach(() => cluster?.[Symbol.asyncDispose]());

  const leaders = (): VdbNode[] => cluster.nodes.filter(isLeading);

  test("the stand-by leads soon after the leader has stopped, and the catalogue goes on", async () => {
    cluster = await startTestCluster([["coordinator"], ["coordinator"], ["streaming", "query", "data", "proxy"]]);
    const client = await VdbClient.connect({ servers: cluster.nats.url });
    try {
      for (let life = 0; life < 3; life++) {
        await expect.poll(() => leaders().length, { timeout: 10_000 }).toBe(1);
        await client.createCollection({ collectionName: `life_${life}`, dimension: 2 });
        const stoppedAt = performance.now();
        await cluster.stopNode(leaders()[0]!);
        await expect.poll(() => leaders().length, { timeout: 10_000, interval: 5 }).toBe(1);
        const ms = performance.now() - stoppedAt;
        console.log(`handed over in ${Math.round(ms)} ms`);
        expect(ms).toBeLessThan(5_000);
        await cluster.startNode(["coordinator"]);
      }
      expect(await client.listCollections()).toEqual(["life_0", "life_1", "life_2"]);
      await client.insert({ collectionName: "life_0", data: { id: 1, vector: [1, 2] } });
    } finally {
      await client.close();
    }
  });

  test("timestamps only grow, whoever hands them out", async () => {
    cluster = await startTestCluster([["coordinator"], ["coordinator"], ["data"]]);
    const { bus } = cluster.nodes[2]!;
    const given: { first: bigint; count: number }[] = [];
    let isDone = false;
    const asking = (async () => {
      for (let n = 0; !isDone; n++) {
        const count = 1 + (n % 5);
        // Between two leaders nobody answers.
        const reply = await bus
          .ask(allocateTimestamps, {}, { count }, { deadline: systemClock.monotonic() + 2_000 })
          .catch(() => null);
        if (reply !== null) given.push({ first: BigInt(reply.first), count });
        await systemClock.yield();
      }
    })();
    for (let life = 0; life < 3; life++) {
      const before = given.length;
      await expect.poll(() => given.length, { timeout: 10_000 }).toBeGreaterThan(before + 50);
      await cluster.stopNode(leaders()[0]!);
      await cluster.startNode(["coordinator"]);
    }
    const before = given.length;
    await expect.poll(() => given.length, { timeout: 10_000 }).toBeGreaterThan(before + 50);
    isDone = true;
    await asking;
    const repeated = given.filter(({ first }, i) => i > 0 && first < given[i - 1]!.first + BigInt(given[i - 1]!.count));
    expect(repeated).toEqual([]);
  });
});

/** A coordinator as its leadership sees it. `freeze` is what a stopped process does: its renewals go nowhere. */
interface Candidate extends AsyncDisposable {
  ctx: ActorContext;
  /** Leads from then on, until it notices that it does not. */
  lead(): Promise<Leadership>;
  freeze(): void;
}

async function startCandidate(url: string, nodeId: string): Promise<Candidate> {
  const connections = await connectNats({ servers: url, name: nodeId });
  const ports = { prefix: "vdb", clock: systemClock, random: systemRandom };
  const meta = createNatsMeta(connections.control, ports);
  const natsLeases = createNatsLeases(connections.control, ports);
  for (const store of [meta, natsLeases]) await store.ensure({ replicas: 1 });
  const stopped = new AbortController();
  const cache = await startMetaCache({
    meta,
    prefixes: Object.values(KEY_KINDS).map(({ prefix }) => prefix),
    decode: decodeDoc,
    onCorrupt: (error) => {
      throw error;
    },
    clock: systemClock,
    signal: stopped.signal,
  });
  let thaw = (): void => undefined;
  let frozen: Promise<void> | undefined;
  const leases: LeasePort = {
    ...natsLeases,
    async renew(...lease) {
      await frozen;
      return natsLeases.renew(...lease);
    },
  };
  const { config } = loadConfig({ flags: ["node.leaseSeconds=2"] });
  const ctx = {
    nodeId,
    config,
    leases,
    meta,
    catalog: createCatalog(cache),
    clock: systemClock,
    random: systemRandom,
    logger: createLogger({ level: "silent" }),
    signal: stopped.signal,
  } as unknown as ActorContext;
  let leading: Promise<void> = Promise.resolve();
  return {
    ctx,
    lead() {
      return new Promise((resolve, reject) => {
        leading = leadOnce(ctx, async (leadership) => {
          resolve(leadership);
          await new Promise<void>((done) => leadership.signal.addEventListener("abort", () => done(), { once: true }));
        }).catch(reject);
      });
    },
    freeze() {
      frozen = new Promise((resolve) => {
        thaw = resolve;
      });
    },
    async [Symbol.asyncDispose]() {
      thaw();
      stopped.abort();
      await leading;
      await cache.close();
      await connections.close();
    },
  };
}

test("a leader that was frozen and replaced can change nothing, though it believes that it leads", async () => {
  await using nats = await startTestNats();
  await using first = await startCandidate(nats.url, "first");
  await using second = await startCandidate(nats.url, "second");
  const old = await first.lead();
  // Its clock stands, so that its window lasts as long as this test does.
  const frozenAt = systemClock.now();
  const oldTimestamps = Window.timestamps(first.ctx.catalog, old, { ...systemClock, now: () => frozenAt });
  const early = await oldTimestamps.allocate(10);
  const write = (leader: Leadership, { catalog }: ActorContext, pchannel: number, nodeId: string): Promise<boolean> =>
    leader.commit([putDoc(catalog.cache, metaKeys.channel(pchannel), { nodeId, term: leader.epoch })]);
  expect(await write(old, first.ctx, 0, "a")).toBe(true);

  const waiting = second.lead();
  first.freeze();
  const next = await waiting;
  expect(next.epoch).toBe(old.epoch + 1);
  expect(old.signal.aborted).toBe(false);

  // What it still hands out lies below its persisted bound, where the next leader never goes.
  const late = await oldTimestamps.allocate(10);
  const nextTimestamps = Window.timestamps(second.ctx.catalog, next, systemClock);
  const firstOfNext = await nextTimestamps.allocate(10);
  expect(late).toBeGreaterThanOrEqual(early + 10n);
  expect(firstOfNext).toBeGreaterThanOrEqual(late + 10n);

  await expect(write(old, first.ctx, 1, "stale")).rejects.toMatchObject({ kind: "canceled" });
  expect(old.signal.aborted).toBe(true);
  await expect(oldTimestamps.allocate(1)).rejects.toMatchObject({ kind: "not_ready" });
  expect(await write(next, second.ctx, 1, "b")).toBe(true);
  await first.ctx.catalog.cache.sync(systemClock.monotonic() + 5_000);
  for (const { ctx } of [first, second]) {
    expect(ctx.catalog.channelOwner(0)).toEqual({ nodeId: "a", term: old.epoch });
    expect(ctx.catalog.channelOwner(1)).toEqual({ nodeId: "b", term: next.epoch });
  }
});
