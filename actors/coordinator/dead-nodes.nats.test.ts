/** Leases that would last for minutes: those of the dead end soon, those of the living never. */
import { jetstreamManager } from "@nats-io/jetstream";
import { beforeEach, expect, test } from "vitest";
import type { Bus } from "../../runtime/bus/bus.ts";
import { createLogger } from "../../runtime/logger.ts";
import { kvStream, leaseBucket } from "../../runtime/meta/kv-names.ts";
import { createNatsLeases, type NatsLeases } from "../../runtime/meta/nats-lease.ts";
import { connectNats } from "../../runtime/nats/connect.ts";
import { NodeRegistry } from "../../runtime/node-registry.ts";
import { encode } from "../../runtime/protocol/codec.ts";
import { drainNode } from "../../runtime/protocol/node.ts";
import { systemClock, systemRandom } from "../../runtime/system-clock.ts";
import { TEST_REPLICAS } from "../../runtime/testing/nats-server.ts";
import { type ThreeNodes, useThreeNodes } from "../../runtime/testing/three-nodes.ts";
import { useNats } from "../../runtime/testing/use-nats.ts";
import { endDeadLeases } from "./dead-nodes.ts";
import { LEASE_KEY } from "./leadership.ts";

const LONG_SECONDS = 600;
const ROOM = { concurrency: 1, capacity: 1 };

let net: ThreeNodes;
let leases: NatsLeases;
const nats = useNats();
useThreeNodes(nats, (nodes) => {
  net = nodes;
});
beforeEach(async () => {
  const options = { prefix: net.prefix, clock: systemClock, random: systemRandom };
  leases = createNatsLeases(nats.connections.control, options);
  await leases.ensure({ replicas: TEST_REPLICAS });
});

/** Ends leases until `done` resolves; `living` renews its own all the while, as a coordinator does. */
async function whileEnding(done: () => Promise<void>, isRenewed = true): Promise<void> {
  const stop = new AbortController();
  let revision = (await leases.acquire("coordinator.living", encode({}), LONG_SECONDS))!;
  const renewing = (async () => {
    for (;;) {
      await systemClock.sleep(300, stop.signal);
      if (!isRenewed) continue;
      revision = (await leases.renew("coordinator.living", encode({}), LONG_SECONDS, revision))!;
    }
  })().catch(() => undefined);
  const logger = createLogger({ level: "silent" });
  const nodes = new NodeRegistry();
  await nodes.start(leases);
  const ports = { leases, nodes, bus: net.buses[0]!, clock: systemClock, logger };
  const ending = endDeadLeases({ ...ports, leaseSeconds: 3 }, stop.signal);
  try {
    await Promise.race([done(), ending]);
  } finally {
    stop.abort();
    await Promise.allSettled([renewing, ending]);
    await nodes.close();
  }
}

/** Resolves when the server would tell of their end. */
async function untilShown(...nodeIds: string[]): Promise<void> {
  const manager = await jetstreamManager(nats.connections.control);
  const stream = kvStream(leaseBucket(net.prefix));
  await expect
    .poll(async () => (await manager.consumers.list(stream).next()).map(({ name }) => name))
    .toEqual(expect.arrayContaining(nodeIds.map((nodeId) => expect.stringContaining(nodeId))));
}

async function serveAs(nodeId: string, bus: Bus, handler: () => Promise<never>): Promise<void> {
  bus.serve(drainNode, { nodeId }, handler, ROOM);
  await bus.flush();
}

test("ends what a node that is gone held, its lead too", async () => {
  const lead = encode({ nodeId: "gone" });
  for (const key of ["streaming.gone", "query.gone", LEASE_KEY]) await leases.acquire(key, lead, LONG_SECONDS);
  await whileEnding(async () => {
    for (const key of ["streaming.gone", "query.gone", LEASE_KEY]) {
      await expect.poll(() => leases.get(key)).toBeNull();
    }
  });
  expect(await leases.get("coordinator.living")).not.toBeNull();
});

test("leaves those of a node that is there and does not answer, and what is no node's", async () => {
  await serveAs("frozen", net.buses[1]!, () => new Promise(() => {}));
  for (const key of ["query.frozen", "pin.1", "query.gone"]) await leases.acquire(key, encode({}), LONG_SECONDS);
  await whileEnding(async () => {
    await expect.poll(() => leases.get("query.gone")).toBeNull();
    // Looked at again, and asked, as often as the other was.
    await leases.acquire("query.gone", encode({}), LONG_SECONDS);
    await expect.poll(() => leases.get("query.gone")).toBeNull();
  });
  expect(await leases.get("query.frozen")).not.toBeNull();
  expect(await leases.get("pin.1")).not.toBeNull();
});

test("what a process held whose connection is gone is ended at once, though nobody renews; unless it is there", async () => {
  const lost = await connectNats({ servers: nats.url, name: "lost" });
  const presence = createNatsLeases(lost.control, { prefix: net.prefix, clock: systemClock, random: systemRandom });
  await serveAs("reconnected", net.buses[1]!, () => new Promise(() => {}));
  const told = new Set<string>();
  using _told = leases.watchPresence((nodeId) => told.add(nodeId));
  const keys = ["query.gone", "data.gone", "query.reconnected"];
  for (const key of keys) await leases.acquire(key, encode({}), LONG_SECONDS);
  for (const nodeId of ["gone", "reconnected"]) presence.showPresence(nodeId);
  await untilShown("gone", "reconnected");
  await whileEnding(async () => {
    await lost.close();
    for (const key of ["query.gone", "data.gone"]) await expect.poll(() => leases.get(key)).toBeNull();
    await expect.poll(() => told).toEqual(new Set(["gone", "reconnected"]));
  }, false);
  expect(await leases.get("query.reconnected")).not.toBeNull();
});

test("time in which nothing is heard of the leases counts for nobody", async () => {
  // Far ahead of the bus's clock, which knows nothing of this one: asks that go by this one have all the time that they need.
  const start = systemClock.monotonic() + 3_600_000;
  let now = start;
  const clock = { ...systemClock, monotonic: () => now };
  const nodes = new NodeRegistry();
  await nodes.start(leases);
  await leases.acquire("query.quiet", encode({}), LONG_SECONDS);
  let revision = (await leases.acquire("query.living", encode({}), LONG_SECONDS))!;
  const stop = new AbortController();
  const logger = createLogger({ level: "silent" });
  const ports = { leases, nodes, bus: net.buses[0]!, clock, logger };
  const ending = endDeadLeases({ ...ports, leaseSeconds: 3 }, stop.signal);
  await serveAs("living", net.buses[1]!, () => new Promise(() => {}));
  let isEnded: boolean = false;
  let heard = () => {};
  using _heard = nodes.followLeases((changes) => {
    if (changes.some(({ key, value }) => key === "query.quiet" && value === null)) isEnded = true;
    heard();
  });
  const renewals: number[] = [];
  // The first after a long silence, then one a second.
  for (now = start + 60_000; !isEnded && renewals.length < 500; now += 1_000) {
    const change = new Promise<void>((resolve) => {
      heard = resolve;
    });
    revision = (await leases.renew("query.living", encode({}), LONG_SECONDS, revision))!;
    await change;
    renewals.push(now);
  }
  stop.abort();
  await ending;
  await nodes.close();
  expect(isEnded).toBe(true);
  // Two renewals missed and a half second more, of which the silence is one at most.
  expect(renewals.length).toBeGreaterThanOrEqual(3);
});
