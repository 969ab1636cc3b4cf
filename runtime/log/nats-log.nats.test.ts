import { jetstreamManager } from "@nats-io/jetstream";
import { beforeEach, describe, expect, test } from "vitest";
import { connectNats } from "../nats/connect.ts";
import { insertOf, noDeadline, openResumedWriter, readWholeLog, timestampSource } from "../testing/log-fixture.ts";
import { startTestNats, TEST_REPLICAS } from "../testing/nats-server.ts";
import { useNats } from "../testing/use-nats.ts";
import { describeLog } from "./log-contract.ts";
import { createNatsLog, type NatsLog } from "./nats-log.ts";

const nats = useNats();

let log: NatsLog;
let tests = 0;
beforeEach(async () => {
  log = createNatsLog(nats.connections, { prefix: `t${++tests}`, replicas: TEST_REPLICAS, maxBytes: 64 << 20 });
  await log.ensureChannels(1);
});

describe("as any other", () => {
  describeLog(() => ({
    async open(options = {}) {
      const opened = createNatsLog(nats.connections, {
        prefix: `t${++tests}`,
        replicas: TEST_REPLICAS,
        maxBytes: 64 << 20,
        ...options,
      });
      await opened.ensureChannels(1);
      return opened;
    },
    restart: () => nats.restart(),
  }));
});

test("a server of the smallest max_payload takes all that waits", async () => {
  await using server = await startTestNats({ config: "max_payload: 1MB" });
  const connections = await connectNats({ servers: server.url, name: "test" });
  const small = createNatsLog(connections, { prefix: "small", replicas: TEST_REPLICAS, maxBytes: 64 << 20 });
  await small.ensureChannels(1);
  expect(small.maxMessageBytes).toBeLessThan(1 << 20);
  const writer = await openResumedWriter({ log: small, term: 1, timestamps: timestampSource() });
  // 3 MiB: more than one message of it is full.
  await Promise.all(Array.from({ length: 3_500 }, (_, i) => writer.append(insertOf(`r${i}`, 100), noDeadline())));
  expect((await readWholeLog(small)).requestIds).toHaveLength(3_500);
  await writer.close();
  await connections.close();
});

describe("ensureChannels", () => {
  test("accepts what it made before, and refuses a stream of another shape", async () => {
    await log.ensureChannels(2);
    await log.ensureChannels(2);
    const { streams } = await jetstreamManager(nats.connections.control);
    await streams.add({ name: `t${tests}-wal-2`, subjects: [`t${tests}.wal.2.*`] });
    await expect(log.ensureChannels(3)).rejects.toThrow(/deny_delete is .*, expected true/);
  });
});

describe("tail", () => {
  test("holds the server back while a message is handled", async () => {
    const megabyte = new Uint8Array(1 << 20);
    for (let i = 0; i < 48; i++) await log.append(0, "ins", `m${i}`, megabyte, {}, 5_000);
    let running = 0;
    let release: () => void = () => undefined;
    const first = new Promise<void>((done) => {
      release = done;
    });
    const seqs: number[] = [];
    let finish: () => void = () => undefined;
    const all = new Promise<void>((done) => {
      finish = done;
    });
    await using _tail = await log.tail(0, ["ins"], 1, async ({ seq }) => {
      expect(++running).toBe(1);
      if (seq === 1) await first;
      else await Promise.resolve();
      running--;
      seqs.push(seq);
      if (seq === 48) finish();
    });
    const consumers = await (await jetstreamManager(nats.connections.control)).consumers.list(`t${tests}-wal-0`).next();
    // Flow control: the server stops at its window instead of sending all 48 MB.
    expect(consumers[0]!.num_pending).toBeGreaterThan(0);
    release();
    await all;
    expect(seqs).toEqual(Array.from({ length: 48 }, (_, i) => i + 1));
  });
});
