/**
 * Row objects to a batch of columns, checked against the schema: the first bad cell refuses the whole request.
 *
 * Makes one pass per field over all rows: properties are read with one name at a time into typed arrays. Messages count rows
 * from 0.
 */
import { VdbError } from "../errors.ts";
import { type CollectionSchema, DYNAMIC_FIELD, type FieldSchema, primaryField } from "../schema.ts";
import { type Bitset, newBitset, setBit } from "../segment/bitset.ts";
import type { Column, ColumnBatch } from "../segment/column.ts";
import type { KeyColumn } from "../segment/keys.ts";
import { misshapen, show } from "./bad-cell.ts";
import { fillColumn, fillJson } from "./fill-column.ts";
import { nativeJsonText } from "./json-text.ts";

export type Row = Readonly<Record<string, unknown>>;

/** The MessagePack decoder's replacement for the key `__proto__`, which in JSON is a key like any other. */
const RENAMED_PROTO = "__proto_";

/** The `data` of an insert: one row or a list of them. @throws VdbError missing_field, malformed_request, invalid_insert_data */
export function rowsOf(data: unknown): Row[] {
  if (data === undefined || data === null) {
    throw new VdbError("missing_field", "missing required parameters, error: data is required");
  }
  const rows = Array.isArray(data) ? (data as unknown[]) : [data];
  if (rows.length === 0) {
    throw new VdbError(
      "invalid_insert_data",
      "fail to deal the insert data, error: data is empty, give at least one row",
    );
  }
  for (let row = 0; row < rows.length; row++) {
    const value = rows[row];
    if (typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)) continue;
    throw new VdbError(
      "malformed_request",
      `can only accept json format request, error: data: row ${row}: expected an object, got ${show(value)}`,
    );
  }
  return rows as Row[];
}

/**
 * Outputs of functions are left out: their inputs may still change.
 * @param keys generated primary keys: the rows' own values of the primary field are then ignored
 * @param zone for times without an offset; UTC when absent
 * @param firstRow the number of the first of these rows, in messages
 * @throws VdbError invalid_insert_data, invalid_primary_key, invalid_parameter: with row and field in message and details
 */
export function rowsToColumns(
  schema: CollectionSchema,
  rows: readonly Row[],
  keys?: KeyColumn,
  zone?: string,
  firstRow = 0,
): ColumnBatch {
  const columns: Record<number, Column> = {};
  // Counts the properties of each row that belong to the schema: the others are dynamic.
  const known = new Uint32Array(rows.length);
  for (const field of schema.fields) {
    if (field.isDynamic) continue;
    if (field.isFunctionOutput === true) {
      refuseOutput(field, rows, firstRow);
      continue;
    }
    if (field.isPrimary && keys !== undefined) {
      countPresent(rows, field.name, known);
      columns[field.fieldId] = keys;
    } else {
      columns[field.fieldId] = columnOf(field, rows, zone, known, firstRow);
    }
  }
  const dynamic = schema.fields.find((field) => field.isDynamic);
  if (dynamic !== undefined) columns[dynamic.fieldId] = dynamicColumn(schema, dynamic, rows, known, firstRow);
  else refuseUnknown(schema, rows, known, firstRow);
  return { rowCount: rows.length, columns };
}

/** The primary keys that the rows have. @throws VdbError as rowsToColumns */
export function primaryKeyColumn(schema: CollectionSchema, rows: readonly Row[]): KeyColumn {
  return columnOf(primaryField(schema), rows) as KeyColumn;
}

/** Rows of a collection that generates its keys must have none. @throws VdbError invalid_primary_key */
export function refusePrimaryKeys(schema: CollectionSchema, rows: readonly Row[]): void {
  const { name } = primaryField(schema);
  const row = rows.findIndex((candidate) => candidate[name] !== undefined && candidate[name] !== null);
  if (row >= 0) throw generatedKeyGiven(name, row);
}

export function generatedKeyGiven(name: string, row: number): VdbError {
  return new VdbError(
    "invalid_primary_key",
    `row ${row}: field ${name}: the collection generates its primary keys (autoID), leave it out`,
    { details: { row, field: name } },
  );
}

/** The rows' values of one field. @throws VdbError as rowsToColumns */
export function columnOf(
  field: FieldSchema,
  rows: readonly Row[],
  zone?: string,
  known = new Uint32Array(rows.length),
  firstRow = 0,
): Column {
  const { cells, valid } = readCells(field, rows, known, firstRow);
  const column = fillColumn(field, cells, zone, (cell) => firstRow + cell);
  return valid === undefined ? column : { ...column, valid };
}

/** The field's value of each row, with defaults in place; null where the row has none. */
function readCells(
  field: FieldSchema,
  rows: readonly Row[],
  known: Uint32Array,
  firstRow: number,
): { cells: unknown[]; valid: Bitset | undefined } {
  const { name, defaultValue } = field;
  // Names like "constructor" are on every object; there only the row's own properties count.
  const isInherited = name in Object.prototype;
  const cells = new Array<unknown>(rows.length);
  let nullCount = 0;
  for (let row = 0; row < rows.length; row++) {
    const source = rows[row]!;
    const cell = isInherited && !Object.hasOwn(source, name) ? undefined : source[name];
    if (cell !== undefined) known[row] = known[row]! + 1;
    if (cell !== undefined && cell !== null) {
      cells[row] = cell;
    } else if (defaultValue !== undefined) {
      cells[row] = defaultValue;
    } else {
      if (!field.nullable) throw absent(field, firstRow + row, cell);
      cells[row] = null;
      nullCount++;
    }
  }
  return { cells, valid: nullCount === 0 ? undefined : presentCells(cells) };
}

/** The error for a row that lacks a required field. */
export function absent(field: FieldSchema, row: number, cell: unknown): VdbError {
  if (field.isPrimary) {
    return new VdbError("invalid_primary_key", `row ${row}: field ${field.name}: the primary key is missing`, {
      details: { row, field: field.name },
    });
  }
  const problem = cell === null ? "null is not allowed, the field is not nullable" : "the field is missing";
  return misshapen({ field: field.name }, row, problem);
}

/** Rows must not have the output of a function. */
export function refuseOutput({ name }: FieldSchema, rows: readonly Row[], firstRow = 0): void {
  const at = rows.findIndex((candidate) => Object.hasOwn(candidate, name) && candidate[name] !== undefined);
  if (at < 0) return;
  const row = firstRow + at;
  throw new VdbError(
    "invalid_parameter",
    `row ${row}: not allowed to provide input data for function output field: ${name}`,
    { details: { row, field: name } },
  );
}

function presentCells(cells: readonly unknown[]): Bitset {
  const valid = newBitset(cells.length);
  for (let row = 0; row < cells.length; row++) if (cells[row] !== null) setBit(valid, row);
  return valid;
}

function countPresent(rows: readonly Row[], name: string, known: Uint32Array): void {
  for (let row = 0; row < rows.length; row++) {
    if (Object.hasOwn(rows[row]!, name) && rows[row]![name] !== undefined) known[row] = known[row]! + 1;
  }
}

/** For collections without a dynamic field. */
export function refuseUnknown(
  schema: CollectionSchema,
  rows: readonly Row[],
  known = new Uint32Array(rows.length),
  firstRow = 0,
): void {
  const names = new Set(schema.fields.map(({ name }) => name));
  for (let row = 0; row < rows.length; row++) {
    if (propertyCount(rows[row]!) === known[row]) continue;
    for (const name of Object.keys(rows[row]!)) {
      if (names.has(name) || rows[row]![name] === undefined) continue;
      throw misshapen(
        { field: name },
        firstRow + row,
        "the schema has no such field, and the collection no dynamic field to keep it in",
      );
    }
  }
}

/**
 * The dynamic keys of the rows, one object per row; empty for a row without such keys.
 * @param known for each row, how many of its properties belong to the schema; if 0, each is looked at
 */
export function dynamicColumn(
  schema: CollectionSchema,
  field: FieldSchema,
  rows: readonly Row[],
  known = new Uint32Array(rows.length),
  firstRow = 0,
): Column {
  const names = new Set(schema.fields.filter(({ isDynamic }) => !isDynamic).map(({ name }) => name));
  const cells = new Array<unknown>(rows.length).fill("{}");
  for (let row = 0; row < rows.length; row++) {
    const source = rows[row]!;
    if (propertyCount(source) === known[row]) continue;
    const extra: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const name of Object.keys(source)) {
      if (names.has(name)) continue;
      if (name === DYNAMIC_FIELD)
        throw misshapen({ field: name }, firstRow + row, "the name is reserved, give its keys as keys of the row");
      if (name === RENAMED_PROTO)
        throw misshapen({ field: name }, firstRow + row, "MessagePack turns the key __proto__ into it: use another");
      extra[name] = source[name];
    }
    cells[row] = extra;
  }
  return fillJson(cells, { field: field.name, rowAt: (cell) => firstRow + cell }, (cell) =>
    typeof cell === "string" ? cell : nativeJsonText(cell),
  );
}

/** Whether a row gives a value, or null, of its own: names like "constructor" are on every object. */
export function has(row: Row, name: string): boolean {
  return Object.hasOwn(row, name) && row[name] !== undefined;
}

function propertyCount(row: Row): number {
  return Object.keys(row).length;
}
