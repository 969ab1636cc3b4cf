/** The rows of a write, given as row objects or columns, behind one interface. */
import type { CollectionSchema } from "../schema.ts";
import { primaryField } from "../schema.ts";
import type { ColumnBatch } from "../segment/column.ts";
import type { KeyColumn } from "../segment/keys.ts";
import { firstGivenKey, type GivenColumns, givenColumns, givenKeys, givenToBatch } from "./given-columns.ts";
import {
  generatedKeyGiven,
  primaryKeyColumn,
  type Row,
  refusePrimaryKeys,
  rowsOf,
  rowsToColumns,
} from "./rows-to-columns.ts";

export type GivenRows =
  | { readonly count: number; readonly rows: readonly Row[] }
  | { readonly count: number; readonly columns: GivenColumns };

/**
 * @param request its `columns` if there are any, else its `data`
 * @throws VdbError missing_field, malformed_request, invalid_insert_data, invalid_parameter
 */
export function givenRows(request: { data?: unknown; columns?: unknown; rowCount?: number | undefined }): GivenRows {
  if (request.columns === undefined || request.columns === null) {
    const rows = rowsOf(request.data);
    return { count: rows.length, rows };
  }
  const columns = givenColumns(request.columns, request.rowCount);
  return { count: columns.rowCount, columns };
}

/** @throws VdbError as rowsToColumns */
export function toBatch(schema: CollectionSchema, given: GivenRows, keys?: KeyColumn, zone?: string): ColumnBatch {
  return "rows" in given
    ? rowsToColumns(schema, given.rows, keys, zone)
    : givenToBatch(schema, given.columns, keys, zone);
}

/** @throws VdbError as rowsToColumns */
export function primaryKeysOf(schema: CollectionSchema, given: GivenRows): KeyColumn {
  return "rows" in given ? primaryKeyColumn(schema, given.rows) : givenKeys(schema, given.columns);
}

/** Whether some row has a primary key. */
export function bringsKeys(schema: CollectionSchema, given: GivenRows): boolean {
  if ("columns" in given) return firstGivenKey(schema, given.columns) >= 0;
  const { name } = primaryField(schema);
  return given.rows.some((row) => row[name] !== undefined && row[name] !== null);
}

/** Rows of a collection that generates its keys must have none. @throws VdbError invalid_primary_key */
export function refuseKeys(schema: CollectionSchema, given: GivenRows): void {
  if ("rows" in given) {
    refusePrimaryKeys(schema, given.rows);
    return;
  }
  const row = firstGivenKey(schema, given.columns);
  if (row >= 0) throw generatedKeyGiven(primaryField(schema).name, row);
}
