/** What becomes of a data node's jobs when those who asked for them are gone. */
import { beforeEach, describe, expect, it } from "vitest";
import type { ActorContext } from "../runtime/actor.ts";
import type { ObjectRef } from "../runtime/blob/port.ts";
import type { Machine } from "../runtime/machine/port.ts";
import type { MetaCache } from "../runtime/meta/cache.ts";
import { createCatalog } from "../runtime/meta/catalog.ts";
import { metaKeys } from "../runtime/protocol/catalog.ts";
import type { BuildIndex, DistributeDeletes } from "../runtime/protocol/data.ts";
import { buildIndex, distributeDeletes } from "../runtime/protocol/data.ts";
import type { FieldSchema } from "../runtime/schema.ts";
import { writeSegmentFile } from "../runtime/segment/arrow-file.ts";
import { keysOf } from "../runtime/segment/keys.ts";
import { ManualClock } from "../runtime/testing/manual-clock.ts";
import { DataActor } from "./datanode.ts";

const KEY: FieldSchema = {
  ...{ fieldId: 100, name: "id", type: "Int64", description: "" },
  ...{ isPrimary: true, nullable: false, isDynamic: false },
};
const VCHANNEL = "1v0";

let actor: DataActor;
let ask: (job: DistributeDeletes) => Promise<{ segments: unknown[] }>;
let build: (job: BuildIndex) => Promise<unknown>;
let machine: Pick<Machine, "buildIndex">;
let docs: Map<string, unknown>;
let reads: string[];
/** Lets the read that waits go on. */
let letGo: () => void;
let change: (key: string, doc: unknown) => void;

beforeEach(async () => {
  const clock = new ManualClock();
  const subscribers = new Set<{ prefix: string; callback: (keys: string[]) => void }>();
  docs = new Map<string, unknown>([
    [metaKeys.epoch, { epoch: 1, nodeId: "c" }],
    [metaKeys.collection(1), { schema: { version: 1, autoId: false, enableDynamicField: false, fields: [KEY] } }],
    [metaKeys.manifest(VCHANNEL), {}],
  ]);
  change = (key, doc) => {
    if (doc === undefined) docs.delete(key);
    else docs.set(key, doc);
    for (const { prefix, callback } of subscribers) if (key.startsWith(prefix)) callback([key]);
  };
  const cache = {
    get: (key: string) => docs.get(key),
    subscribe(prefix: string, callback: (keys: string[]) => void) {
      const subscriber = { prefix, callback };
      subscribers.add(subscriber);
      return { [Symbol.dispose]: () => subscribers.delete(subscriber) };
    },
  };
  const parts: Uint8Array[] = [];
  const chunk = {
    batch: { rowCount: 1, columns: { 100: keysOf("int64", [7n]) } },
    timestamps: BigInt64Array.of(1n),
  };
  for await (const part of writeSegmentFile([KEY], [chunk], clock)) parts.push(part.slice());
  const file = new Uint8Array(Buffer.concat(parts));
  let gate = Promise.resolve();
  letGo = () => undefined;
  reads = [];
  const ctx = {
    nodeId: "d",
    clock,
    catalog: createCatalog(cache as unknown as MetaCache),
    config: { data: { concurrentJobs: 1 } },
    signal: new AbortController().signal,
    random: { ulid: () => "0" },
    blobs: {
      get: async ({ name }: ObjectRef) => {
        reads.push(name);
        gate = new Promise((resolve) => {
          letGo = resolve;
        });
        await gate;
        return file;
      },
    },
    machine: { buildIndex: ((...given) => machine.buildIndex(...given)) satisfies Machine["buildIndex"] },
    serve: (operation: unknown, _: unknown, handler: typeof ask & typeof build) => {
      if (operation === distributeDeletes) ask = handler;
      if (operation === buildIndex) build = handler;
    },
  } as unknown as ActorContext;
  actor = new DataActor(ctx);
  await actor.start();
});

function jobOf(epoch: number, attempt: string): DistributeDeletes {
  const segmentOf = (n: number) => ({
    segmentId: String(n).padStart(26, "0"),
    ...{ partitionId: 1, rowCount: 1, minTs: 1n, maxTs: 1n, indexes: {}, deletesSeq: 0 },
    object: { name: `${attempt}${n}`, bytes: 1, digest: "" },
  });
  return {
    ...{ epoch, attempt, collectionId: 1, vchannel: VCHANNEL, deltas: [], deltaSeq: 9 },
    segments: [segmentOf(1), segmentOf(2), segmentOf(3)],
  };
}

const reading = (name: string) => expect.poll(() => reads.at(-1), { timeout: 10_000, interval: 5 }).toBe(name);

describe("a job", () => {
  it("is given up when another coordinator leads, and the next one takes its place", async () => {
    const first = ask(jobOf(1, "a"));
    const inLine = ask(jobOf(1, "b"));
    const refused = expect(Promise.all([first, inLine])).rejects.toMatchObject({ kind: "canceled" });
    await reading("a1");
    change(metaKeys.epoch, { epoch: 2, nodeId: "c2" });
    const wanted = ask(jobOf(2, "c"));
    letGo();
    await refused;
    await expect(inLine).rejects.toMatchObject({ kind: "canceled" });
    await reading("c1");
    letGo();
    await reading("c2");
    letGo();
    await reading("c3");
    letGo();
    expect((await wanted).segments).toHaveLength(3);
    expect(reads).toEqual(["a1", "c1", "c2", "c3"]);
    expect(actor.observe()).toEqual({ runningJobs: 0, finishedJobs: 3, indexBuilds: {} });
  });

  it("is given up when its shard is dropped, and not when it is changed", async () => {
    const job = ask(jobOf(1, "a"));
    await reading("a1");
    change(metaKeys.manifest(VCHANNEL), {});
    letGo();
    await reading("a2");
    const refused = expect(job).rejects.toMatchObject({ kind: "canceled" });
    change(metaKeys.manifest(VCHANNEL), undefined);
    letGo();
    await refused;
  });
});

it("is not done again for one who has not got the answer", async () => {
  const job = jobOf(1, "a");
  const answer = ask(job);
  for (const name of ["a1", "a2", "a3"]) {
    await reading(name);
    letGo();
  }
  const { segments } = await answer;
  expect(await ask(job)).toMatchObject({ segments });
  expect(reads).toHaveLength(3);
});

it("says how far its index builds are", async () => {
  let finish: () => void = () => undefined;
  machine = {
    async buildIndex(_job, _signal, onProgress) {
      onProgress?.(30);
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return { object: { name: "i", bytes: 1, digest: "" }, seconds: 1, rows: 40 };
    },
  };
  const building = build({
    ...{ epoch: 1, vchannel: VCHANNEL, segmentId: "s", rowCount: 40, object: { name: "a", bytes: 1, digest: "" } },
    ...{ fieldId: 101, dimension: 8, indexId: 5, type: "FLAT", metric: "L2", params: {} },
  });
  await expect.poll(() => actor.observe()).toMatchObject({ indexBuilds: { "s/101": 0.75 } });
  finish();
  await building;
  expect(actor.observe()).toEqual({ runningJobs: 0, finishedJobs: 1, indexBuilds: {} });
});
