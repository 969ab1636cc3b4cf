import type { NatsConnection } from "nats";
import { afterEach, beforeEach, test } from "vitest";
import { startTestNats, type TestNats } from "../testing/nats-server.ts";
import { LASTING } from "./connect.ts";
import { dialNats } from "./dial.ts";
import { keepAlive } from "./keep-alive.ts";

/** So many looks a second that a hanging server is noticed soon. */
const LOOK_MS = 100;

let nats: TestNats;
let connections: NatsConnection[];
beforeEach(async () => {
  nats = await startTestNats();
  // Their own pings would come too late to be what tells.
  const options = { ...LASTING, servers: nats.url, pingInterval: 600_000 };
  connections = await Promise.all([dialNats(options), dialNats(options)]);
});
afterEach(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  await nats[Symbol.asyncDispose]();
});

/** Resolves when the client says that. */
async function status(connection: NatsConnection, wanted: string): Promise<void> {
  for await (const { type } of connection.status()) if (type === wanted) return;
}

test("connections to a server that hangs are given up, and are there again when it is", async () => {
  using _alive = keepAlive(connections, LOOK_MS);
  const lost = Promise.all(connections.map((connection) => status(connection, "disconnect")));
  const back = Promise.all(connections.map((connection) => status(connection, "reconnect")));
  nats.server.kill("SIGSTOP");
  await lost;
  nats.server.kill("SIGCONT");
  await back;
});

test("also with bytes that it has not taken", async () => {
  using _alive = keepAlive(connections, LOOK_MS);
  await areLeftWithBytes(connections);
});

test("a connection that nobody watches leaves by its own pings", async () => {
  await connections[0]!.close();
  connections[0] = await dialNats({ ...LASTING, servers: nats.url, pingInterval: LOOK_MS });
  await areLeftWithBytes(connections.slice(0, 1));
});

/** The first of them has bytes that the server does not take. */
async function areLeftWithBytes(watched: readonly NatsConnection[]): Promise<void> {
  const lost = Promise.all(watched.map((connection) => status(connection, "disconnect")));
  const back = Promise.all(watched.map((connection) => status(connection, "reconnect")));
  nats.server.kill("SIGSTOP");
  const part = new Uint8Array(1 << 20);
  for (let i = 0; i < 32; i++) watched[0]!.publish("untaken", part);
  await lost;
  nats.server.kill("SIGCONT");
  await back;
}
