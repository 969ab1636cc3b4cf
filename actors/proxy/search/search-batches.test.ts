/** Each search gets exactly its own hits, whatever it travelled with. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Call } from "../../../runtime/bus/bus.ts";
import type { SearchShard } from "../../../runtime/protocol/streaming.ts";
import type { SearchHits, VectorSearch } from "../../../runtime/protocol/values.ts";
import { keyAt } from "../../../runtime/segment/keys.ts";
import { Stop } from "../../../runtime/stop.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { SearchBatches } from "./search-batches.ts";

const SEGMENT = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const CALL: Call = { deadline: 1_000, signal: undefined };

/** Queries of two dimensions; each finds as many hits as its first number says, with keys 100 x that + 0, 1, ... */
function request(counts: number[], more: Partial<SearchShard> = {}): SearchShard {
  const queries = Float32Array.from(counts.flatMap((count) => [count, 0]));
  const search: VectorSearch = { fieldId: 2, metric: "L2", queries, queryCount: counts.length, topK: 9 };
  return {
    collectionId: 1,
    vchannel: "1v0",
    freshness: { level: "bounded" },
    partitionIds: null,
    filter: null,
    search,
    ...more,
  };
}

function answer({ queries, queryCount }: VectorSearch, keyKind: "int64" | "varchar" = "int64"): SearchHits {
  const counts = Uint32Array.from({ length: queryCount }, (_, query) => queries[query * 2]!);
  const keys = [...counts].flatMap((count) => Array.from({ length: count }, (_, i) => 100 * count + i));
  const bytes = Buffer.from(keys.join(""));
  const ends = keys.map((_, i) => keys.slice(0, i + 1).join("").length);
  return {
    counts,
    keys:
      keyKind === "int64"
        ? { kind: "int64", values: BigInt64Array.from(keys, BigInt) }
        : { kind: "varchar", offsets: Uint32Array.of(0, ...ends), bytes },
    distances: Float32Array.from(keys),
    refs: { segments: [SEGMENT], segment: new Uint32Array(keys.length), row: Uint32Array.from(keys) },
  };
}

const keysOf = ({ keys, distances }: SearchHits) => Array.from(distances, (_, i) => Number(keyAt(keys, i)));
const expected = (counts: number[]) =>
  counts.flatMap((count) => Array.from({ length: count }, (_, i) => 100 * count + i));

interface Sent {
  search: VectorSearch;
  call: Call;
  finish: (keyKind?: "int64" | "varchar") => void;
  fail: (error: Error) => void;
}

let clock: ManualClock;
let batches: SearchBatches;
let sent: Sent[];
beforeEach(() => {
  clock = new ManualClock();
  batches = new SearchBatches(clock);
  sent = [];
});
const ask = (shard: SearchShard, call: Call = CALL, isFar = false): Promise<SearchHits> =>
  batches.search(
    shard,
    call,
    isFar,
    (search, batchCall) =>
      new Promise((resolve, reject) => {
        const finish = (kind?: "int64" | "varchar") => resolve(answer(search, kind));
        sent.push({ search, call: batchCall, finish, fail: reject });
      }),
  );
/** Answers everything, also what is sent in consequence. */
async function finishAll(kind?: "int64" | "varchar"): Promise<void> {
  for (let done = 0; done < sent.length; ) {
    while (done < sent.length) sent[done++]!.finish(kind);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe.each(["int64", "varchar"] as const)("with keys of %s", (kind) => {
  test("what comes while enough is under way goes as one, and everybody gets its own", async () => {
    const searches = [[3], [0], [1, 2], [4], [0], [5, 0, 1]];
    const answers = searches.map((counts) => ask(request(counts)));
    await clock.settle();
    expect(sent).toHaveLength(2);
    await finishAll(kind);
    expect(sent.map(({ search }) => search.queryCount)).toEqual([1, 4, 4]);
    for (const [i, hits] of (await Promise.all(answers)).entries()) {
      expect([...hits.counts]).toEqual(searches[i]);
      expect(keysOf(hits)).toEqual(expected(searches[i]!));
      expect([...hits.refs.row]).toEqual(expected(searches[i]!));
    }
  });
});

test("to another process one batch goes at a time, until two are worth it", async () => {
  const askFar = () => ask(request([1]), CALL, true);
  const few = Array.from({ length: 9 }, askFar);
  await clock.settle();
  expect(sent.map(({ search }) => search.queryCount)).toEqual([1]);
  sent[0]!.finish();
  await clock.advance(1);
  expect(sent.map(({ search }) => search.queryCount)).toEqual([1, 8]);
  const many = Array.from({ length: 31 }, askFar);
  await clock.settle();
  // 39 in equal parts, one of which is the batch of 8 that is under way.
  expect(sent.map(({ search }) => search.queryCount)).toEqual([1, 8, 20]);
  await finishAll();
  for (const hits of await Promise.all([...few, ...many])) expect(keysOf(hits)).toEqual(expected([1]));
});

describe("to another process", () => {
  const askFar = () => ask(request([1]), CALL, true);

  /** A batch of one, which took 8 ms, and two more that wait. */
  async function oneAnswered(): Promise<Promise<SearchHits>[]> {
    const answers = [askFar(), askFar(), askFar()];
    await clock.advance(8);
    expect(sizes()).toEqual([1]);
    sent[0]!.finish();
    await answers[0];
    await clock.settle();
    return answers;
  }

  test("who was answered and asks again travels with those who waited", async () => {
    const answers = await oneAnswered();
    expect(sizes()).toEqual([1]);
    answers.push(askFar());
    await clock.settle();
    expect(sizes()).toEqual([1, 3]);
    await clock.advance(8);
    sent[1]!.finish();
    await Promise.all(answers);
    // Nobody waits now; the first of the three to be back waits for the others.
    const next = [askFar(), askFar()];
    await clock.settle();
    expect(sizes()).toEqual([1, 3]);
    next.push(askFar());
    await clock.settle();
    expect(sizes()).toEqual([1, 3, 3]);
    await finishAll();
    await Promise.all(next);
    await clock.advance(5);
    expect(clock.pending).toBe(0);
  });

  test("they wait for half of the time that the batch took, and the next time not at all", async () => {
    const answers = await oneAnswered();
    await clock.advance(3);
    expect(sizes()).toEqual([1]);
    await clock.advance(1);
    expect(sizes()).toEqual([1, 2]);
    answers.push(askFar());
    await clock.advance(8);
    sent[1]!.finish();
    await clock.settle();
    expect(sizes()).toEqual([1, 2, 1]);
    await finishAll();
    await Promise.all(answers);
    await clock.advance(5);
    expect(clock.pending).toBe(0);
  });

  test("one client by itself never waits", async () => {
    for (let searches = 1; searches <= 3; searches++) {
      const answered = askFar();
      expect(sent).toHaveLength(searches);
      await clock.advance(8);
      sent.at(-1)!.finish();
      await answered;
    }
  });
});

test("searches that differ in anything but their vectors never share a batch", async () => {
  const filter = { fields: [] } as unknown as NonNullable<SearchShard["filter"]>;
  const kinds: Partial<SearchShard>[] = [
    {},
    { vchannel: "1v1" },
    { freshness: { level: "strong" } },
    { freshness: { level: "session", ts: 7n } },
    { freshness: { level: "session", ts: 8n } },
    { partitionIds: [1] },
    { partitionIds: [1, 2] },
    { filter },
    { filter: { ...filter } },
    { search: { ...request([1]).search, topK: 8 } },
    { search: { ...request([1]).search, ef: 64 } },
    { search: { ...request([1]).search, nprobe: 64 } },
    { search: { ...request([1]).search, fieldId: 3 } },
  ];
  const answers = [0, 1, 2].flatMap(() => kinds.map((kind) => ask(request([1], kind))));
  await clock.settle();
  expect(sent).toHaveLength(2 * kinds.length);
  await finishAll();
  expect(sent).toHaveLength(2 * kinds.length);
  await Promise.all(answers);
});

/** Two that nobody has answered yet, so that others wait. */
async function twoUnderWay(): Promise<Promise<SearchHits>[]> {
  const answers = [ask(request([1])), ask(request([1]))];
  await clock.settle();
  return answers;
}

const sizes = () => sent.map(({ search }) => search.queryCount);

test("a batch takes 64 vectors; a search of many goes by itself, at once", async () => {
  const several = Array.from({ length: 10 }, () => Array(16).fill(1));
  const answers = [[1], [1], ...several].map((counts) => ask(request(counts)));
  answers.push(ask(request(Array(17).fill(0))));
  expect(sizes()).toEqual([1, 17]);
  await finishAll();
  expect(sizes()).toEqual([1, 17, 49, 64, 48]);
  await Promise.all(answers);
});

test("a batch brings no more hits than can be reduced at once", async () => {
  const many = { search: { ...request([1]).search, topK: 16_384 } };
  const answers = Array.from({ length: 10 }, () => ask(request([1], many)));
  await finishAll();
  expect(sizes()).toEqual([1, 4, 4, 1]);
  await Promise.all(answers);
});

test("batches that are not answered hold up nobody for long", async () => {
  const lost = await twoUnderWay();
  const late = ask(request([2]), { deadline: 100, signal: undefined }).catch((error: unknown) => error);
  const others = [ask(request([3])), ask(request([4]))];
  await clock.advance(499);
  expect(sent).toHaveLength(2);
  await clock.advance(1);
  expect(await late).toMatchObject({ kind: "deadline_exceeded" });
  for (const each of sent.slice(2)) each.finish();
  expect((await Promise.all(others)).map(keysOf)).toEqual([expected([3]), expected([4])]);
  // Answered after all; and each is counted once.
  for (const each of sent.slice(0, 2)) each.finish();
  await Promise.all(lost);
  const before = sent.length;
  const next = [1, 1, 1].map((count) => ask(request([count])));
  await clock.settle();
  expect(sent).toHaveLength(before + 2);
  await finishAll();
  await Promise.all(next);
  expect(clock.pending).toBe(0);
});

test("a batch waits as long as its most patient member, and is not given up for one of them", async () => {
  const answers = await twoUnderWay();
  answers.push(ask(request([1]), { deadline: 5, signal: new Stop() }));
  answers.push(ask(request([1]), { deadline: 9, signal: undefined }));
  sent[0]!.finish();
  await clock.settle();
  expect(sent[2]!.call).toEqual({ deadline: 9, signal: undefined });
  await finishAll();
  await Promise.all(answers);
});

test("a member that gave up before it was sent ends, and is not sent", async () => {
  const stop = new Stop();
  const answers = await twoUnderWay();
  const givenUp = ask(request([2]), { deadline: 5, signal: stop }).catch((error: unknown) => error);
  const other = ask(request([3]));
  stop.abort();
  await finishAll();
  expect(await givenUp).toMatchObject({ kind: "canceled" });
  expect(keysOf(await other)).toEqual(expected([3]));
  expect(sent.map(({ search }) => search.queryCount)).toEqual([1, 1, 1]);
  await Promise.all(answers);
});

test("a batch that fails fails its members alone; what comes later is sent", async () => {
  const first = await twoUnderWay();
  const members = [ask(request([2])), ask(request([3]))].map((answered) => answered.catch((error: Error) => error));
  sent[0]!.finish();
  await clock.settle();
  const later = ask(request([4]));
  sent[2]!.fail(new Error("lost"));
  expect(await Promise.all(members)).toEqual([new Error("lost"), new Error("lost")]);
  await finishAll();
  expect(keysOf(await later)).toEqual(expected([4]));
  await first[1];
});
