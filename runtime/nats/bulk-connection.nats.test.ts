import { randomBytes } from "node:crypto";
import { connect, type NatsConnection } from "nats";
import { afterAll, beforeAll, expect, test } from "vitest";
import { isShared } from "../shared-buffers.ts";
import { startTestNats, type TestNats } from "../testing/nats-server.ts";
import { connectBulk } from "./bulk-connection.ts";

let server: TestNats;
let bulk: NatsConnection;
let other: NatsConnection;

beforeAll(async () => {
  server = await startTestNats();
  const settings = { servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 };
  bulk = await connectBulk(settings);
  other = await connect(settings);
});

afterAll(async () => {
  await bulk.close();
  await other.close();
  await server[Symbol.asyncDispose]();
});

/** As many messages as are sent, of the subject. */
async function take(
  connection: NatsConnection,
  subject: string,
  count: number,
  send: () => void,
): Promise<Uint8Array[]> {
  const payloads: Uint8Array[] = [];
  const subscription = connection.subscribe(subject, { max: count });
  await connection.flush();
  send();
  for await (const { data } of subscription) payloads.push(data);
  return payloads;
}

async function reconnected(connection: NatsConnection): Promise<void> {
  for await (const { type } of connection.status()) if (type === "reconnect") return;
}

const SIZES = [10, 3_000_000, 0, 70_000, 65_536, 65_535, 1, 1_000_000, 5];

test("messages of all sizes come in the order in which they were sent, as they were", async () => {
  const sent = SIZES.map((size) => randomBytes(size));
  for (const [from, to] of [
    [bulk, other],
    [other, bulk],
    [bulk, bulk],
  ] as const) {
    const got = await take(to, "all-sizes", sent.length, () => {
      for (const payload of sent) from.publish("all-sizes", payload);
    });
    expect(got.map((payload, i) => Buffer.compare(payload, sent[i]!))).toEqual(SIZES.map(() => 0));
  }
});

test("a large message comes in shared memory, after a reconnect too, whoever else connects meanwhile", async () => {
  const large = randomBytes(500_000);
  const receive = async (): Promise<boolean> => {
    const [payload] = await take(bulk, "large", 1, () => other.publish("large", large));
    return isShared(payload!) && Buffer.compare(payload!, large) === 0;
  };
  expect(await receive()).toBe(true);
  const third = await connect({ servers: server.url });
  const isBack = reconnected(bulk);
  await bulk.reconnect();
  await isBack;
  await third.close();
  expect(await receive()).toBe(true);
});

test("what is published while the server is away disturbs nothing that comes after it", async () => {
  const payload = randomBytes(2_000_000);
  const answering = other.subscribe("echo", {
    callback: (_, message) => {
      message.respond(message.data);
    },
  });
  const areBack = Promise.all([bulk, other].map(reconnected));
  await server.kill();
  bulk.publish("away", payload);
  await server.restart();
  await areBack;
  // The server may read what one connection sends before the other's subscription.
  await other.flush();
  const reply = await bulk.request("echo", payload, { timeout: 60_000 });
  expect(Buffer.compare(reply.data, payload)).toBe(0);
  answering.unsubscribe();
});

test("what the server forbids is refused at once", async () => {
  const guarded = await startTestNats({
    config: `authorization { users: [{ user: u, password: p, permissions: { publish: { deny: "forbidden" } } }] }`,
  });
  const connection = await connectBulk({ servers: guarded.url, user: "u", pass: "p" });
  const request = connection.request("forbidden", randomBytes(1_000_000), { timeout: 60_000 });
  await expect(request).rejects.toMatchObject({ cause: { name: "PermissionViolationError" } });
  await expect(connectBulk({ servers: guarded.url, user: "u", pass: "wrong" })).rejects.toThrow();
  await connection.close();
  await guarded[Symbol.asyncDispose]();
});
