/** `gatherRows` in turns, for so many rows or bytes that the event loop must get to other work in between. */
import type { Clock } from "../clock.ts";
import { takeTurn } from "../turns.ts";
import type { ColumnBatch } from "./column.ts";
import { ColumnBuilder } from "./column-builder.ts";
import { batchBytes, gatherRows, type RowPick } from "./gather.ts";

/** Bytes copied between two looks at the clock: a millisecond or two. */
const PIECE_BYTES = 2 << 20;

/** Rows of several batches in the picked order. A column that a batch lacks is null for its rows. */
export async function gatherInTurns(
  batches: readonly ColumnBatch[],
  { sources, rows }: RowPick,
  fieldIds: readonly number[],
  clock: Clock,
): Promise<ColumnBatch> {
  const pieceRows = rowsOfBytes(batches, PIECE_BYTES);
  if (rows.length <= pieceRows) return gatherRows(batches, { sources, rows }, fieldIds);
  const builders = new Map<string, ColumnBuilder>();
  for (let start = 0; start < rows.length; start += pieceRows) {
    await takeTurn(clock);
    const end = start + pieceRows;
    const part = gatherRows(
      batches,
      { sources: sources.subarray(start, end), rows: rows.subarray(start, end) },
      fieldIds,
    );
    for (const [fieldId, column] of Object.entries(part.columns)) {
      let builder = builders.get(fieldId);
      if (builder === undefined) {
        builder = new ColumnBuilder(column, rows.length);
        builders.set(fieldId, builder);
      }
      builder.append(column, 0, part.rowCount);
    }
  }
  const columns = Object.fromEntries([...builders].map(([fieldId, builder]) => [fieldId, builder.view()]));
  return { rowCount: rows.length, columns };
}

function rowsOfBytes(batches: readonly ColumnBatch[], bytes: number): number {
  const all = batches.reduce((sum, batch) => sum + batchBytes(batch), 0);
  const count = batches.reduce((sum, { rowCount }) => sum + rowCount, 0);
  return Math.max(1, Math.floor((bytes * count) / Math.max(1, all)));
}
