import { jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection, nuid } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Logger } from "../logger.ts";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { bytes, collector, put, text } from "../testing/meta-fixture.ts";
import { startTestNats, TEST_REPLICAS, type TestNats } from "../testing/nats-server.ts";
import { describeMeta } from "./meta-contract.ts";
import { createNatsMeta, type NatsMeta } from "./nats-meta.ts";
import type { MetaOp } from "./port.ts";

let server: TestNats;
let connections: NatsConnections;
let nc: NatsConnection;
let meta: NatsMeta;
let prefix: string;

beforeAll(async () => {
  server = await startTestNats();
  connections = await connectNats({ servers: server.url, name: "meta-test" });
  nc = connections.control;
});

afterAll(async () => {
  await connections.close();
  await server[Symbol.asyncDispose]();
});

beforeEach(async () => {
  prefix = `t${nuid.next()}`;
  meta = openMeta();
  await meta.ensure({ replicas: TEST_REPLICAS });
});

function openMeta(connection = nc): NatsMeta {
  return createNatsMeta(connection, { prefix, clock: systemClock, random: systemRandom });
}

async function textAt(key: string): Promise<string | null> {
  return text((await meta.get(key))?.value);
}

async function stored(key: string, value: string, revision = 0): Promise<number> {
  const stored = await meta.commit([put(key, value, revision)]);
  if (stored === null) throw new Error(`${key} was not stored`);
  return stored;
}

describe("bucket", () => {
  test("is found again by ensure and by open, and can be read by any KV client", async () => {
    await openMeta().ensure({ replicas: TEST_REPLICAS });
    await openMeta().open({ deadlineMs: systemClock.monotonic() + 30_000 });
    const revision = await stored("a.b", "1");
    const { Kvm } = await import("@nats-io/kv");
    const kv = await new Kvm(nc).open(`${prefix}-meta`);
    const entry = await kv.get("a.b");
    expect(entry?.string()).toBe("1");
    expect(entry?.revision).toBe(revision);
  });

  test("with other settings is refused, and the difference named", async () => {
    const { Kvm } = await import("@nats-io/kv");
    await new Kvm(nc).create(`${prefix}x-meta`, { history: 3 });
    const other = createNatsMeta(nc, { prefix: `${prefix}x`, clock: systemClock, random: systemRandom });
    await expect(other.ensure({ replicas: TEST_REPLICAS })).rejects.toThrow(/max_msgs_per_subject is 3, expected 8/);
    await expect(other.open({ deadlineMs: 0 })).rejects.toThrow(/allow_atomic/);
  });

  test("that does not exist is waited for until the deadline, then said to be missing", async () => {
    const absent = createNatsMeta(nc, { prefix: `${prefix}y`, clock: systemClock, random: systemRandom });
    await expect(absent.open({ deadlineMs: systemClock.monotonic() + 100 })).rejects.toMatchObject({
      kind: "not_ready",
    });
    const waiting = absent.open({ deadlineMs: systemClock.monotonic() + 20_000 });
    await createNatsMeta(nc, { prefix: `${prefix}y`, clock: systemClock, random: systemRandom }).ensure({
      replicas: TEST_REPLICAS,
    });
    await waiting;
  });

  test("waiting for an absent one ends with the signal", async () => {
    const absent = createNatsMeta(nc, { prefix: `${prefix}z`, clock: systemClock, random: systemRandom });
    const stop = new AbortController();
    const waiting = absent.open({ deadlineMs: systemClock.monotonic() + 60_000, signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    await expect(waiting).rejects.toMatchObject({ kind: "canceled" });
  });
});

describe("a deleted key", () => {
  const subject = () => `$KV.${prefix}-meta.a`;
  const last = async () => (await (await manager()).streams.getMessage(stream(), { last_by_subj: subject() }))!;
  const stream = () => `KV_${prefix}-meta`;
  const manager = () => jetstreamManager(nc);
  const deletion = (revision: number): MetaOp => ({ op: "delete", key: "a", revision });

  test("leaves nothing for ever, and can be made again when its tombstone has gone", async () => {
    expect(await meta.commit([put("b", "1", 0), deletion(await stored("a", "1"))])).not.toBeNull();
    expect((await last()).header.get("Nats-TTL")).toBe("86400s");
    // As the server does when its time has come.
    await (await manager()).streams.purge(stream(), { filter: subject() });
    expect(await meta.get("a")).toBeNull();
    await stored("a", "3");
  });

  test("leaves its tombstone when that is the newest message of all, whose revision others wait for", async () => {
    await meta.commit([deletion(await stored("a", "1"))]);
    expect((await last()).header.get("Nats-TTL")).toBe("");
  });

  const addEarlierBucket = async () => {
    const { allow_msg_ttl: _, ...earlier } = (await (await manager()).streams.info(stream())).config;
    prefix = `t${nuid.next()}`;
    const config = { ...earlier, name: stream(), subjects: [`$KV.${prefix}-meta.>`] };
    await (await manager()).streams.add(config);
  };

  test("of a bucket of an earlier version too, once a node that may has added the setting", async () => {
    await addEarlierBucket();
    const before = openMeta();
    await before.open({ deadlineMs: systemClock.monotonic() + 30_000 });
    await before.commit([put("b", "1", 0), deletion((await before.commit([put("a", "1", 0)]))!)]);
    expect((await last()).header.get("Nats-TTL")).toBe("");
    meta = openMeta();
    await meta.ensure({ replicas: TEST_REPLICAS });
    await meta.commit([put("c", "1", 0), deletion(await stored("a", "2"))]);
    expect((await last()).header.get("Nats-TTL")).toBe("86400s");
  });

  test("of one to which the setting cannot be added stays for ever, and keeps nobody from starting", async () => {
    await addEarlierBucket();
    const warnings: unknown[] = [];
    const logger = { warn: (fields: object, message: string) => void warnings.push({ ...fields, message }) };
    // The server refuses what it cannot read.
    const refusing = withProperty(nc, "request", (subject, payload, options) =>
      nc.request(subject, subject.startsWith("$JS.API.STREAM.UPDATE.") ? "{" : payload, options),
    );
    const options = { prefix, clock: systemClock, random: systemRandom, logger: logger as Pick<Logger, "warn"> };
    meta = createNatsMeta(refusing, options);
    await meta.ensure({ replicas: TEST_REPLICAS });
    expect(warnings).toMatchObject([{ stream: stream(), error: expect.stringContaining("invalid JSON") }]);
    await meta.commit([put("b", "1", 0), deletion(await stored("a", "1"))]);
    expect((await last()).header.get("Nats-TTL")).toBe("");
  });
});

describe("as any other", () => {
  describeMeta(() => ({
    async open() {
      prefix = `t${nuid.next()}`;
      const opened = openMeta();
      await opened.ensure({ replicas: TEST_REPLICAS });
      return opened;
    },
    restart: () => server.restart(),
  }));
});

describe("when the server dies", () => {
  test("a commit whose answer was lost is found to be in, also when it was overwritten meanwhile", async () => {
    const lossy = withLostAnswers(nc);
    const unlucky = openMeta(lossy.connection);
    lossy.loseNext(() => undefined);
    const single = await unlucky.commit([put("k", "1", 0)]);
    expect(await meta.get("k")).toMatchObject({ value: bytes("1"), revision: single });

    lossy.loseNext(async () => {
      const current = (await meta.get("k"))!;
      expect(current.value).toEqual(bytes("2"));
      await stored("k", "by another", current.revision);
    });
    const overwritten = await unlucky.commit([put("k", "2", single!), put("l", "2", 0)]);
    expect((await meta.get("l"))?.revision).toBe(overwritten);
    expect(await textAt("k")).toBe("by another");
  });

  test("a commit that never arrived and is overtaken is a conflict", async () => {
    const lossy = withLostAnswers(nc);
    const unlucky = openMeta(lossy.connection);
    const revision = await stored("k", "1");
    lossy.loseNext(async () => void (await stored("k", "by another", revision)), { deliver: false });
    expect(await unlucky.commit([put("k", "2", revision)])).toBeNull();
    expect(await textAt("k")).toBe("by another");
  });

  test("what became of a commit cannot be told any more, and is not guessed", async () => {
    const lossy = withLostAnswers(nc);
    const unlucky = openMeta(lossy.connection);
    const first = await stored("k", "0");
    lossy.loseNext(async () => {
      let { revision } = (await meta.get("k"))!;
      for (let i = 0; i < 9; i++) revision = await stored("k", `later ${i}`, revision);
    });
    await expect(unlucky.commit([put("k", "1", first)])).rejects.toMatchObject({ kind: "unavailable" });
  });

  test("a closed connection is unavailable at once", async () => {
    const other = await connectNats({ servers: server.url, name: "closing" });
    const closed = openMeta(other.control);
    await other.close();
    await expect(closed.commit([put("k", "1", 0)])).rejects.toMatchObject({ kind: "unavailable" });
    await expect(closed.get("k")).rejects.toMatchObject({ kind: "unavailable" });
  });
});

/** A connection on which the answer to the next publish to a key is lost: as after a timeout, which it shortens. */
function withLostAnswers(connection: NatsConnection) {
  let lost: { meanwhile: () => Promise<void> | void; deliver: boolean } | null = null;
  const request: NatsConnection["request"] = async (subject, payload, options) => {
    const isCommit =
      subject.startsWith("$KV.") &&
      !(options?.headers?.has("Nats-Batch-Id") && !options.headers.has("Nats-Batch-Commit"));
    if (lost === null || !isCommit) return await connection.request(subject, payload, options);
    const { meanwhile, deliver } = lost;
    lost = null;
    if (deliver) await connection.request(subject, payload, options);
    await meanwhile();
    const { TimeoutError } = await import("nats");
    throw new TimeoutError();
  };
  return {
    connection: withProperty(connection, "request", request),
    loseNext: (meanwhile: () => Promise<void> | void, options = { deliver: true }) => {
      lost = { meanwhile, ...options };
    },
  };
}

function withProperty<Name extends keyof NatsConnection>(
  connection: NatsConnection,
  name: Name,
  value: NatsConnection[Name],
): NatsConnection {
  return new Proxy(connection, {
    get: (target, property) => {
      if (property === name) return value;
      const found: unknown = Reflect.get(target, property, target);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

test("members of a foreign batch without our marker are delivered together too", async () => {
  const seen = collector();
  await using watch = await meta.watch([""], seen.handler);
  await watch.ready;
  const h = (sequence: number, isLast: boolean) => {
    const result = headers();
    result.set("Nats-Batch-Id", "foreign");
    result.set("Nats-Batch-Sequence", `${sequence}`);
    if (isLast) result.set("Nats-Batch-Commit", "1");
    return result;
  };
  await nc.request(`$KV.${prefix}-meta.f1`, "1", { headers: h(1, false), timeout: 30_000 });
  await nc.request(`$KV.${prefix}-meta.f2`, "1", { headers: h(2, true), timeout: 30_000 });
  await seen.until((calls) => calls.length === 1);
  expect(seen.calls[0]!.map((change) => change.key)).toEqual(["f1", "f2"]);
});
