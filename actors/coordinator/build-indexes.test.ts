/** Which index jobs are given out, against a data node that answers as the test says. */
import { expect, it } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { type ManifestDoc, metaKeys } from "../../runtime/protocol/catalog.ts";
import type { BuildIndex } from "../../runtime/protocol/data.ts";
import { catalogOfDocs } from "../../runtime/testing/catalog-of-docs.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { IndexBuilder } from "./build-indexes.ts";
import type { Leadership } from "./leadership.ts";
import type { Hopeless } from "./place-staged.ts";

const SPARSE_INDEX = { indexId: 8, name: "sparse", fieldId: 102, type: "AUTOINDEX", metric: "IP" as const, params: {} };
const SCHEMA = {
  fields: [
    { fieldId: 101, name: "vector", type: "FloatVector", dimension: 8 },
    { fieldId: 102, name: "sparse", type: "SparseFloatVector" },
  ],
};
const INDEX = { indexId: 7, name: "vector", fieldId: 101, type: "HNSW", metric: "L2" as const, params: {} };
const OBJECT = { name: "o", bytes: 100, digest: "" };

function segmentOf(id: string, rowCount = 100) {
  const segmentId = id.padStart(26, "0");
  return { segmentId, partitionId: 1, rowCount, minTs: 1n, maxTs: 2n, object: OBJECT, indexes: {}, deletesSeq: 0 };
}

function manifestOf(collectionId: number, segments: ManifestDoc["segments"]): ManifestDoc {
  const vchannel = `${collectionId}v0`;
  return {
    ...{ collectionId, vchannel, pchannel: 0, segments, staged: [] },
    ...{ flushed: {}, flushedSeq: 0, deltaSeq: 9, deltas: [] },
  };
}

function world(manifests: ManifestDoc[]) {
  const { docs, catalog, apply } = catalogOfDocs();
  for (const manifest of manifests) {
    const { collectionId, vchannel } = manifest;
    const collection = { collectionId, name: "c", shards: [{ vchannel, pchannel: 0 }], indexes: [INDEX, SPARSE_INDEX] };
    docs.set(metaKeys.collection(collectionId), { ...collection, schema: SCHEMA });
    docs.set(metaKeys.manifest(vchannel), manifest);
  }
  const clock = new ManualClock();
  const asked: { job: BuildIndex; done: () => void; fail: (error: VdbError) => void }[] = [];
  const ctx = {
    catalog,
    clock,
    config: { coordinator: { indexRowsMin: 50 }, data: { concurrentJobs: 1 } },
    nodes: {
      ofRole: () => [{ nodeId: "d", isDraining: false }],
      has: () => true,
      subscribe: () => ({ [Symbol.dispose]: () => undefined }),
    },
    bus: {
      ask: (_: unknown, __: unknown, job: BuildIndex) =>
        new Promise((resolve, reject) => {
          const index = { indexId: 7, object: OBJECT, type: "HNSW", metric: "L2", params: {} };
          asked.push({ job, done: () => resolve({ index, seconds: 0 }), fail: reject });
        }),
    },
    logger: { info: () => undefined, warn: () => undefined },
  } as unknown as ActorContext;
  const leadership: Leadership = {
    epoch: 1,
    signal: new AbortController().signal,
    commit: async (ops: MetaOp[]) => {
      apply(ops);
      return true;
    },
  };
  const givenUp: Hopeless[] = [];
  const giveUp = async (_: string, hopeless: Hopeless) => givenUp.push(hopeless) > 0;
  const builder = new IndexBuilder(ctx, leadership, { giveUp }, () => undefined);
  /** The shards of the jobs that a step gives out. */
  const step = async () => {
    const before = asked.length;
    await builder.step();
    return asked.slice(before).map(({ job }) => job.vchannel);
  };
  const end = async (n: number) => {
    asked[n]!.done();
    await clock.settle();
  };
  const fail = async (n: number, error: VdbError) => {
    asked[n]!.fail(error);
    await clock.settle();
  };
  return { docs, asked, step, end, fail, givenUp, clock };
}

it("gives a node what it runs and one ahead, and every collection its turn", async () => {
  const many = Array.from({ length: 6 }, (_, n) => segmentOf(`1-${n}`));
  const { docs, step, end } = world([manifestOf(1, many), manifestOf(2, [segmentOf("2-0"), segmentOf("2-1", 49)])]);
  expect(await step()).toEqual(["1v0", "1v0"]);
  expect(await step()).toEqual([]);
  await end(0);
  expect(await step()).toEqual(["2v0"]);
  await end(1);
  expect(await step()).toEqual(["1v0"]);
  for (let n = 2; n < 7; n++) {
    await end(n);
    await step();
  }
  const lacking = (vchannel: string) =>
    (docs.get(metaKeys.manifest(vchannel)) as ManifestDoc).segments.filter(
      ({ indexes }) => indexes["101"] === undefined,
    );
  expect(lacking("1v0")).toEqual([]);
  // Too small for one.
  expect(lacking("2v0")).toEqual([segmentOf("2-1", 49)]);
  expect(await step()).toEqual([]);
});

it("looks again at a shard that lacked nothing when its manifest or its collection has changed", async () => {
  const { docs, step, end } = world([manifestOf(1, [])]);
  expect(await step()).toEqual([]);
  docs.set(metaKeys.manifest("1v0"), manifestOf(1, [segmentOf("1-0")]));
  expect(await step()).toEqual(["1v0"]);
  await end(0);
  expect(await step()).toEqual([]);
  const collection = docs.get(metaKeys.collection(1)) as object;
  docs.set(metaKeys.collection(1), { ...collection, indexes: [{ ...INDEX, indexId: 8 }] });
  expect(await step()).toEqual(["1v0"]);
});

it("gives what lost its node to another at once, and after a rest when that is lost too: it may be the cause", async () => {
  const { step, fail, clock } = world([manifestOf(1, [segmentOf("1-0")])]);
  const lost = new VdbError("node_not_found", "data node d is gone");
  expect(await step()).toEqual(["1v0"]);
  await fail(0, lost);
  expect(await step()).toEqual(["1v0"]);
  await fail(1, lost);
  expect(await step()).toEqual([]);
  await clock.advance(60_000);
  expect(await step()).toEqual(["1v0"]);
});

it("gives up what compaction staged when no index of it can be built, and not for what passes by itself", async () => {
  const entry = { replaces: [segmentOf("1-0").segmentId], segments: [segmentOf("1-1")] };
  const { step, fail, givenUp, clock } = world([{ ...manifestOf(1, [segmentOf("1-0")]), staged: [entry] }]);
  const failing = async (n: number, kind: "unavailable" | "internal" | "node_not_found") => {
    expect(await step()).toEqual(["1v0"]);
    await fail(n, new VdbError(kind, "the process that built it was killed"));
    await clock.advance(60_000);
  };
  for (let n = 0; n < 10; n++) await failing(n, "unavailable");
  for (let n = 10; n < 12; n++) await failing(n, "internal");
  // The first loss of a node says nothing of the job.
  for (let n = 12; n < 15; n++) await failing(n, "node_not_found");
  expect(givenUp).toEqual([]);
  await failing(15, "node_not_found");
  expect(givenUp).toEqual([{ entry, reason: expect.stringContaining("the process that built it was killed") }]);
});
