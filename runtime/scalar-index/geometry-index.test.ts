/** Filters of geometries over a segment, with and without RTREE: what is found is the same. */
import { expect, test } from "vitest";
import { batchOf, type Row, schema } from "../expr/filter-fixture.ts";
import { type FilterPlan, type IndexHint, planFilter } from "../expr/plan.ts";
import { decode, encode } from "../protocol/codec.ts";
import { allowedRows, prepareRows } from "../search/allowed-rows.ts";
import { bitsetRows } from "../segment/bitset.ts";
import { CHUNK_ROWS, Segment } from "../segment/segment.ts";
import { systemClock as clock } from "../system-clock.ts";
import { prepareSegment } from "./prepare.ts";
import { allowIndexes, cacheOf } from "./segment-cache.ts";

const idOf = (name: string) => schema.fields.find((field) => field.name === name)!.fieldId;
const HINTS: IndexHint[] = [{ fieldId: idOf("place"), hasBoxes: true }];

const PLACES = [
  "POINT (1 1)",
  "POINT (9 9)",
  null,
  "LINESTRING (1 1, 9 9)",
  "POINT EMPTY",
  "POLYGON ((0 0, 2 0, 2 2, 0 2, 0 0))",
];

function segmentOf(rows: Row[], missing: string[] = []): Segment {
  const segment = new Segment({ segmentId: "0".repeat(26), partitionId: 1, keyFieldId: idOf("id"), keyKind: "int64" });
  segment.append(batchOf(rows, missing), 1n);
  return segment;
}

const rows: Row[] = PLACES.map((place, i) => ({ id: BigInt(i), i32: i, place }));

async function found(segment: Segment, text: string, more: Partial<FilterPlan> = {}): Promise<number[]> {
  const plan = decode(encode({ ...planFilter(text, schema), ...more })) as FilterPlan;
  const all: number[] = [];
  for (const chunk of segment.chunks) {
    if (!(await prepareRows(segment, chunk, plan, { clock }))) continue;
    for (const row of bitsetRows(allowedRows(segment, chunk, { readTs: 2n }, plan)!)) all.push(chunk.firstRow + row);
  }
  return all;
}

const SQUARE = "'POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0))'";

test.each([
  [`st_within(place, ${SQUARE})`, [0, 5]],
  [`ST_WITHIN(place, ${SQUARE})`, [0, 5]],
  [`not st_within(place, ${SQUARE})`, [1, 3, 4]],
  [`st_crosses(place, ${SQUARE})`, [3]],
  [`st_intersects(place, ${SQUARE}) and i32 > 0`, [3, 5]],
  [`st_intersects(place, ${SQUARE}) or i32 == 2`, [0, 2, 3, 5]],
  [`not (st_intersects(place, ${SQUARE}) or i32 == 1)`, [4]],
  [`not (st_intersects(place, ${SQUARE}) and i32 > 1)`, [0, 1, 4]],
  ["st_contains(place, 'POINT (1 1)')", [0, 5]],
  ["st_dwithin(place, 'POINT (1 1)', 1)", [0, 3, 5]],
  ["st_dwithin(place, 'POINT (1 1.5)', 60 * 1000)", [0, 3, 5]],
  ["st_equals(place, 'POINT EMPTY')", [4]],
  ["place is null", [2]],
] as const)("%s", async (text, wanted) => {
  const growing = segmentOf(rows);
  expect(await found(growing, text)).toEqual(wanted);
  const sealed = segmentOf(rows);
  allowIndexes(sealed, () => true);
  expect(await found(sealed, text, { indexes: HINTS })).toEqual(wanted);
});

test("filters that are evaluated over the same rows at the same time do not meet", async () => {
  const segment = segmentOf(rows);
  // More than answers are kept of a chunk, each of them twice.
  const asked = Array.from(
    { length: 40 },
    (_, i) => `st_within(place, 'POLYGON ((0 0, ${4 + (i >> 1)} 0, 0 4, 0 0))')`,
  );
  const all = await Promise.all(asked.map((text) => found(segment, text)));
  expect(all).toEqual(await Promise.all(asked.map((text) => found(segmentOf(rows), text))));
  const plan = planFilter(asked[0]!, schema);
  const [chunk] = segment.chunks;
  await Promise.all(asked.map(() => prepareRows(segment, chunk!, plan, { clock })));
  for (const text of asked) await found(segment, text);
  for (const _ of asked) expect([...bitsetRows(allowedRows(segment, chunk!, { readTs: 2n }, plan)!)]).toEqual(all[0]);
});

test("of a field that was added later nothing is known", async () => {
  const segment = segmentOf(rows, ["place"]);
  expect(await found(segment, `st_within(place, ${SQUARE})`)).toEqual([]);
  expect(await found(segment, `not st_within(place, ${SQUARE})`)).toEqual([]);
});

test("an index keeps the boxes of all chunks, and they count", async () => {
  const count = CHUNK_ROWS + 10;
  const segment = segmentOf(Array.from({ length: count }, (_, i) => ({ id: BigInt(i), place: `POINT (${i} 0)` })));
  const cache = allowIndexes(segment, () => true);
  await prepareSegment(segment, HINTS, clock);
  expect(cache.bytes).toBeGreaterThan(36 * count);
  const text = `st_touches(place, 'LINESTRING (3 0, ${CHUNK_ROWS + 3} 0)')`;
  expect(await found(segment, text, { indexes: HINTS })).toEqual([3, CHUNK_ROWS + 3]);
  cache.clear();
  expect(cache.bytes).toBe(0);
});

test("without room rows are read, and without an index no boxes are kept", async () => {
  const segment = segmentOf(rows);
  allowIndexes(segment, () => false);
  expect(await found(segment, `st_within(place, ${SQUARE})`, { indexes: HINTS })).toEqual([0, 5]);
  allowIndexes(segment, () => true);
  expect(await found(segment, `st_touches(place, ${SQUARE})`)).toEqual([]);
  // What the filter found is kept, of less than a byte a row.
  expect(cacheOf(segment).indexCount).toBe(0);
});
