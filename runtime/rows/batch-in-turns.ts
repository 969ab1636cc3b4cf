/** Checks the rows of a write and makes columns of them as toBatch does, a few rows at a time, so that the event loop is not held. */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import { type CollectionSchema, primaryField } from "../schema.ts";
import type { Column, ColumnBatch } from "../segment/column.ts";
import { ColumnBuilder } from "../segment/column-builder.ts";
import { columnRows } from "../segment/gather.ts";
import { type KeyColumn, keysOf } from "../segment/keys.ts";
import { inTurns } from "../steps.ts";
import { takeTurn } from "../turns.ts";
import { batchSteps } from "./given-columns.ts";
import { type GivenRows, toBatch } from "./given-rows.ts";
import { type Row, rowsToColumns } from "./rows-to-columns.ts";

/** Rows of the first slice: a row with 64 KiB of JSON takes some milliseconds, a long geometry more. */
const FIRST_ROWS = 4;
const FIRST_GEOMETRIES = 1;

/** The time that a slice of rows should take. */
const SLICE_MS = 4;

/** How many times more rows a slice may have than the one before, whose time predicts its own. */
const GROWTH = 8;

interface Made {
  /** Generated primary keys. */
  keys?: KeyColumn | undefined;
  /** Time zone of times that name none. */
  zone: string;
  clock: Clock;
}

/** @throws VdbError as rowsToColumns, with the row counted from the first of all */
export async function toBatchInTurns(
  schema: CollectionSchema,
  given: GivenRows,
  { keys, zone, clock }: Made,
): Promise<ColumnBatch> {
  if ("columns" in given) return inTurns(clock, batchSteps(schema, given.columns, keys, zone));
  const first = schema.fields.some(({ type }) => type === "Geometry") ? FIRST_GEOMETRIES : FIRST_ROWS;
  if (given.count <= first) return toBatch(schema, given, keys, zone);
  const { rows } = given;
  const parts: ColumnBatch[] = [];
  let refusal: VdbError | undefined;
  for (let from = 0, count = first; from < rows.length; ) {
    await takeTurn(clock);
    const started = clock.monotonic();
    const slice = rows.slice(from, from + count);
    try {
      parts.push(rowsToColumns(schema, slice, keys === undefined ? undefined : placeholders(keys, slice), zone, from));
    } catch (error) {
      if (!(error instanceof VdbError)) throw error;
      // If several cells are bad, the first field's is named.
      if (refusal === undefined || rankOf(schema, error) < rankOf(schema, refusal)) refusal = error;
    }
    from += slice.length;
    const tookMs = Math.max(clock.monotonic() - started, SLICE_MS / GROWTH);
    count = Math.max(1, Math.floor((slice.length * SLICE_MS) / tookMs));
  }
  if (refusal !== undefined) throw refusal;
  await takeTurn(clock);
  const batch = joined(parts, rows.length);
  return keys === undefined ? batch : withKeys(batch, primaryField(schema).fieldId, keys);
}

/** The position in the schema of the field that an error names; errors without a field of their own come last. */
function rankOf({ fields }: CollectionSchema, { details }: VdbError): number {
  const at = fields.findIndex(({ name, isDynamic }) => name === details?.field && !isDynamic);
  return at < 0 ? fields.length : at;
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
