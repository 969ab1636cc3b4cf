/**
 * Makes a batch of columns from rows of a file, by the rules of an insert. Errors name the row by its number in the file,
 * counted from 0.
 */
import type { Clock } from "../clock.ts";
import { asVdbError, type VdbError } from "../errors.ts";
import { parseJson } from "../protocol/public-codec.ts";
import { keysFrom } from "../rows/generated-keys.ts";
import { refusePrimaryKeys, rowsToColumns } from "../rows/rows-to-columns.ts";
import { type CollectionSchema, DYNAMIC_FIELD, primaryField } from "../schema.ts";
import type { ColumnBatch } from "../segment/column.ts";
import { importFailed } from "./names.ts";
import type { ImportRow } from "./row-source.ts";

/**
 * @param firstRow the number in the file of the first of these rows
 * @param takeIds reserves that many ids and returns the first
 * @throws VdbError import_failed
 */
export async function rowsToBatch(
  schema: CollectionSchema,
  rows: ImportRow[],
  firstRow: number,
  { clock, takeIds }: { clock: Clock; takeIds(count: number): Promise<number> },
): Promise<ColumnBatch> {
  let batch: ColumnBatch;
  const ids = schema.autoId ? await takeIds(rows.length) : undefined;
  try {
    if (schema.fields.some(({ isDynamic }) => isDynamic)) spreadDynamic(rows);
    for (const { name, type } of schema.fields) if (type === "SparseFloatVector") parseTexts(rows, name);
    if (ids === undefined) batch = rowsToColumns(schema, rows);
    else {
      refusePrimaryKeys(schema, rows);
      batch = rowsToColumns(schema, rows, keysFrom(ids, rows.length, primaryField(schema)));
    }
  } catch (error) {
    throw inFile(asVdbError(error), firstRow);
  }
  if ((schema.functions ?? []).length === 0) return batch;
  // Analyzers take a while to load.
  const { withFunctionOutputs } = await import("../sparse/function-outputs.ts");
  return await withFunctionOutputs(schema, batch, clock);
}

/** The message has the row's number among these rows. */
function inFile(error: VdbError, firstRow: number): VdbError {
  const row = error.details?.row;
  if (error.kind === "internal" || typeof row !== "number") return error;
  const message = error.message
    .replace(/^fail to deal the insert data, error: /, "")
    .replace(/^row \d+: /, "")
    .replace(/row number: \d+/, `row number: ${firstRow + row}`)
    .replace(/the \d+th element/, `the ${firstRow + row}th element`);
  return importFailed(`row ${firstRow + row}: ${message}`, error);
}

/** Dynamic keys may come in a column `$meta`, as JSON text or as an object: they become keys of the row. */
function spreadDynamic(rows: ImportRow[]): void {
  for (const row of rows) {
    const given = row[DYNAMIC_FIELD];
    if (given === undefined) continue;
    delete row[DYNAMIC_FIELD];
    const keys = typeof given === "string" ? parseObject(given) : given;
    if (typeof keys === "object" && keys !== null && !Array.isArray(keys)) {
      for (const [key, value] of Object.entries(keys)) row[key] ??= value;
    } else if (keys !== null) row[DYNAMIC_FIELD] = given;
  }
}

function parseObject(text: string): unknown {
  if (text.trim() === "") return null;
  try {
    return parseJson(text);
  } catch {
    return text;
  }
}

/** Columnar files have sparse vectors as JSON text. */
function parseTexts(rows: ImportRow[], name: string): void {
  for (const row of rows) {
    const given = row[name];
    if (typeof given === "string" && given.trimStart().startsWith("{")) row[name] = parseObject(given);
  }
}
