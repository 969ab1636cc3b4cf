import fc from "fast-check";
import { expect, test } from "vitest";
import type { Int64Column, NumberColumn } from "../segment/column.ts";
import { CHUNK_ROWS, Segment } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { movedChunks, visibleRows } from "./restore-rows.ts";

const KEY = 100;
const VALUE = 101;

/** Rows of one timestamp each, `firstTs` and up, with keys from 0 and values ten times as large. */
function segmentOf(rowCount: number, firstTs: bigint): Segment {
  const segment = new Segment({ segmentId: "s", partitionId: 1, keyFieldId: KEY, keyKind: "int64" });
  for (let start = 0; start < rowCount; start += CHUNK_ROWS) {
    const count = Math.min(CHUNK_ROWS, rowCount - start);
    const rows = Array.from({ length: count }, (_, i) => start + i);
    const batch = {
      rowCount: count,
      columns: {
        [KEY]: { kind: "int64" as const, values: BigInt64Array.from(rows, BigInt) },
        [VALUE]: { kind: "int32" as const, values: Int32Array.from(rows, (row) => 10 * row) },
      },
    };
    segment.appendChunk(
      batch,
      BigInt64Array.from(rows, (row) => firstTs + BigInt(row)),
    );
  }
  return segment;
}

test("rows that a read at the timestamp saw come out in order, in full chunks, moved in time", async () => {
  const rowCount = 2 * CHUNK_ROWS + 1000;
  const scenario = fc.record({
    readRow: fc.nat(rowCount),
    deletes: fc.array(fc.record({ row: fc.nat(rowCount - 1), afterRead: fc.boolean() }), { maxLength: 50 }),
    run: fc.option(fc.record({ from: fc.nat(rowCount), count: fc.nat(CHUNK_ROWS) })),
    distance: fc.bigInt(-500n, 500n),
  });
  await fc.assert(
    fc.asyncProperty(scenario, async ({ readRow, deletes, run, distance }) => {
      const segment = segmentOf(rowCount, 1000n);
      const readTs = 1000n + BigInt(rowCount) + 10n;
      const gone = new Set<number>();
      for (const { row, afterRead } of deletes) {
        segment.deleteRow(row, afterRead ? readTs + 1n : readTs);
        if (!afterRead) gone.add(row);
      }
      for (let row = run?.from ?? 0; row < Math.min(rowCount, (run?.from ?? 0) + (run?.count ?? 0)); row++) {
        segment.deleteRow(row, readTs - 1n);
        gone.add(row);
      }
      // Rows written after the snapshot are no part of it either.
      const snapshot = readRow % 2 === 0 ? readTs : 1000n + BigInt(readRow);
      const isSeen = (row: number) => 1000n + BigInt(row) <= snapshot && (snapshot < readTs - 1n || !gone.has(row));
      const expected = Array.from({ length: rowCount }, (_, row) => row).filter(isSeen);

      const visible = await visibleRows(segment, snapshot, systemClock);
      expect(visible.count).toBe(expected.length);
      const found: number[] = [];
      const sizes: number[] = [];
      for await (const { batch, timestamps } of movedChunks(segment, visible, distance, systemClock)) {
        sizes.push(batch.rowCount);
        const { values: keys } = batch.columns[KEY] as Int64Column;
        const { values } = batch.columns[VALUE] as NumberColumn;
        for (let i = 0; i < batch.rowCount; i++) {
          const row = Number(keys[i]);
          if (values[i] !== 10 * row || timestamps[i] !== 1000n + BigInt(row) + distance) throw new Error(`row ${row}`);
          found.push(row);
        }
      }
      expect(found).toEqual(expected);
      expect(sizes.slice(0, -1).every((size) => size === CHUNK_ROWS)).toBe(true);
    }),
    { numRuns: 30 },
  );
});
