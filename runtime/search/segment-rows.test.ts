import { expect, test } from "vitest";
import { planFilter } from "../expr/plan.ts";
import { KeptRows, stateOf } from "../scalar-index/kept-rows.ts";
import { allowIndexes, cacheOf } from "../scalar-index/segment-cache.ts";
import { bitsetRows, newBitset } from "../segment/bitset.ts";
import { defaultsOf } from "../segment/default-columns.ts";
import { keysOf } from "../segment/keys.ts";
import { systemClock as clock } from "../system-clock.ts";
import { buildSegment, type Fixture, groupFilter, readable } from "./segment-fixture.ts";
import { segmentRows } from "./segment-rows.ts";

function sealed(seed: number, rowCount = 300): Fixture {
  const fixture = buildSegment({ rowCount, keyKind: "int64", seed, keyCount: 200 });
  allowIndexes(fixture.segment, () => true);
  return fixture;
}

async function rowsOf(
  fixture: Fixture,
  read: { readTs: bigint; expiredTs?: bigint; groups: readonly number[] | null },
): Promise<number[]> {
  const { segment, rows } = fixture;
  const { readTs, expiredTs, groups } = read;
  const allowed = await segmentRows(segment, { readTs, expiredTs, filter: groupFilter(fixture, groups), clock });
  if (allowed === null) return Array.from(rows.keys());
  expect(allowed.count).toBe(bitsetRows(allowed.bits).length);
  return Array.from(bitsetRows(allowed.bits));
}

test("what is kept is what a read sees: after deletes, at earlier times, with rows expired, under any filter", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const fixture = sealed(seed);
    const { segment, rows } = fixture;
    let now = fixture.maxTs;
    for (let step = 0; step < 12; step++) {
      for (const groups of [null, [1], [1, 2, 3], [], [0, 5, 9]]) {
        const reads = [
          { readTs: now, groups },
          { readTs: now + 5n, groups },
          { readTs: now, groups },
          { readTs: now / 2n, groups },
          { readTs: now, expiredTs: 3n, groups },
        ];
        for (const read of reads) {
          expect(await rowsOf(fixture, read)).toEqual(readable(fixture, read.readTs, groups, read.expiredTs));
        }
      }
      const key = rows[(step * 17) % rows.length]!.key;
      // Also one that lies in the future of the next reads, and one that covers nothing.
      now += 2n;
      const goneAt = step % 3 === 2 ? now + 10n : now;
      segment.delete(keysOf("int64", [key]), 0, goneAt);
      segment.delete(keysOf("int64", [-1]), 0, now);
      for (const row of rows)
        if (row.key === key) row.goneAt = row.goneAt === null || row.goneAt > goneAt ? goneAt : row.goneAt;
    }
  }
});

test("rows are found once as long as nothing is deleted, and anew when something was", async () => {
  const fixture = sealed(1);
  const { segment, rows, maxTs } = fixture;
  const filter = groupFilter(fixture, [1, 2]);
  const find = (readTs = maxTs) => segmentRows(segment, { readTs, filter, clock });
  const first = await find();
  expect(await find(maxTs + 1n)).toBe(first);
  // The same filter, planned again.
  expect(await segmentRows(segment, { readTs: maxTs, filter: groupFilter(fixture, [1, 2]), clock })).toBe(first);
  const victim = rows.findIndex(({ goneAt, group }) => goneAt === null && group === 1);
  segment.deleteRow(victim, maxTs + 2n);
  const second = await find(maxTs + 2n);
  expect(second).not.toBe(first);
  expect(second!.count).toBe(first!.count - 1);
  expect((await find(maxTs + 1n))!.count).toBe(first!.count);
});

test("a field that gets a default later changes what a filter leaves", async () => {
  const fixture = sealed(1);
  const { segment, maxTs } = fixture;
  const added = { ...fixture.schema.fields[2]!, fieldId: 103, name: "added", defaultValue: 7 };
  const filter = planFilter("group >= 0", { ...fixture.schema, fields: [...fixture.schema.fields, added] });
  const first = await segmentRows(segment, { readTs: maxTs, filter, clock });
  segment.complete(defaultsOf({ fields: [added] }));
  expect(await segmentRows(segment, { readTs: maxTs, filter, clock })).not.toBe(first);
});

test("what random filters leave is not kept", async () => {
  const fixture = sealed(1);
  const options = { purpose: "query", seed: 1 } as const;
  const filter = planFilter("random_sample(0.5)", fixture.schema, options);
  const find = () => segmentRows(fixture.segment, { readTs: fixture.maxTs, filter, clock });
  expect(await find()).not.toBe(await find());
});

test("a segment keeps some hundred filters, and gives them up when memory is needed", async () => {
  const fixture = sealed(1, 4_000);
  const { segment, maxTs } = fixture;
  const filters = Array.from({ length: 200 }, (_, i) => planFilter(`group < 5 or id == ${i}`, fixture.schema));
  const find = (i: number) => segmentRows(segment, { readTs: maxTs, filter: filters[i]!, clock });
  const found = [];
  for (let i = 0; i < filters.length; i++) found.push(await find(i));
  expect(cacheOf(segment).keptRows.bytes).toBeLessThanOrEqual(16 * segment.rowCount);
  expect(cacheOf(segment).bytes).toBeGreaterThanOrEqual(cacheOf(segment).keptRows.bytes);
  expect(await find(199)).toBe(found[199]);
  expect(await find(120)).toBe(found[120]);
  expect(await find(0)).not.toBe(found[0]);
  cacheOf(segment).clear();
  expect(cacheOf(segment).bytes).toBe(0);
  expect(await find(199)).not.toBe(found[199]);
});

test("without room little is kept, and room is seldom asked for", () => {
  const { segment } = sealed(1, 4_000);
  let asked = 0;
  const kept: KeptRows = new KeptRows((bytes) => {
    asked++;
    return kept.bytes + bytes <= 4_096;
  });
  const state = stateOf(segment);
  const keep = (filter: string) => kept.keep(segment, state, filter, { bits: newBitset(segment.rowCount), count: 0 });
  for (let i = 0; i < 200; i++) keep(`f${i}`);
  expect(kept.bytes).toBeLessThanOrEqual(4_096);
  expect(kept.find(segment, "f199")).toBeDefined();
  expect(kept.find(segment, "f190")).toBeUndefined();
  expect(asked).toBe(2);
  segment.deleteRow(0, 1_000n);
  expect(kept.find(segment, "f199")).toBeUndefined();
  // Found before the delete came.
  keep("f200");
  expect(kept.find(segment, "f200")).toBeUndefined();
});

test("what filters are kept by counts as well: those of all rows have no bits", () => {
  const { segment } = sealed(1, 1_000);
  const kept = new KeptRows(() => true);
  const state = stateOf(segment);
  for (let i = 0; i < 1_000; i++) kept.keep(segment, state, `f${i}`, null);
  expect(kept.bytes).toBeLessThanOrEqual(16 * segment.rowCount);
  const found = Array.from({ length: 1_000 }, (_, i) => kept.find(segment, `f${i}`)).filter((rows) => rows === null);
  expect(found.length).toBeGreaterThan(10);
  expect(128 * found.length).toBeLessThanOrEqual(16 * segment.rowCount);
});
