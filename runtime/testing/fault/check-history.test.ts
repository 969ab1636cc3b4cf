/** The checker against histories with one planted wrong in each, and against those of a database that does nothing wrong. */
import { expect, test } from "vitest";
import { isVdbError } from "../../errors.ts";
import { seededNumbers } from "../vectors.ts";
import { checkHistory } from "./check-history.ts";
import {
  type CountOperation,
  type DeleteOperation,
  emptyHistory,
  type History,
  type Level,
  type Observation,
  type Operation,
  type Outcome,
  type PutOperation,
  type ReadOperation,
  type StaticRead,
} from "./history.ts";
import { createModelDatabase, type Flaw, modelShardOf } from "./model-database.ts";
import { createVirtualClock } from "./virtual-clock.ts";
import { prepareCollection, startWorkload } from "./workload.ts";

type Span = [number, number];

interface PutFacts {
  client?: number;
  outcome?: Outcome;
  timestamp?: bigint;
}

function put(
  kind: "insert" | "upsert",
  [start, end]: Span,
  rows: Record<number, number>,
  facts: PutFacts = {},
): PutOperation {
  const list = Object.entries(rows).map(([key, version]) => ({ key: Number(key), version }));
  return { kind, client: 1, start, end, outcome: "ok", rows: list, ...facts };
}

function remove([start, end]: Span, keys: number[], facts: PutFacts & { isFiltered?: boolean } = {}): DeleteOperation {
  return { kind: "delete", client: 1, start, end, outcome: "ok", keys, isFiltered: false, ...facts };
}

function read(
  [start, end]: Span,
  found: Record<number, number | null>,
  facts: { level?: Level; client?: number } = {},
): ReadOperation {
  const entries = Object.entries(found).map(([key, version]) => ({ key: Number(key), version }));
  return {
    kind: "get",
    client: 2,
    level: "Strong",
    start,
    end,
    outcome: "ok",
    asked: entries.map(({ key }) => key),
    found: entries.filter((row): row is { key: number; version: number } => row.version !== null),
    ...facts,
  };
}

/** The kinds of what is found wrong, each once. */
function kindsOf(operations: Operation[], observations: Observation[] = []): string[] {
  const history: History = { ...emptyHistory(), operations, observations };
  const violations = checkHistory(history, { shardOf: modelShardOf });
  return [...new Set(violations.map(({ kind }) => kind))].sort((a, b) => (a < b ? -1 : 1));
}

test("a row that was acknowledged and never deleted is missing", () => {
  expect(kindsOf([put("insert", [0, 10], { 2: 1 }), read([20, 30], { 2: null })])).toEqual(["lost"]);
  expect(kindsOf([put("insert", [0, 10], { 2: 1 }), read([5, 30], { 2: null })])).toEqual([]);
});

test("a row that somebody has read is missing afterwards, though its write was never acknowledged", () => {
  const insert = put("insert", [0, 10], { 2: 1 }, { outcome: "info" });
  expect(kindsOf([insert, read([20, 30], { 2: 1 }), read([40, 50], { 2: null })])).toEqual(["lost"]);
  expect(kindsOf([insert, read([20, 30], { 2: null }), read([40, 50], { 2: 1 })])).toEqual([]);
});

test("a delete of unknown outcome explains a missing row, one that was refused does not", () => {
  const insert = put("insert", [0, 10], { 2: 1 });
  const missing = read([40, 50], { 2: null });
  expect(kindsOf([insert, remove([20, 30], [2], { outcome: "info" }), missing])).toEqual([]);
  expect(kindsOf([insert, remove([20, 30], [2], { outcome: "fail" }), missing])).toEqual(["lost"]);
  // Nor does one that came before.
  expect(kindsOf([remove([-20, -10], [2]), insert, missing])).toEqual(["lost"]);
});

test("a deleted row comes back", () => {
  const history = [put("insert", [0, 10], { 2: 1 }), remove([20, 30], [2])];
  expect(kindsOf([...history, read([40, 50], { 2: 1 })])).toEqual(["disorder", "resurrected"]);
  expect(kindsOf([...history, read([25, 50], { 2: 1 })])).toEqual([]);
  const filtered = remove([20, 30], [2, 4], { isFiltered: true });
  expect(kindsOf([history[0]!, filtered, read([40, 50], { 2: 1 })])).toEqual(["disorder", "resurrected"]);
});

test("a version that was overwritten is read", () => {
  const history = [put("insert", [0, 10], { 2: 1 }), put("upsert", [20, 30], { 2: 2 })];
  expect(kindsOf([...history, read([40, 50], { 2: 1 })])).toEqual(["disorder", "stale"]);
  // Of two that ran at the same time either may be the last.
  const together = [put("upsert", [0, 30], { 2: 1 }), put("upsert", [20, 40], { 2: 2 })];
  expect(kindsOf([...together, read([50, 60], { 2: 1 })])).toEqual([]);
  expect(kindsOf([...together, read([50, 60], { 2: 2 })])).toEqual([]);
});

test("Strong reads see two versions in turns", () => {
  const together = [put("upsert", [0, 30], { 2: 1 }), put("upsert", [0, 30], { 2: 2 })];
  const reads = [read([40, 50], { 2: 1 }), read([60, 70], { 2: 2 }), read([80, 90], { 2: 1 })];
  expect(kindsOf([...together, ...reads])).toEqual(["disorder"]);
  expect(kindsOf([...together, ...reads.slice(0, 1), reads[2]!])).toEqual([]);
});

test("a row is there, gone, and there again to Strong reads, without a delete that can be why", () => {
  const insert = put("insert", [0, 100], { 2: 1 }, { outcome: "info" });
  const reads = [read([20, 30], { 2: 1 }), read([40, 50], { 2: null }), read([60, 70], { 2: 1 })];
  expect(kindsOf([insert, ...reads])).toEqual(["disorder", "lost"]);
  const deleted = remove([35, 200], [2], { outcome: "info" });
  expect(kindsOf([insert, deleted, ...reads])).toEqual(["disorder"]);
});

test("Session reads see the client's own writes, and need not see others'", () => {
  const insert = put("insert", [0, 10], { 2: 1 }, { client: 7 });
  expect(kindsOf([insert, read([20, 30], { 2: null }, { level: "Session", client: 7 })])).toEqual(["lost"]);
  expect(kindsOf([insert, read([20, 30], { 2: null }, { level: "Session", client: 8 })])).toEqual([]);
});

test("Bounded reads see what was acknowledged five seconds before", () => {
  const insert = put("insert", [0, 10], { 2: 1 });
  expect(kindsOf([insert, read([5_011, 5_020], { 2: null }, { level: "Bounded" })])).toEqual(["lost"]);
  expect(kindsOf([insert, read([5_005, 5_020], { 2: null }, { level: "Bounded" })])).toEqual([]);
  expect(kindsOf([insert, read([9_000, 9_020], { 2: null }, { level: "Eventually" })])).toEqual([]);
});

test("a read returns what nobody wrote, or what was refused", () => {
  expect(kindsOf([read([0, 10], { 2: 1 })])).toEqual(["unwritten"]);
  expect(kindsOf([put("insert", [0, 10], { 2: 1 }, { outcome: "fail" }), read([20, 30], { 2: 1 })])).toEqual([
    "unwritten",
  ]);
  expect(kindsOf([put("insert", [50, 60], { 2: 1 }), read([20, 30], { 2: 1 })])).toEqual(["unwritten"]);
});

test("a request of unknown outcome shows half of its part of a shard", () => {
  const insert = put("insert", [0, 10], { 2: 1, 4: 2, 3: 3 }, { outcome: "info" });
  expect(kindsOf([insert, read([20, 30], { 2: 1, 4: null, 3: 3 })])).toEqual(["torn"]);
  // Another shard's part is another matter.
  expect(kindsOf([insert, read([20, 30], { 2: 1, 4: 2, 3: null })])).toEqual([]);
  expect(kindsOf([insert, remove([12, 15], [4], { outcome: "info" }), read([20, 30], { 2: 1, 4: null })])).toEqual([]);
});

test("an upsert shows beside a row that it replaced", () => {
  const before = put("insert", [0, 10], { 2: 1, 4: 2 });
  const after = put("upsert", [20, 90], { 2: 3, 4: 4 });
  expect(kindsOf([before, after, read([30, 40], { 2: 3, 4: 2 })])).toEqual(["torn"]);
  expect(kindsOf([before, after, read([30, 40], { 2: 1, 4: 2 })])).toEqual([]);
});

test("a delete of unknown outcome took half of its keys of a shard", () => {
  const history = [put("insert", [0, 10], { 2: 1, 4: 2 }), remove([20, 30], [2, 4], { outcome: "info" })];
  expect(kindsOf([...history, read([40, 50], { 2: null, 4: 2 })])).toEqual(["torn"]);
  expect(kindsOf([...history, read([40, 50], { 2: null, 4: null })])).toEqual([]);
});

test("a key is in an answer twice, or counted twice", () => {
  const insert = put("insert", [0, 10], { 2: 1 });
  const twice = read([20, 30], { 2: 1 });
  expect(kindsOf([insert, { ...twice, found: [...twice.found, ...twice.found] }])).toEqual(["duplicate"]);
  const count: CountOperation = {
    kind: "count",
    client: 1,
    start: 40,
    end: 50,
    outcome: "ok",
    count: 2,
    distinctKeys: 1,
  };
  expect(kindsOf([insert, count])).toEqual(["duplicate"]);
  expect(kindsOf([insert, { ...count, count: 1 }])).toEqual([]);
});

test("a question with one right answer is answered wrong", () => {
  const right: StaticRead = {
    kind: "static",
    client: 1,
    level: "Eventually",
    start: 0,
    end: 10,
    outcome: "ok",
    what: "all rows",
  };
  expect(kindsOf([right])).toEqual([]);
  expect(kindsOf([{ ...right, problem: "3 hits instead of 4" }])).toEqual(["static"]);
});

test("a write gets a timestamp below that of one that was answered before it began", () => {
  const first = put("insert", [0, 10], { 2: 1 }, { timestamp: 100n });
  expect(kindsOf([first, put("insert", [20, 30], { 3: 2 }, { timestamp: 100n, client: 2 })])).toEqual(["timestamp"]);
  expect(kindsOf([first, put("insert", [5, 30], { 3: 2 }, { timestamp: 99n, client: 2 })])).toEqual([]);
});

test("two nodes act in one term of a channel, or in one epoch", () => {
  const owner: Observation = { kind: "owner", pchannel: 1, term: 4, nodeId: "a" };
  expect(kindsOf([], [owner, { ...owner, nodeId: "b" }])).toEqual(["two_owners"]);
  expect(kindsOf([], [owner, owner, { ...owner, term: 5, nodeId: "b" }])).toEqual([]);
  const leader: Observation = { kind: "leader", epoch: 4, nodeId: "a" };
  expect(kindsOf([], [leader, { ...leader, nodeId: "b" }])).toEqual(["two_leaders"]);
});

/** What a workload of four clients saw of a database in simulated time. */
async function historyOf(seed: number, flaw?: Flaw): Promise<History> {
  const clock = createVirtualClock();
  const connect = createModelDatabase({ clock, random: seededNumbers(seed), ...(flaw === undefined ? {} : { flaw }) });
  const history = emptyHistory();
  const options = {
    collectionName: "model",
    clients: Array.from({ length: 4 }, connect),
    clock,
    randomOf: (client: number) => seededNumbers(seed * 100 + client),
    history,
  };
  // Of the preparation nothing is recorded: it is repeated until all of it is known to be there.
  await clock.run(untilDone(() => prepareCollection(options)));
  // Then nobody may miss it any more, whatever the level.
  await clock.run(clock.sleep(20_000));
  const workload = startWorkload(options);
  await clock.run(clock.sleep(12_000));
  await clock.run(workload.stop());
  // What is still on its way may come.
  await clock.run(clock.sleep(10_000));
  await clock.run(untilDone(() => workload.readAll()));
  return history;
}

async function untilDone(step: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await step();
    } catch (error) {
      if (!isVdbError(error)) throw error;
    }
  }
}

test("a database that keeps its promises is never accused", async () => {
  let operations = 0;
  for (let seed = 1; seed <= 10; seed++) {
    const history = await historyOf(seed);
    operations += history.operations.length;
    const violations = checkHistory(history, { shardOf: modelShardOf });
    expect(violations.slice(0, 3), `seed ${seed}`).toEqual([]);
  }
  // Otherwise the test says nothing.
  expect(operations).toBeGreaterThan(4_000);
}, 60_000);

test.each<[Flaw, string]>([
  ["acknowledged write is lost", "lost"],
  ["half of a part is lost", "torn"],
  ["Strong read is old", "stale"],
  ["Session read is old", "lost"],
  ["Bounded read is old", "lost"],
  ["row is stored twice", "duplicate"],
  ["deleted rows come back", "resurrected"],
  ["search leaves a shard out", "static"],
  ["timestamps go back", "timestamp"],
])(
  "a database whose %s is caught",
  async (flaw, kind) => {
    const history = await historyOf(1, flaw);
    const kinds = checkHistory(history, { shardOf: modelShardOf }).map((violation) => violation.kind);
    expect(new Set(kinds)).toContain(kind);
  },
  30_000,
);
