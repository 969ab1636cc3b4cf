import type { NatsConnection } from "nats";
import { afterAll, afterEach, beforeAll } from "vitest";
import { createLogger } from "../logger.ts";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { startTestNats, type TestNats } from "../testing/nats-server.ts";
import { createNatsTransport } from "./nats-transport.ts";
import { describeTransport } from "./transport-contract.ts";

let server: TestNats;
let opened: NatsConnections[] = [];

beforeAll(async () => {
  server = await startTestNats();
});
afterEach(async () => {
  await Promise.all(opened.map((connections) => connections.close()));
  opened = [];
});
afterAll(() => server[Symbol.asyncDispose]());

describeTransport(() => ({
  async open(count) {
    const connections = await connectNats({ servers: server.url, name: "transport-test" });
    opened.push(connections);
    const each: NatsConnection[] = [connections.control, connections.wal, connections.bulk];
    const logger = createLogger({ level: "silent" });
    return each.slice(0, count).map((connection) => createNatsTransport(connection, "_INBOX", logger));
  },
  restart: () => server.restart(),
}));
