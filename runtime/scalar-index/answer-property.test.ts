/** Random filters over random rows, with and without scalar indexes: what is found is the same. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { evaluateFilter } from "../expr/evaluate.ts";
import { batchOf, type Row, schema } from "../expr/filter-fixture.ts";
import { type Condition, condition, leaf, like, not, row } from "../expr/filter-model.ts";
import { type FilterPlan, type IndexHint, planFilter } from "../expr/plan.ts";
import { bitsetRows } from "../segment/bitset.ts";
import { Segment } from "../segment/segment.ts";
import { systemClock as clock } from "../system-clock.ts";
import { answersOf } from "./answer.ts";
import { prepareChunk, prepareSegment } from "./prepare.ts";
import { allowIndexes, cacheOf, INDEXES_A_CHUNK } from "./segment-cache.ts";

const VALUES = ["flag", "i8", "i16", "i32", "i64", "id", "f", "d", "s", "nums", "tags", "reals", "ts", "flags"];
const idOf = (name: string) => schema.fields.find((field) => field.name === name)!.fieldId;

const hints: IndexHint[] = [
  ...VALUES.map((name) => ({ fieldId: idOf(name) })),
  { fieldId: idOf("t"), gram: 2 },
  { fieldId: idOf("doc"), path: ["p", "0"] },
  { fieldId: idOf("doc"), path: ["q"], isFlat: true as const },
  { fieldId: idOf("$meta"), path: ["p"] },
  { fieldId: idOf("$meta"), path: [], isFlat: true as const },
];

function segmentOf(rows: Row[]): Segment {
  const segment = new Segment({
    segmentId: "0".repeat(26),
    partitionId: 1,
    keyFieldId: idOf("id"),
    keyKind: "int64",
  });
  segment.append(batchOf(rows), 1n);
  allowIndexes(segment, () => true);
  return segment;
}

async function check(filter: Condition, rows: Row[]): Promise<void> {
  const plan: FilterPlan = { ...planFilter(filter.text, schema), indexes: hints };
  const segment = segmentOf(rows);
  for (const chunk of segment.chunks) {
    await prepareChunk(segment, chunk, plan, clock);
    const kept = bitsetRows(evaluateFilter(plan, chunk.batch, answersOf(segment, chunk, plan)));
    expect([...kept], filter.text).toEqual([...bitsetRows(evaluateFilter(plan, chunk.batch))]);
  }
}

const rows = fc.array(row, { minLength: 1, maxLength: 70 });

test("indexes never change what a filter keeps", async () => {
  await fc.assert(fc.asyncProperty(condition, rows, check), { numRuns: 300 });
});

test("each kind of condition alone, also negated, keeps the same with indexes", async () => {
  const alone = leaf.chain((item) =>
    fc.constantFrom(item, { text: `not (${item.text})`, test: (r: Row) => not(item.test(r)) }),
  );
  await fc.assert(fc.asyncProperty(alone, rows, check), { numRuns: 700 });
});

test("patterns, whose plain parts grams and order find, keep the same with indexes", async () => {
  await fc.assert(fc.asyncProperty(like, rows, check), { numRuns: 500 });
});

test("a hint is answered by an index: none of the clauses reads rows", async () => {
  const segment = segmentOf(
    Array.from({ length: 50 }, (_, i) => ({
      id: BigInt(i),
      i64: BigInt(i % 7),
      s: `name ${i % 5}`,
      t: `the text ${i}`,
      tags: [`tag ${i % 3}`],
      doc: JSON.stringify({ p: [i % 4], q: { r: `x${i}`, list: [i % 3, "b"] } }),
      $meta: JSON.stringify({ p: i }),
    })),
  );
  const [chunk] = segment.chunks;
  for (const text of [
    "i64 in [3, 4]",
    "s == 'name 3'",
    "s like 'name%'",
    "t like '%text 4%'",
    "array_contains(tags, 'tag 1')",
    "doc['p'][0] == 3",
    "json_contains_any(doc['q']['list'], [1, 'a'])",
    "doc['q']['r'] like 'x1%'",
    "doc['q']['r'] is not null",
    "p in [1, 'a']",
  ]) {
    const plan: FilterPlan = { ...planFilter(text, schema), indexes: hints };
    await prepareChunk(segment, chunk!, plan, clock);
    const isAnswered = answersOf(segment, chunk!, plan)(plan.root.op === "not" ? plan.root.item : plan.root);
    expect(isAnswered, text).toBeDefined();
  }
  const bytes = cacheOf(segment).bytes;
  expect(bytes).toBeGreaterThan(0);
  await prepareSegment(segment, hints, clock);
  expect(cacheOf(segment).bytes).toBeGreaterThan(bytes);
  expect(cacheOf(segment).clear()).toBeGreaterThan(bytes);
  expect(cacheOf(segment).bytes).toBe(0);
});

test("without room no index is made, and rows are read", async () => {
  const segment = segmentOf([{ id: 1n, i64: 3n }]);
  allowIndexes(segment, () => false);
  const [chunk] = segment.chunks;
  const plan: FilterPlan = { ...planFilter("i64 + 1 == 4", schema), indexes: hints };
  await prepareChunk(segment, chunk!, plan, clock);
  expect(cacheOf(segment).bytes).toBe(0);
  expect(answersOf(segment, chunk!, plan)(plan.root)).toBeUndefined();
});

test("however many paths are asked for, indexes of the newest few are kept", async () => {
  const segment = segmentOf([{ id: 1n, $meta: '{"p": 1}' }]);
  const [chunk] = segment.chunks;
  for (let i = 0; i < 2 * INDEXES_A_CHUNK; i++) {
    const plan: FilterPlan = { ...planFilter(`k${i} == 1`, schema), indexes: hints };
    await prepareChunk(segment, chunk!, plan, clock);
    expect(answersOf(segment, chunk!, plan)(plan.root)).toBeDefined();
  }
  expect(cacheOf(segment).indexCount).toBe(INDEXES_A_CHUNK);
});
