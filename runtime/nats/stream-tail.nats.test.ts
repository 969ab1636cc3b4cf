import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { nanos } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startTestNats, TEST_REPLICAS, type TestNats } from "../testing/nats-server.ts";
import { connectNats, type NatsConnections } from "./connect.ts";
import { type StreamMessage, type StreamTailOptions, tailStream } from "./stream-tail.ts";

let nats: TestNats;
let connections: NatsConnections;
let manager: JetStreamManager;
beforeAll(async () => {
  nats = await startTestNats();
  connections = await connectNats({ servers: nats.url, name: "test", inboxPrefix: "_INBOX_test" });
  manager = await jetstreamManager(connections.control, { timeout: 20_000 });
});
afterAll(async () => {
  await connections.close();
  await nats[Symbol.asyncDispose]();
});

let stream: string;
let tests = 0;
beforeEach(async () => {
  stream = `s${++tests}`;
  await manager.streams.add({ name: stream, subjects: [`${stream}.>`], max_msgs_per_subject: 5 });
});

const publish = (key: string, value: string) =>
  jetstream(connections.control).publish(`${stream}.${key}`, value, { timeout: 20_000 });

/** Follows, and notes what came, with "caught up" where it was said. */
async function follow(options: Partial<StreamTailOptions> = {}) {
  const events: string[] = [];
  const waiters: { count: number; done: () => void }[] = [];
  const note = (event: string): void => {
    events.push(event);
    for (const { count, done } of waiters) if (events.length >= count) done();
  };
  const tail = await tailStream(connections.bulk, {
    stream,
    filterSubjects: [`${stream}.>`],
    start: "lastPerSubject",
    handler: ({ subject, seq, payload }: StreamMessage) =>
      note(`${subject.slice(stream.length + 1)}=${Buffer.from(payload).toString()}@${seq}`),
    onCaughtUp: () => note("caught up"),
    onGap: () => note("gap"),
    ...options,
  });
  const reached = (count: number): Promise<void> =>
    new Promise((done) => {
      if (events.length >= count) done();
      else waiters.push({ count, done });
    });
  return { tail, events, reached };
}

const consumerNames = async (): Promise<string[]> =>
  (await manager.consumers.list(stream).next()).map((consumer) => consumer.name);

describe("a tail that may not be away for long", () => {
  test("fails when the server is silent for longer, and not before", async () => {
    const never = await follow({ heartbeatMs: 100, absenceMsMax: 60_000 });
    const { tail } = await follow({ heartbeatMs: 200, absenceMsMax: 100 });
    await expect(tail.failed).rejects.toThrow(/what was deleted meanwhile is not known/);
    await publish("a", "1");
    await never.reached(2);
    await never.tail[Symbol.asyncDispose]();
  });
});

describe("a tail from the last of each subject", () => {
  test("gets the newest of each, says when it has them, and goes on with all that follows", async () => {
    for (const [key, value] of [
      ["a", "1"],
      ["b", "1"],
      ["a", "2"],
    ] as const)
      await publish(key, value);
    const { tail, events, reached } = await follow();
    await reached(3);
    await publish("a", "3");
    await publish("a", "4");
    await reached(5);
    expect(events).toEqual(["b=1@2", "a=2@3", "caught up", "a=3@4", "a=4@5"]);
    await tail[Symbol.asyncDispose]();
  });

  test("is caught up at once with an empty stream, and with one that has nothing of its subjects", async () => {
    const empty = await follow();
    await empty.reached(1);
    await publish("other", "1");
    const filtered = await follow({ filterSubjects: [`${stream}.a.*`, `${stream}.b`] });
    await filtered.reached(1);
    await publish("b", "1");
    await publish("a.x", "2");
    await filtered.reached(3);
    expect(filtered.events).toEqual(["caught up", "b=1@2", "a.x=2@3"]);
    await empty.tail[Symbol.asyncDispose]();
    await filtered.tail[Symbol.asyncDispose]();
  });

  test("goes on by sequence when its consumer is lost, with each message once", async () => {
    await publish("a", "1");
    // What tells is that it is silent.
    const { tail, events, reached } = await follow({ heartbeatMs: 1_000 });
    await reached(2);
    const [name] = await consumerNames();
    await manager.consumers.delete(stream, name!);
    await publish("b", "1");
    await publish("a", "2");
    await publish("a", "3");
    await reached(7);
    // A server that is silent for long, because others use the machine, makes further gaps.
    const at = (event: string) => events.lastIndexOf(event);
    await expect.poll(() => at("a=3@4") >= 0 && at("caught up") > at("gap")).toBe(true);
    expect(events.filter((event) => event.includes("@"))).toEqual(["a=1@1", "b=1@2", "a=2@3", "a=3@4"]);
    expect(events.slice(0, 2)).toEqual(["a=1@1", "caught up"]);
    expect(events).toContain("gap");
    expect(await consumerNames()).not.toContain(name);
    await tail[Symbol.asyncDispose]();
  });

  test("has the server speak rarely where it is the only one, and the consumer goes with the connection to it", async () => {
    const { tail } = await follow();
    const [consumer] = await manager.consumers.list(stream).next();
    // Runs with VDB_TEST_REPLICAS=3 too.
    expect(consumer!.config.idle_heartbeat).toBe(nanos(TEST_REPLICAS > 1 ? 1_000 : 10_000));
    await tail[Symbol.asyncDispose]();
  });

  test("delivers nothing after it was disposed, and waits for the call that runs", async () => {
    await publish("a", "1");
    let isHandled: boolean = false;
    let begin: () => void = () => undefined;
    const began = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const { tail } = await follow({
      handler: async () => {
        begin();
        await publish("b", "1");
        isHandled = true;
      },
    });
    await began;
    await tail[Symbol.asyncDispose]();
    expect(isHandled).toBe(true);
  });

  test("fails when its stream is deleted for good", async () => {
    const { tail } = await follow({ heartbeatMs: 500 });
    await manager.streams.delete(stream);
    await expect(tail.failed).rejects.toMatchObject({ kind: "unavailable" });
  });

  test("fails when its connection is closed", async () => {
    const own = await connectNats({ servers: nats.url, name: "own" });
    const tail = await tailStream(own.bulk, {
      stream,
      filterSubjects: [],
      start: { bySeq: 1 },
      handler: () => undefined,
    });
    await own.close();
    await expect(tail.failed).rejects.toMatchObject({ kind: "unavailable" });
  });
});
