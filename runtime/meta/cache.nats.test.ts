import { type NatsConnection, nuid } from "nats";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { VdbError } from "../errors.ts";
import { connectNats, type NatsConnections } from "../nats/connect.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import { startTestNats, TEST_REPLICAS, type TestNats } from "../testing/nats-server.ts";
import { type MetaCache, type MetaCacheOptions, startMetaCache } from "./cache.ts";
import { createNatsMeta, type NatsMeta } from "./nats-meta.ts";

let server: TestNats;
let connections: NatsConnections;
let nc: NatsConnection;
let meta: NatsMeta;

beforeAll(async () => {
  server = await startTestNats();
  connections = await connectNats({ servers: server.url, name: "cache-test" });
  nc = connections.control;
});

afterAll(async () => {
  await connections.close();
  await server[Symbol.asyncDispose]();
});

beforeEach(async () => {
  meta = createNatsMeta(nc, { prefix: `t${nuid.next()}`, clock: systemClock, random: systemRandom });
  await meta.ensure({ replicas: TEST_REPLICAS });
});

const put = (key: string, value: unknown, revision = 0) =>
  ({ op: "put", key, value: new TextEncoder().encode(JSON.stringify(value)), revision }) as const;

function start(options: Partial<MetaCacheOptions> = {}): Promise<MetaCache> {
  return startMetaCache({
    meta,
    prefixes: ["coll.", "epoch"],
    decode: (_key, bytes) => JSON.parse(new TextDecoder().decode(bytes)) as unknown,
    onCorrupt: (error) => {
      throw error;
    },
    clock: systemClock,
    signal: new AbortController().signal,
    ...options,
  });
}

const soon = (): number => systemClock.monotonic() + 60_000;

test("the cache holds what is there when it starts, of its prefixes alone", async () => {
  await meta.commit([put("coll.a", 1), put("coll.b", 2), put("other.c", 3), put("epoch", 4), put("epochs", 5)]);
  const a = (await meta.get("coll.a"))!.revision;
  await meta.commit([{ op: "delete", key: "coll.b", revision: a + 1 }]);
  await using cache = await start();
  expect(cache.get("coll.a")).toBe(1);
  expect(cache.revisionOf("coll.a")).toBe(a);
  expect([cache.get("coll.b"), cache.get("other.c"), cache.get("epochs")]).toEqual([undefined, undefined, undefined]);
  expect([...cache.entries("coll.")]).toEqual([["coll.a", 1, a]]);
  expect(cache.get("epoch")).toBe(4);
  expect(cache.revision).toBe(await meta.lastRevision());
});

test("waiting for a revision of one's own commit makes it readable, also for keys that the cache does not keep", async () => {
  await using cache = await start();
  for (let i = 0; i < 20; i++) {
    const revision = (await meta.commit([put(`coll.${i}`, i), put(`unrelated.${i}`, i)]))!;
    await cache.waitFor(revision, soon());
    expect(cache.get(`coll.${i}`)).toBe(i);
  }
  const unrelated = (await meta.commit([put("unrelated", 1)]))!;
  await cache.waitFor(unrelated, soon());
  expect(cache.revision).toBe(unrelated);
});

test("sync catches up with what others have committed", async () => {
  await using cache = await start();
  expect(await cache.sync(soon())).toBe(0);
  await meta.commit([put("coll.a", 1), put("x", 1)]);
  expect(await cache.sync(soon())).toBe(await meta.lastRevision());
  expect(cache.get("coll.a")).toBe(1);
});

test("waiting for a revision that does not come ends with the deadline", async () => {
  await using cache = await start();
  await expect(cache.waitFor(1_000, systemClock.monotonic() + 50)).rejects.toMatchObject({ kind: "deadline_exceeded" });
});

test("subscribers are called once a commit, after all of it is in, with the keys of their prefix", async () => {
  await using cache = await start();
  const calls: { keys: string[]; values: unknown[] }[] = [];
  const subscription = cache.subscribe("coll.", (keys) => {
    calls.push({ keys, values: [cache.get("coll.a"), cache.get("coll.b"), cache.get("epoch")] });
  });
  const revision = (await meta.commit([put("coll.a", 1), put("coll.b", 2), put("epoch", 3)]))!;
  await cache.waitFor(revision, soon());
  const deleted = (await meta.commit([{ op: "delete", key: "coll.a", revision: revision - 2 }]))!;
  await cache.waitFor(deleted, soon());
  await cache.waitFor((await meta.commit([put("epoch", 4, revision)]))!, soon());
  subscription[Symbol.dispose]();
  await cache.waitFor((await meta.commit([put("coll.c", 1)]))!, soon());
  expect(calls).toEqual([
    { keys: ["coll.a", "coll.b"], values: [1, 2, 3] },
    { keys: ["coll.a"], values: [undefined, 2, 3] },
  ]);
});

test("a value that does not decode is reported as corrupt; the old one stays, and the rest goes on", async () => {
  const corrupt: VdbError[] = [];
  await using cache = await start({
    decode: (key, bytes) => {
      if (bytes[0] === 0) throw new Error("bad magic");
      return `${key}=${new TextDecoder().decode(bytes)}`;
    },
    onCorrupt: (error) => corrupt.push(error),
  });
  const revision = (await meta.commit([put("coll.a", 1)]))!;
  await meta.commit([{ op: "put", key: "coll.a", value: new Uint8Array([0]), revision }, put("coll.b", 2)]);
  await cache.sync(soon());
  expect([cache.get("coll.a"), cache.get("coll.b")]).toEqual(["coll.a=1", "coll.b=2"]);
  expect(cache.revisionOf("coll.a")).toBe(revision);
  expect(corrupt.map((error) => [error.kind, error.details?.key])).toEqual([["corrupt", "coll.a"]]);
});

test("a cache that is closed lets its waiters go", async () => {
  const stop = new AbortController();
  const cache = await start({ signal: stop.signal });
  const waiting = cache.waitFor(1_000, soon());
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ kind: "canceled" });
  await expect(cache.waitFor(1_000, soon())).rejects.toMatchObject({ kind: "canceled" });
});

test("a cache whose connection is closed for good says so", async () => {
  const other = await connectNats({ servers: server.url, name: "closing" });
  const prefix = `t${nuid.next()}`;
  const theirs = createNatsMeta(other.control, { prefix, clock: systemClock, random: systemRandom });
  await theirs.ensure({ replicas: TEST_REPLICAS });
  await using cache = await start({ meta: theirs });
  const waiting = cache.waitFor(1_000, soon());
  waiting.catch(() => undefined);
  await other.close();
  await expect(cache.failed).rejects.toBeDefined();
  await expect(waiting).rejects.toMatchObject({ kind: "unavailable" });
});

test("every cache agrees with the store after writers, restarts of the server and batches", async () => {
  await using early = await start();
  const expected = new Map<string, number>();
  const revisions = new Map<string, number>();
  for (let i = 0; i < 150; i++) {
    const keys = [`coll.${i % 7}`, `coll.${7 + (i % 11)}`];
    if (i === 50 || i === 100) await server.restart();
    const revision = (await meta.commit(keys.map((key) => put(key, i, revisions.get(key) ?? 0))))!;
    keys.forEach((key, at) => {
      expected.set(key, i);
      revisions.set(key, revision - (keys.length - 1 - at));
    });
  }
  await using late = await start();
  await early.sync(soon());
  for (const cache of [early, late]) {
    expect(new Map([...cache.entries("coll.")].map(([key, value]) => [key, value]))).toEqual(expected);
    for (const [key, revision] of revisions) expect(cache.revisionOf(key)).toBe(revision);
  }
});
