/** Rows of a write checked and made into columns as rowsToColumns does, a few rows at a time: the event loop is not held. */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import { type CollectionSchema, primaryField } from "../schema.ts";
import type { Column, ColumnBatch } from "../segment/column.ts";
import { ColumnBuilder } from "../segment/column-builder.ts";
import { columnRows } from "../segment/gather.ts";
import { type KeyColumn, keysOf } from "../segment/keys.ts";
import { takeTurn } from "../turns.ts";
import { type GivenRows, toBatch } from "./given-rows.ts";
import { type Row, rowsToColumns } from "./rows-to-columns.ts";

/** Rows at first: one of 64 KiB of JSON takes some milliseconds. */
const FIRST_ROWS = 4;

/** What a slice of rows should take. */
const SLICE_MS = 4;

/** How many times more rows a slice may have than the one before: what they take is known by it. */
const GROWTH = 8;

interface Made {
  /** Of generated primary keys. */
  keys?: KeyColumn | undefined;
  /** Of times that name none. */
  zone: string;
  clock: Clock;
}

/** @throws VdbError as rowsToColumns, with the row counted from the first of all */
export async function toBatchInTurns(
  schema: CollectionSchema,
  given: GivenRows,
  { keys, zone, clock }: Made,
): Promise<ColumnBatch> {
  if ("columns" in given || given.count <= FIRST_ROWS) return toBatch(schema, given, keys, zone);
  const { rows } = given;
  const parts: ColumnBatch[] = [];
  try {
    for (let from = 0, count = FIRST_ROWS; from < rows.length; ) {
      await takeTurn(clock);
      const started = clock.monotonic();
      const slice = rows.slice(from, from + count);
      parts.push(rowsToColumns(schema, slice, keys === undefined ? undefined : placeholders(keys, slice), zone));
      from += slice.length;
      const tookMs = Math.max(clock.monotonic() - started, SLICE_MS / GROWTH);
      count = Math.max(1, Math.floor((slice.length * SLICE_MS) / tookMs));
    }
  } catch (error) {
    // Of several bad cells the first field's is named: which that is tells a look at all rows.
    if (error instanceof VdbError) return rowsToColumns(schema, rows, keys, zone);
    throw error;
  }
  await takeTurn(clock);
  const batch = joined(parts, rows.length);
  return keys === undefined ? batch : withKeys(batch, primaryField(schema).fieldId, keys);
}

/** The keys themselves are put in their place when all rows are there. */
function placeholders(keys: KeyColumn, slice: readonly Row[]): KeyColumn {
  return keysOf(
    keys.kind,
    slice.map(() => (keys.kind === "int64" ? 0 : "")),
  );
}

function withKeys({ rowCount, columns }: ColumnBatch, fieldId: number, keys: KeyColumn): ColumnBatch {
  return { rowCount, columns: { ...columns, [fieldId]: keys } };
}

function joined(parts: readonly ColumnBatch[], rowCount: number): ColumnBatch {
  const columns: Record<number, Column> = {};
  for (const [fieldId, sample] of Object.entries(parts[0]!.columns)) {
    const builder = new ColumnBuilder(sample, rowCount);
    for (const { columns: some } of parts) {
      const column = some[Number(fieldId)]!;
      builder.append(column, 0, columnRows(column));
    }
    columns[Number(fieldId)] = builder.view();
  }
  return { rowCount, columns };
}
