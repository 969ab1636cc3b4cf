import { beforeEach, describe, expect, it } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import type { AskOptions } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { type SealedPart, SealedReads } from "./sealed-reads.ts";

interface Asked {
  nodeId: string;
  segmentIds: string[];
  isStopped: () => boolean;
  answer: () => void;
  fail: (error: VdbError) => void;
}

const DEADLINE_MS = 10_000;

let clock: ManualClock;
let alive: Set<string>;
let view: Record<string, string[]>;
let manifest: string[];
let listeners: Set<() => void>;
/** Asks that nobody has answered by himself. */
let asked: Asked[];
/** Nodes that answer at once; the others wait for the test. */
let quick: Set<string>;
let total: number;
let reads: SealedReads;

beforeEach(() => {
  clock = new ManualClock();
  alive = new Set(["a", "b", "c"]);
  view = { s1: ["a", "b"], s2: ["a", "b"] };
  manifest = ["s1", "s2"];
  listeners = new Set();
  asked = [];
  quick = new Set();
  total = 0;
  const subscribe = (listener: () => void) => {
    listeners.add(listener);
    return { [Symbol.dispose]: () => listeners.delete(listener) };
  };
  const ctx = {
    clock,
    random: { next: () => 1 },
    nodes: {
      has: (_role: string, nodeId: string) => alive.has(nodeId),
      subscribe: (listener: (role: string) => void) => subscribe(() => listener("query")),
    },
    catalog: {
      cache: { subscribe: (_prefix: string, listener: () => void) => subscribe(listener) },
      view: () => ({ version: 1, segments: view }),
      manifest: () => ({ collectionId: 1, segments: manifest.map((segmentId) => ({ segmentId })) }),
      collection: () => ({ loaded: { replicaNumber: 2 } }),
    },
  };
  reads = new SealedReads(ctx as unknown as ActorContext);
});

function read(segmentIds = ["s1", "s2"]): Promise<SealedPart<string>[]> {
  const ask = (nodeId: string, ids: string[], { signal }: AskOptions): Promise<string> => {
    total++;
    if (quick.has(nodeId)) return Promise.resolve(nodeId);
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(new VdbError("canceled", "given up")));
      asked.push({
        nodeId,
        segmentIds: ids,
        isStopped: () => signal?.aborted === true,
        answer: () => resolve(nodeId),
        fail: reject,
      });
    });
  };
  const call = { deadline: clock.monotonic() + DEADLINE_MS, signal: undefined };
  return reads.read({ kind: "search", vchannel: "v", segmentIds, size: 1, ask }, call);
}

/** Which node answered for each segment: each segment once. */
async function answered(parts: Promise<SealedPart<string>[]>): Promise<Record<string, string>> {
  const pairs = (await parts).flatMap(({ segmentIds, reply }) => segmentIds.map((id) => [id, reply] as const));
  expect(new Set(pairs.map(([id]) => id)).size).toBe(pairs.length);
  return Object.fromEntries(pairs);
}

const change = () => {
  for (const listener of [...listeners]) listener();
};
const gone = () => new VdbError("node_not_found", "nobody serves this");

/** So many reads of one segment that take 10 ms each: what is usual. */
async function measure(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const reading = read(["s1"]);
    await clock.advance(10);
    asked.pop()!.answer();
    await reading;
  }
}

describe("SealedReads", () => {
  it("spreads segments over their replicas, and reads over nodes that wait for least", async () => {
    const first = read();
    expect(asked.map(({ nodeId, segmentIds }) => [nodeId, segmentIds])).toEqual([
      ["a", ["s1"]],
      ["b", ["s2"]],
    ]);
    asked[0]!.answer();
    await clock.settle();
    const second = read(["s1"]);
    expect(asked[2]!.nodeId).toBe("a");
    for (const ask of asked) ask.answer();
    await Promise.all([first, second]);
  });

  it("asks another replica at once when one says that it cannot, and avoids it for a while", async () => {
    quick.add("b");
    const reading = read();
    asked[0]!.fail(gone());
    expect(await answered(reading)).toEqual({ s1: "b", s2: "b" });
    expect(await answered(read())).toEqual({ s1: "b", s2: "b" });
    expect(clock.sleeps).toEqual([]);
    await clock.advance(1_000);
    const again = read();
    expect(asked).toHaveLength(2);
    // One ask tries it; until that is answered the others go elsewhere.
    expect(await answered(read())).toEqual({ s1: "b", s2: "b" });
    asked[1]!.answer();
    expect(await answered(again)).toEqual({ s1: "a", s2: "b" });
  });

  it("splits what a failed node had among several others", async () => {
    view = { s1: ["a", "b"], s2: ["a", "c"] };
    alive = new Set(["a"]);
    quick = new Set(["b", "c"]);
    const reading = read();
    expect(asked.map(({ segmentIds }) => segmentIds)).toEqual([["s1", "s2"]]);
    alive = new Set(["a", "b", "c"]);
    asked[0]!.fail(gone());
    expect(await answered(reading)).toEqual({ s1: "b", s2: "c" });
  });

  it("asks another replica as well when an ask takes much longer than usual; the first answer counts", async () => {
    await measure(64);
    const reading = read(["s1"]);
    const [slow] = asked;
    await clock.advance(24);
    expect(asked).toHaveLength(1);
    await clock.advance(2);
    expect(asked).toHaveLength(2);
    expect(asked[1]!.nodeId).not.toBe(slow!.nodeId);
    asked[1]!.answer();
    expect(await answered(reading)).toEqual({ s1: asked[1]!.nodeId });
    await clock.settle();
    expect(slow!.isStopped()).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it("takes the late answer when it comes before the other's", async () => {
    await measure(64);
    const reading = read(["s1"]);
    await clock.advance(50);
    expect(asked).toHaveLength(2);
    asked[0]!.answer();
    expect(await answered(reading)).toEqual({ s1: asked[0]!.nodeId });
    await clock.settle();
    expect(asked[1]!.isStopped()).toBe(true);
  });

  it("repeats a few per cent of the asks at most while all nodes are slow but answer", async () => {
    await measure(64);
    total = 0;
    const COUNT = 400;
    const readings: Promise<unknown>[] = [];
    // Each takes 200 ms, ten times what was usual; every 5 ms a node answers.
    for (let i = 0; i < COUNT; i++) {
      readings.push(read(["s1"]));
      await clock.advance(5);
      if (i >= 40) asked.shift()!.answer();
    }
    while (asked.length > 0) {
      asked.shift()!.answer();
      await clock.advance(5);
    }
    await Promise.all(readings);
    expect(total).toBeGreaterThan(COUNT);
    expect(total).toBeLessThan(COUNT * 1.1);
  });

  it("leaves a node that answers nothing, however much waits for it", async () => {
    await measure(64);
    // Everything to node a alone, which is frozen.
    alive = new Set(["a"]);
    const readings = Array.from({ length: 100 }, () => read(["s1"]));
    expect(asked.every(({ nodeId }) => nodeId === "a")).toBe(true);
    alive = new Set(["a", "b"]);
    quick.add("b");
    // These may look for others from the beginning.
    readings.push(...Array.from({ length: 100 }, () => read(["s1"])));
    await clock.advance(600);
    const late = readings.slice(100);
    for (const outcome of await Promise.all(late.map(answered))) expect(outcome).toEqual({ s1: "b" });
    for (const { nodeId, isStopped, answer } of asked) if (nodeId === "a" && !isStopped()) answer();
    await Promise.all(readings);
  });

  it("waits for the view to name a live replica, within its deadline, at the one snapshot", async () => {
    view = { s1: ["a"] };
    manifest = ["s1"];
    quick.add("c");
    const reading = read(["s1"]);
    alive.delete("a");
    asked[0]!.fail(gone());
    await clock.advance(3_000);
    view = {};
    change();
    await clock.advance(500);
    view = { s1: ["c"] };
    change();
    await clock.settle();
    await clock.advance(20);
    expect(await answered(reading)).toEqual({ s1: "c" });
  });

  it("fails retriably when no replica comes, and at once when its segment has been replaced", async () => {
    view = { s1: [] as string[] };
    const waiting = read(["s1"]);
    const late = expect(waiting).rejects.toMatchObject({ kind: "collection_not_fully_loaded" });
    await clock.advance(DEADLINE_MS);
    await late;
    expect(clock.pending).toBe(0);

    view = { s1: ["a"], s2: ["a"] };
    const replaced = read(["s1"]);
    manifest = ["s2"];
    view = { s2: ["a"] };
    asked.at(-1)!.fail(new VdbError("segment_not_loaded", "not here"));
    await expect(replaced).rejects.toMatchObject({ kind: "segment_not_loaded", retriable: true });
  });

  it("passes on what another replica would say as well, and stops the rest of the read", async () => {
    const reading = read();
    asked[0]!.fail(new VdbError("invalid_parameter", "no such field"));
    await expect(reading).rejects.toMatchObject({ kind: "invalid_parameter" });
    expect(asked).toHaveLength(2);
    expect(asked[1]!.isStopped()).toBe(true);
  });
});
