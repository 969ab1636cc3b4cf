/**
 * Rows in columns, as clients of binary encodings send them: checked against the schema and completed to a batch, with the same
 * refusals as row objects (rows-to-columns.ts). No work is done row by row if typed arrays can do it at once.
 *
 * A column has the values of all rows, or only of those that have one according to `valid`: the others get the field's default,
 * or null. A field that may be null or has a default may be left out. The dynamic field is a column `$meta` of JSON objects.
 */
import { VdbError } from "../errors.ts";
import { isColumn } from "../protocol/values.ts";
import { type CollectionSchema, DYNAMIC_FIELD, type FieldSchema, primaryField } from "../schema.ts";
import { hasBit } from "../segment/bitset.ts";
import { type BytesColumn, type Column, type ColumnBatch, rowWidth } from "../segment/column.ts";
import { columnRows, gatherColumn, takeColumn } from "../segment/gather.ts";
import { type KeyColumn, varcharColumn } from "../segment/keys.ts";
import { textReader } from "../segment/text-reader.ts";
import { atOnce, type Steps } from "../steps.ts";
import { misshapen, type Place } from "./bad-cell.ts";
import { checkJson, wrongKind } from "./check-column.ts";
import { checkSteps, isLong, piecesOf } from "./check-steps.ts";
import { absent, columnOf } from "./rows-to-columns.ts";

export interface GivenColumn {
  name: string;
  /** Absent: no row has a value. */
  column?: Column | undefined;
  /** One byte per row, 0 if it has no value. Absent: all have one, or the column says which. */
  valid?: Uint8Array | undefined;
}

export interface GivenColumns {
  rowCount: number;
  columns: readonly GivenColumn[];
}

/**
 * The `columns` of a write, with any content: arrays that do not fit together are refused here.
 * @param rowCount the number of rows, if the request says it
 * @throws VdbError invalid_insert_data, invalid_parameter
 */
export function givenColumns(given: unknown, rowCount?: number): GivenColumns {
  if (!Array.isArray(given)) throw malformed("columns", "expected a list of {name, column, valid}");
  const columns = given.map((one) => givenColumn(one));
  const seen = new Set<string>();
  for (const { name } of columns) {
    if (seen.has(name)) {
      throw new VdbError("invalid_parameter", `more fieldData has pass in: field ${name} is given twice`, {
        details: { field: name },
      });
    }
    seen.add(name);
  }
  const count = rowCount ?? rowsOf(columns[0]);
  // Memory is allocated for that many rows, also in columns that are left out.
  if (count > 0 && columns.every((column) => cellsAtMost(column) < count)) {
    throw new VdbError("invalid_parameter", `the columns have fewer rows than the passed num_rows (${count})`);
  }
  if (count > 0) return { rowCount: count, columns };
  throw new VdbError(
    "invalid_insert_data",
    "fail to deal the insert data, error: there are no rows, give at least one",
  );
}

function rowsOf(first: GivenColumn | undefined): number {
  if (first === undefined) return 0;
  const { valid, column } = first;
  return valid?.length ?? (column === undefined ? 0 : columnRows(column));
}

/** Vectors have a number or a byte a row at least. */
function cellsAtMost({ column, valid }: GivenColumn): number {
  const cells = column === undefined ? 0 : "offsets" in column ? column.offsets.length - 1 : column.values.length;
  return Math.max(cells, valid?.length ?? 0);
}

function malformed(name: string, problem: string): VdbError {
  const details = { field: name };
  return new VdbError("invalid_insert_data", `fail to deal the insert data, error: field ${name}: ${problem}`, {
    details,
  });
}

function givenColumn(given: unknown): GivenColumn {
  const { name, column, valid } = (given ?? {}) as Record<string, unknown>;
  if (typeof name !== "string" || name === "") throw malformed("columns", "a column has no name");
  if (column === undefined || column === null) return { name, column: undefined, valid: flagsOf(name, valid) };
  if (!isColumn(column)) throw malformed(name, "the column is not made of the arrays of its kind");
  checkOffsets(name, column);
  if ("offsets" in column && column.kind === "array") {
    if (column.items.valid !== undefined) throw malformed(name, "array elements can not be null");
    checkOffsets(name, column.items);
  }
  const own = "valid" in column ? column.valid : undefined;
  if (own === undefined || (valid !== undefined && valid !== null)) {
    return { name, column, valid: flagsOf(name, valid) };
  }
  const rows = columnRows(column);
  if (!(own instanceof Uint32Array) || own.length * 32 < rows) throw malformed(name, "valid has fewer bits than rows");
  const { valid: _, ...whole } = column as Column & { valid?: unknown };
  return {
    name,
    column: whole as Column,
    valid: Uint8Array.from({ length: rows }, (_, row) => Number(hasBit(own, row))),
  };
}

function flagsOf(name: string, valid: unknown): Uint8Array | undefined {
  if (valid === undefined || valid === null) return undefined;
  if (valid instanceof Uint8Array) return valid;
  if (Array.isArray(valid)) return Uint8Array.from(valid, (flag) => (flag === true ? 1 : 0));
  throw malformed(name, "valid is neither bytes nor a list of truth values");
}

/** Ascending, and within the values. */
function checkOffsets(name: string, column: Column): void {
  if (!("offsets" in column)) return;
  const { offsets } = column;
  const end = column.kind === "array" ? columnRows(column.items) : column.bytes.length;
  if (offsets.length === 0 || offsets[0] !== 0 || offsets[offsets.length - 1] !== end) {
    throw malformed(name, "the offsets do not begin at 0 or do not end where the values end");
  }
  for (let i = 1; i < offsets.length; i++) {
    if (offsets[i]! < offsets[i - 1]!) throw malformed(name, "the offsets do not ascend");
  }
}

/** @throws VdbError as batchSteps */
export function givenToBatch(
  schema: CollectionSchema,
  given: GivenColumns,
  keys?: KeyColumn,
  zone?: string,
): ColumnBatch {
  return atOnce(batchSteps(schema, given, keys, zone));
}

/**
 * In steps of some milliseconds. Outputs of functions are left out, as in rowsToColumns.
 * @param keys generated primary keys: a given column of the primary field is then ignored
 * @param zone for times without an offset; UTC when absent
 * @throws VdbError invalid_insert_data, invalid_primary_key, invalid_parameter: with row and field
 */
export function* batchSteps(
  schema: CollectionSchema,
  given: GivenColumns,
  keys?: KeyColumn,
  zone?: string,
): Steps<ColumnBatch> {
  refuseUnknown(schema, given);
  const columns: Record<number, Column> = {};
  for (const field of schema.fields) {
    if (field.isFunctionOutput === true) {
      refuseOutput(field, given);
      continue;
    }
    columns[field.fieldId] =
      field.isPrimary && keys !== undefined ? keys : yield* columnSteps(schema, field, given, zone);
  }
  return { rowCount: given.rowCount, columns };
}

/** The primary keys that the columns carry. @throws VdbError as givenToBatch */
export function givenKeys(schema: CollectionSchema, given: GivenColumns): KeyColumn {
  return columnGiven(schema, primaryField(schema), given) as KeyColumn;
}

/** The first row with a primary key; -1: none has one. */
export function firstGivenKey(schema: CollectionSchema, given: GivenColumns): number {
  const key = find(given, primaryField(schema).name);
  if (key === undefined) return -1;
  if (key.valid !== undefined) return key.valid.findIndex((flag) => flag !== 0);
  return key.column === undefined || columnRows(key.column) === 0 ? -1 : 0;
}

function find({ columns }: GivenColumns, name: string): GivenColumn | undefined {
  return columns.find((column) => column.name === name);
}

/** The complete column of a field: with defaults and nulls. @throws VdbError as givenToBatch */
export function columnGiven(schema: CollectionSchema, field: FieldSchema, given: GivenColumns, zone?: string): Column {
  return atOnce(columnSteps(schema, field, given, zone));
}

function* columnSteps(
  schema: CollectionSchema,
  field: FieldSchema,
  given: GivenColumns,
  zone: string | undefined,
): Steps<Column> {
  const column = find(given, field.name);
  return field.isDynamic
    ? yield* dynamicColumn(schema, field, column, given.rowCount)
    : yield* readColumn(field, column, given.rowCount, zone);
}

function* readColumn(
  field: FieldSchema,
  given: GivenColumn | undefined,
  rowCount: number,
  zone: string | undefined,
): Steps<Column> {
  if (given === undefined) {
    if (!field.nullable && field.defaultValue === undefined) throw absent(field, 0, undefined);
    return completed(field, undefined, new Uint32Array(0), rowCount);
  }
  const { column, rows } = withoutEmptyJson(field, presentCells(field, given, rowCount));
  if (rows !== undefined && !field.nullable && field.defaultValue === undefined) {
    throw absent(field, firstGap(rows), null);
  }
  const checked = column && (yield* checkSteps(field, column, placeOf(field, rows), zone));
  return checked !== undefined && rows === undefined
    ? checked
    : completed(field, checked, rows ?? new Uint32Array(0), rowCount);
}

function placeOf({ name }: FieldSchema, rows: Uint32Array | undefined): Place {
  return { field: name, rowAt: rows === undefined ? undefined : (cell) => rows[cell]! };
}

function firstGap(rows: Uint32Array): number {
  const at = rows.findIndex((row, i) => row !== i);
  return at < 0 ? rows.length : at;
}

/** The values of the rows that have one. */
interface Present {
  column: Column | undefined;
  /** Absent: all rows have one. */
  rows?: Uint32Array;
}

/** @throws VdbError invalid_parameter when the numbers of values and of rows do not go together */
function presentCells(field: FieldSchema, { column, valid }: GivenColumn, rowCount: number): Present {
  if (valid !== undefined && valid.length !== rowCount) {
    throw lengthsDiffer(field, `the length of valid_data of field(${field.name}) is wrong`, valid.length, rowCount);
  }
  const values = column === undefined ? undefined : withoutValidity(column);
  const given = values === undefined ? 0 : rowsFor(field, values);
  const rows = valid === undefined ? undefined : rowsWithValue(valid);
  const expected = rows?.length ?? rowCount;
  if (given !== expected && given !== rowCount) {
    const name = `the num_rows (${given}) of field (${field.name})`;
    throw lengthsDiffer(field, `${name} is not equal to passed num_rows (${expected})`, given, expected);
  }
  if (rows === undefined || expected === rowCount) return { column: values };
  if (given === expected) return { column: values, rows };
  return { column: takeColumn(values!, rows), rows };
}

/** The column itself says which rows have a value. */
function withoutValidity(column: Column): Column {
  if (!("valid" in column)) return column;
  const { valid: _, ...values } = column;
  return values as Column;
}

function rowsWithValue(valid: Uint8Array): Uint32Array {
  let count = 0;
  for (const flag of valid) if (flag !== 0) count++;
  const rows = new Uint32Array(count);
  let at = 0;
  for (let row = 0; row < valid.length; row++) if (valid[row] !== 0) rows[at++] = row;
  return rows;
}

function lengthsDiffer(field: FieldSchema, problem: string, given: number, expected: number): VdbError {
  const text = `${problem}: invalid parameter[expected=${expected}][actual=${given}]`;
  return new VdbError("invalid_parameter", text, { details: { field: field.name } });
}

/** Vectors, which must have the field's dimension. @throws VdbError invalid_insert_data */
function rowsFor(field: FieldSchema, column: Column): number {
  if (!("dimension" in column) || field.dimension === undefined) return columnRows(column);
  const { dimension } = field;
  if (column.dimension !== 0 && column.dimension !== dimension) {
    throw misshapen(
      { field: field.name },
      0,
      `expected a vector of dimension ${dimension}, got one of ${column.dimension}`,
    );
  }
  const length = column.values.length;
  const width = rowWidth({ ...column, dimension });
  if (length % width === 0) return length / width;
  const problem = `the length (${length}) of the data should divide the dim (${dimension})`;
  throw misshapen({ field: field.name }, Math.floor(length / width), problem);
}

/** Rows without a value get the default, or null. */
function completed(field: FieldSchema, column: Column | undefined, rows: Uint32Array, rowCount: number): Column {
  const omitted = columnOf(field, [{}]);
  const pick = { sources: new Uint32Array(rowCount).fill(1), rows: new Uint32Array(rowCount) };
  for (let cell = 0; cell < rows.length; cell++) {
    pick.sources[rows[cell]!] = 0;
    pick.rows[rows[cell]!] = cell;
  }
  return gatherColumn([column, omitted], omitted, pick);
}

function* dynamicColumn(
  schema: CollectionSchema,
  field: FieldSchema,
  given: GivenColumn | undefined,
  rowCount: number,
): Steps<Column> {
  const { column, rows } =
    given === undefined ? { column: undefined, rows: new Uint32Array(0) } : presentCells(field, given, rowCount);
  const texts = new Array<string>(rowCount).fill("{}");
  if (column === undefined) return jsonColumn(texts);
  const place = placeOf(field, rows);
  const names = schema.fields.map(({ name }) => name);
  const checked = withTexts(column, "{}");
  if (checked.kind !== "json") throw wrongKind(place, "JSON", checked);
  for (const piece of piecesOf(checked, place)) {
    if (isLong(checked)) yield;
    checkJson(piece.column, piece.place, (value, cell) => {
      const problem = problemOfDynamic(value, names);
      if (problem !== undefined) throw misshapen(piece.place, cell, problem);
    });
  }
  if (rows === undefined) return checked;
  const read = textReader(checked);
  for (let cell = 0; cell < rows.length; cell++) texts[rows[cell]!] = read(cell);
  return jsonColumn(texts);
}

function problemOfDynamic(value: unknown, names: readonly string[]): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return "invalid dynamic field data, only json map is supported";
  }
  const taken = names.find((name) => Object.hasOwn(value, name));
  if (taken === undefined) return undefined;
  if (taken === DYNAMIC_FIELD) return `cannot set json key to: ${taken}`;
  return `dynamic field name cannot include the static field name: ${taken}`;
}

function jsonColumn(texts: readonly string[]): BytesColumn {
  return { ...varcharColumn(texts), kind: "json" };
}

/** Some clients write a null as no bytes: such cells count as null, if the field may be null. */
function withoutEmptyJson(field: FieldSchema, present: Present): Present {
  const { column, rows } = present;
  if (field.type !== "JSON" || column?.kind !== "json") return present;
  if (!field.nullable) return { ...present, column: withTexts(column, "null") };
  const kept = fullCells(column);
  if (kept.length === columnRows(column)) return present;
  return { column: takeColumn(column, kept), rows: kept.map((cell) => rows?.[cell] ?? cell) };
}

function fullCells({ offsets }: BytesColumn): Uint32Array {
  const cells = Uint32Array.from({ length: offsets.length - 1 }, (_, cell) => cell);
  return cells.filter((cell) => offsets[cell + 1]! > offsets[cell]!);
}

/** @param text for cells without bytes */
function withTexts(column: Column, text: string): Column {
  if (column.kind !== "json") return column;
  const rows = columnRows(column);
  if (fullCells(column).length === rows) return column;
  const read = textReader(column);
  return jsonColumn(Array.from({ length: rows }, (_, row) => read(row) || text));
}

function refuseOutput({ name }: FieldSchema, given: GivenColumns): void {
  if (find(given, name) === undefined) return;
  throw new VdbError("invalid_parameter", `not allowed to provide input data for function output field: ${name}`, {
    details: { field: name },
  });
}

/** @throws VdbError invalid_insert_data */
export function refuseUnknown(schema: CollectionSchema, { columns }: GivenColumns): void {
  const names = new Set(schema.fields.map(({ name }) => name));
  for (const { name } of columns) {
    if (names.has(name)) continue;
    const problem =
      name === DYNAMIC_FIELD
        ? `without dynamic schema enabled, the field name cannot be set to ${name}`
        : "the schema has no such field, and a column cannot be kept in the dynamic one";
    throw malformed(name, problem);
  }
}
