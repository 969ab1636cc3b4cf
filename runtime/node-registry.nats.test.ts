import { nuid } from "nats";
import { expect, test } from "vitest";
import { VdbError } from "./errors.ts";
import { startMetaCache } from "./meta/cache.ts";
import { createCatalog, putDoc } from "./meta/catalog.ts";
import { createNatsLeases } from "./meta/nats-lease.ts";
import { createNatsMeta } from "./meta/nats-meta.ts";
import type { LeasePort } from "./meta/port.ts";
import { NodeRegistry } from "./node-registry.ts";
import { decodeDoc, metaKeys } from "./protocol/catalog.ts";
import { encode } from "./protocol/codec.ts";
import type { NodeLease } from "./protocol/node.ts";
import { Scope } from "./scope.ts";
import { systemClock, systemRandom } from "./system-clock.ts";
import { TEST_REPLICAS } from "./testing/nats-server.ts";
import { useNats } from "./testing/use-nats.ts";

const nats = useNats();

const lease = (nodeId: string, isDraining = false): NodeLease => ({
  ...{ nodeId, role: "query", host: "h", pid: 1, version: "0.1.0", startedAt: 1 },
  ...{ isDraining, state: {} },
});

/** Node "a" as a member of a cluster of which it hears through what `write` and `hold` do. */
async function member(watched: (leases: LeasePort) => Pick<LeasePort, "watch"> = (leases) => leases) {
  const scope = new Scope(() => undefined);
  const ports = { prefix: `t${nuid.next()}`, clock: systemClock, random: systemRandom };
  const meta = createNatsMeta(nats.connections.control, ports);
  const leases = createNatsLeases(nats.connections.control, ports);
  await Promise.all([meta.ensure({ replicas: TEST_REPLICAS }), leases.ensure({ replicas: TEST_REPLICAS })]);
  const cache = await startMetaCache({
    ...{ meta, prefixes: ["epoch", "members"], decode: decodeDoc, clock: systemClock, signal: scope.signal },
    onCorrupt: (error) => {
      throw error;
    },
  });
  scope.defer(() => cache.close());
  const registry = new NodeRegistry();
  scope.defer(() => registry.close());
  await registry.startAsMember(watched(leases) as LeasePort, createCatalog(cache), "a");
  const known = () =>
    registry.ofRole("query").map(({ nodeId, isDraining }) => (isDraining ? `${nodeId} leaves` : nodeId));
  let look = () => {};
  scope.use(registry.subscribe(() => look()));
  return {
    failed: registry.failed,
    ids: known,
    /** Resolves when the registry says so, by its own events. */
    until: (...ids: string[]) =>
      new Promise<void>((resolve) => {
        look = () => {
          if (known().join() === ids.join()) resolve();
        };
        look();
      }),
    hold: (nodeId: string) => leases.acquire(`query.${nodeId}`, encode(lease(nodeId)), 60),
    async write(key: "epoch" | "members", doc: unknown) {
      const revision = await meta.commit([putDoc(cache, metaKeys[key], doc)]);
      await cache.waitFor(revision!, systemClock.monotonic() + 60_000);
    },
    [Symbol.asyncDispose]: () => scope.close(),
  };
}

const keeping = { epoch: 1, nodeId: "c", keepsMembers: true };

test("a member follows the leases until the leader's list names it, then the list", async () => {
  await using a = await member();
  await a.hold("a");
  await a.hold("b");
  await a.until("a", "b");
  await a.write("epoch", keeping);
  await a.write("members", { epoch: 1, nodes: [lease("x")] });
  expect(a.ids()).toEqual(["a", "b"]);
  await a.write("members", { epoch: 1, nodes: [lease("a"), lease("x")] });
  expect(a.ids()).toEqual(["a", "x"]);
  await a.write("members", { epoch: 1, nodes: [lease("a", true)] });
  expect(a.ids()).toEqual(["a leaves"]);
  // That it was frozen and its lease ran out makes it no less a reader of the list.
  await a.write("members", { epoch: 1, nodes: [lease("b")] });
  expect(a.ids()).toEqual(["b"]);
});

test("under a leader that keeps no list it follows the leases again", async () => {
  await using a = await member();
  await a.write("epoch", keeping);
  await a.write("members", { epoch: 1, nodes: [lease("a"), lease("gone")] });
  expect(a.ids()).toEqual(["a", "gone"]);
  await a.hold("a");
  await a.hold("new");
  await a.write("epoch", { epoch: 2, nodeId: "old" });
  await a.until("a", "new");
  await a.write("epoch", { ...keeping, epoch: 3 });
  // The list is as an earlier leader left it.
  expect(a.ids()).toEqual(["a", "new"]);
  await a.write("members", { epoch: 3, nodes: [lease("a"), lease("next")] });
  await a.until("a", "next");
  // Of a leader that keeps it too, it is as good as the last one's until it is written again.
  await a.write("epoch", { ...keeping, epoch: 4 });
  expect(a.ids()).toEqual(["a", "next"]);
});

test("leaders of both kinds, one right after the other, end nothing", async () => {
  let watches = 0;
  // After the first, one that is closed before it is ready.
  const slow = (leases: LeasePort): Pick<LeasePort, "watch"> => ({
    async watch(prefixes, onChanges) {
      const watch = await leases.watch(prefixes, onChanges);
      if (++watches === 1) return watch;
      let close = () => {};
      const ready = new Promise<void>((_, reject) => {
        close = () => reject(new VdbError("canceled", "the watch was closed"));
      });
      return {
        ...{ ready, failed: watch.failed },
        async [Symbol.asyncDispose]() {
          await watch[Symbol.asyncDispose]();
          close();
        },
      };
    },
  });
  await using a = await member(slow);
  await a.write("epoch", keeping);
  await a.write("members", { epoch: 1, nodes: [lease("a")] });
  await a.write("epoch", { epoch: 2, nodeId: "old" });
  await expect.poll(() => watches).toBe(2);
  await a.write("epoch", { ...keeping, epoch: 3 });
  await a.write("members", { epoch: 3, nodes: [lease("a"), lease("b")] });
  const ended = a.failed.catch((error: unknown) => error);
  // By then the watch has been closed: that takes a call of the server's.
  await a.hold("late");
  await a.write("members", { epoch: 3, nodes: [lease("a")] });
  expect(await Promise.race([ended, Promise.resolve("goes on")])).toBe("goes on");
  expect(a.ids()).toEqual(["a"]);
});
