import { nuid } from "nats";
import { afterAll, beforeAll } from "vitest";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { startTestNats, TEST_REPLICAS, type TestNats } from "../testing/nats-server.ts";
import { describeLeases } from "./lease-contract.ts";
import { createNatsLeases } from "./nats-lease.ts";

let server: TestNats;
let connections: NatsConnections;

beforeAll(async () => {
  server = await startTestNats();
  connections = await connectNats({ servers: server.url, name: "lease-test" });
});

afterAll(async () => {
  await connections.close();
  await server[Symbol.asyncDispose]();
});

describeLeases(() => ({
  async open() {
    const prefix = `t${nuid.next()}`;
    const leases = createNatsLeases(connections.control, { prefix, clock: systemClock, random: systemRandom });
    await leases.ensure({ replicas: TEST_REPLICAS });
    return leases;
  },
  async restart(downMs) {
    await server.kill();
    await systemClock.sleep(downMs);
    await server.restart();
  },
  clock: systemClock,
}));
