import fc from "fast-check";
import { expect, test } from "vitest";
import { evaluateFilter } from "../expr/evaluate.ts";
import { batchOf, type Row, schema } from "../expr/filter-fixture.ts";
import { type Condition, leaf, row } from "../expr/filter-model.ts";
import { type FilterPlan, planFilter } from "../expr/plan.ts";
import { cacheOf } from "../scalar-index/segment-cache.ts";
import { bitsetRows, countBits } from "../segment/bitset.ts";
import { CHUNK_ROWS, Segment } from "../segment/segment.ts";
import { Stop } from "../stop.ts";
import { systemClock as clock } from "../system-clock.ts";
import type { Work } from "../turns.ts";
import { allowedRows, prepareRows } from "./allowed-rows.ts";

const SNAPSHOT = { readTs: 10n };

function newSegment(segmentId: string): Segment {
  return new Segment({ segmentId, partitionId: 1, keyFieldId: 100, keyKind: "int64" });
}

async function keeps(segment: Segment, plan: FilterPlan): Promise<number[]> {
  const rows: number[] = [];
  for (const chunk of segment.chunks) {
    await prepareRows(segment, chunk, plan, { clock });
    for (const row of bitsetRows(allowedRows(segment, chunk, SNAPSHOT, plan)!)) rows.push(chunk.firstRow + row);
  }
  return rows;
}

test("tokens of a growing chunk are found once: what is appended is added to them", async () => {
  const segment = newSegment("a");
  const append = (bodies: (string | null)[], from: number) => {
    const rows = bodies.map((body, i): Row => ({ id: BigInt(from + i), body }));
    segment.append(batchOf(rows), 1n);
  };
  const plan = planFilter("text_match(body, 'red')", schema);
  append(["red fox", "blue fox", null], 0);
  expect(await keeps(segment, plan)).toEqual([0]);
  const tokens = cacheOf(segment).tokens(0, 117, segment.chunks[0]!.batch.columns[117] as never, undefined);
  expect(tokens.rowCount).toBe(3);
  append(["a red dog", "red"], 3);
  expect(await keeps(segment, plan)).toEqual([0, 3, 4]);
  expect(tokens.rowCount).toBe(5);
  expect([...tokens.numbers.keys()]).toEqual(["red", "fox", "blue", "a", "dog"]);
  cacheOf(segment).clear();
  expect(cacheOf(segment).bytes).toBe(0);
  expect(await keeps(segment, plan)).toEqual([0, 3, 4]);
});

test("nothing is evaluated for a reader whose deadline is over, or who has given up", async () => {
  const segment = newSegment("a");
  segment.append(batchOf([{ id: 1n }]), 1n);
  const prepare = (work: Work) => prepareRows(segment, segment.chunks[0]!, planFilter("id > 0", schema), work);
  const stop = new Stop();
  stop.abort();
  await expect(prepare({ clock, deadline: clock.monotonic() })).rejects.toMatchObject({ code: 10001 });
  await expect(prepare({ clock, signal: stop })).rejects.toMatchObject({ code: 10000 });
  await expect(prepare({ clock, stopped: stop })).rejects.toMatchObject({ code: 2, retriable: true });
  expect(await prepare({ clock, deadline: clock.monotonic() + 60_000, signal: new Stop() })).toBe(true);
});

test("two readers of a chunk that has no tokens yet find the same", async () => {
  const segment = newSegment("a");
  const rows = Array.from({ length: 500 }, (_, i): Row => ({ id: BigInt(i), body: i % 5 === 0 ? "red" : "blue" }));
  segment.append(batchOf(rows), 1n);
  const plan = planFilter("text_match(body, 'red')", schema);
  const [one, other] = await Promise.all([keeps(segment, plan), keeps(segment, plan)]);
  expect(one.length).toBe(100);
  expect(other).toEqual(one);
});

test("a sample is about the fraction asked for, the same rows each time, and others with another seed", async () => {
  const rows = CHUNK_ROWS + 1_808;
  const segment = newSegment("a");
  segment.append(
    batchOf(
      Array.from({ length: rows }, (_, i): Row => ({ id: BigInt(i), i32: BigInt(i % 2) })),
      [
        ...[
          "flag",
          "i8",
          "i16",
          "i64",
          "f",
          "d",
          "s",
          "t",
          "doc",
          "nums",
          "tags",
          "reals",
          "$meta",
          "ts",
          "body",
          "flags",
        ],
      ],
    ),
    1n,
  );
  const plan = (seed: number) => planFilter("i32 == 1 and random_sample(0.3)", schema, { purpose: "query", seed });
  const taken = await keeps(segment, plan(1));
  // Of 5,000 with probability 0.3: seven standard deviations either way.
  expect(Math.abs(taken.length - 1_500)).toBeLessThan(7 * Math.sqrt(5_000 * 0.3 * 0.7));
  expect(taken.every((row) => row % 2 === 1)).toBe(true);
  expect(await keeps(segment, plan(1))).toEqual(taken);
  expect(await keeps(segment, plan(2))).not.toEqual(taken);
  const other = newSegment("b");
  other.append(segment.chunks[0]!.batch, 1n);
  const [chunk] = segment.chunks;
  expect(bitsetRows(allowedRows(other, other.chunks[0]!, SNAPSHOT, plan(1))!)).not.toEqual(
    bitsetRows(allowedRows(segment, chunk!, SNAPSHOT, plan(1))!),
  );
  expect(countBits(allowedRows(segment, chunk!, { readTs: 0n }, plan(1))!)).toBe(0);
});

test("a filter of hundreds of clauses keeps the same rows as its parts do", async () => {
  const alike = { minLength: 70, maxLength: 300 };
  const long = fc
    .tuple(fc.constantFrom("and", "or"), fc.array(leaf, alike), fc.constantFrom("and", "or"), fc.array(leaf, alike))
    .map(([outer, some, inner, others]) => {
      const joined = (items: Condition[], by: string) => items.map(({ text }) => `(${text})`).join(` ${by} `);
      return `${joined(some, outer)} ${outer} not (${joined(others, inner)})`;
    });
  const check = async (text: string, rows: Row[]) => {
    const plan = planFilter(text, schema);
    const segment = newSegment("a");
    segment.append(batchOf(rows), 1n);
    const expected = [...bitsetRows(evaluateFilter(plan, segment.chunks[0]!.batch))];
    // Of a chunk that is skipped nothing need be asked.
    expect(await keeps(segment, plan)).toEqual(expected);
  };
  const rows = fc.array(row, { minLength: 1, maxLength: 40 });
  await fc.assert(fc.asyncProperty(long, rows, check), { numRuns: 25 });
});
