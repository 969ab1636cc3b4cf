/** Leases that would last for minutes: those of the dead end soon, those of the living never. */
import { beforeEach, expect, test } from "vitest";
import type { Bus } from "../../runtime/bus/bus.ts";
import { createLogger } from "../../runtime/logger.ts";
import { createNatsLeases, type NatsLeases } from "../../runtime/meta/nats-lease.ts";
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
async function whileEnding(done: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  let revision = (await leases.acquire("coordinator.living", encode({}), LONG_SECONDS))!;
  const renewing = (async () => {
    for (;;) {
      await systemClock.sleep(300, stop.signal);
      revision = (await leases.renew("coordinator.living", encode({}), LONG_SECONDS, revision))!;
    }
  })().catch(() => undefined);
  const logger = createLogger({ level: "silent" });
  const ending = endDeadLeases({ leases, bus: net.buses[0]!, clock: systemClock, logger }, stop.signal);
  try {
    await Promise.race([done(), ending]);
  } finally {
    stop.abort();
    await Promise.allSettled([renewing, ending]);
  }
}

async function serveAs(nodeId: string, bus: Bus, handler: () => Promise<never>): Promise<void> {
  bus.serve(drainNode, { nodeId }, handler, ROOM);
  await bus.flush();
}

test("ends what a node that is gone held, its lead too", async () => {
  const lead = encode({ nodeId: "gone" });
  for (const key of ["coordinator.gone", "query.gone", LEASE_KEY]) await leases.acquire(key, lead, LONG_SECONDS);
  await whileEnding(async () => {
    for (const key of ["coordinator.gone", "query.gone", LEASE_KEY]) {
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

test("blames nobody while the store takes no renewals", async () => {
  await leases.acquire("query.quiet", encode({}), LONG_SECONDS);
  const stop = new AbortController();
  const logger = createLogger({ level: "silent" });
  const asked: string[] = [];
  const bus = new Proxy(net.buses[0]!, {
    get: (target, name) => {
      if (name === "ask") asked.push("ask");
      return Reflect.get(target, name) as unknown;
    },
  });
  let looks = 0;
  const enough = new Promise<void>((resolve) => {
    const clock = {
      ...systemClock,
      monotonic: () => systemClock.monotonic() * 20,
      sleep: async (ms: number, signal?: AbortSignal) => {
        await systemClock.sleep(ms / 20, signal);
        if (++looks === 30) resolve();
      },
    };
    void endDeadLeases({ leases, bus, clock, logger }, stop.signal).catch(() => undefined);
  });
  await enough;
  stop.abort();
  expect(asked).toEqual([]);
  expect(await leases.get("query.quiet")).not.toBeNull();
});
