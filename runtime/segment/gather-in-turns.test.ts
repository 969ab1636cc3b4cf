import fc from "fast-check";
import { expect, it } from "vitest";
import { ALL_FIELDS, batchOf, rowsArbitrary, rowsOf } from "../testing/column-rows.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import type { ColumnBatch } from "./column.ts";
import { gatherRows } from "./gather.ts";
import { gatherInTurns } from "./gather-in-turns.ts";

/** 800 KB a row: a piece has two of them. */
const DIMENSION = 200_000;

function padded(batch: ColumnBatch): ColumnBatch {
  const values = new Float32Array(DIMENSION * batch.rowCount);
  for (let row = 0; row < batch.rowCount; row++) values[row * DIMENSION] = row;
  return { ...batch, columns: { ...batch.columns, 999: { kind: "floatVector", dimension: DIMENSION, values } } };
}

function firstItems({ rowCount, columns }: ColumnBatch): number[] {
  const { values } = columns[999] as { values: Float32Array };
  expect(values.length).toBe(rowCount * DIMENSION);
  return Array.from({ length: rowCount }, (_, row) => values[row * DIMENSION]!);
}

it("gathers the same rows in pieces as at once, of every type, from batches with and without nulls", async () => {
  const clock = new ManualClock();
  const fieldIds = [...ALL_FIELDS.map(({ fieldId }) => fieldId), 999];
  const batch = rowsArbitrary(ALL_FIELDS, { minLength: 1, maxLength: 6 }).map((rows) => batchOf(ALL_FIELDS, rows));
  await fc.assert(
    fc.asyncProperty(
      fc.array(batch, { minLength: 1, maxLength: 3 }),
      fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 1, maxLength: 12 }),
      async (plain, picks) => {
        const batches = plain.map(padded);
        const sources = Uint32Array.from(picks, ([source]) => source % batches.length);
        const rows = Uint32Array.from(picks, ([, row], i) => row % batches[sources[i]!]!.rowCount);
        const got = await gatherInTurns(batches, { sources, rows }, fieldIds, clock);
        const expected = gatherRows(batches, { sources, rows }, fieldIds);
        expect(got.rowCount).toBe(picks.length);
        expect(rowsOf(got, ALL_FIELDS)).toEqual(rowsOf(expected, ALL_FIELDS));
        expect(firstItems(got)).toEqual(firstItems(expected));
      },
    ),
    { numRuns: 20 },
  );
});
