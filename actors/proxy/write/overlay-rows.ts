/**
 * Partial rows laid over those that there are, field by field: a field that the rows give takes the place of the old one
 * (or changes its list), one that they do not give stays. Dynamic keys are fields of their own in that.
 */
import { VdbError } from "../../../runtime/errors.ts";
import { parseJson, toJson } from "../../../runtime/protocol/public-codec.ts";
import { misshapen } from "../../../runtime/rows/bad-cell.ts";
import { fillJson } from "../../../runtime/rows/fill-column.ts";
import {
  absent,
  columnOf,
  dynamicColumn,
  has,
  type Row,
  refuseOutput,
  refuseUnknown,
} from "../../../runtime/rows/rows-to-columns.ts";
import { type CollectionSchema, type FieldSchema, fieldByName } from "../../../runtime/schema.ts";
import { hasBit } from "../../../runtime/segment/bitset.ts";
import type { BytesColumn, Column, ColumnBatch } from "../../../runtime/segment/column.ts";
import { gatherColumn, takeColumn } from "../../../runtime/segment/gather.ts";
import { cellReader } from "../columns-to-rows.ts";

export const FIELD_OPS = ["REPLACE", "ARRAY_APPEND", "ARRAY_REMOVE"] as const;
export type FieldOp = (typeof FIELD_OPS)[number];

/** The rows that there are. */
export interface ExistingRows {
  batch: ColumnBatch;
  /** Of each partial row, its row of the batch; -1: there is none, so it must be complete. */
  rows: Int32Array;
}

export interface Overlay {
  rows: readonly Row[];
  /** By field name; REPLACE where there is none. */
  ops: ReadonlyMap<string, FieldOp>;
  /** Of times that name none. */
  zone?: string | undefined;
}

/** Ids of the fields whose old values an overlay needs. */
export function fieldsToRead(schema: CollectionSchema, { rows, ops }: Overlay): number[] {
  const isReplaced = ({ name }: FieldSchema) => (ops.get(name) ?? "REPLACE") === "REPLACE" && isGiven(name, rows);
  return schema.fields
    .filter((field) => !field.isPrimary && field.isFunctionOutput !== true && (field.isDynamic || !isReplaced(field)))
    .map(({ fieldId }) => fieldId);
}

/**
 * The columns of all fields but the primary one and those that functions make.
 * @throws VdbError as rowsToColumns, and invalid_parameter for operations that do not fit their field
 */
export function overlayRows(schema: CollectionSchema, overlay: Overlay, existing: ExistingRows): ColumnBatch {
  const { rows, ops, zone } = overlay;
  checkOps(schema, overlay);
  const columns: Record<number, Column> = {};
  for (const field of schema.fields) {
    if (field.isPrimary) continue;
    const old = existing.batch.columns[field.fieldId];
    if (field.isFunctionOutput === true) refuseOutput(field, rows);
    else if (field.isDynamic) columns[field.fieldId] = mergeDynamic(schema, field, rows, { old, existing });
    else if (!isGiven(field.name, rows)) columns[field.fieldId] = keep(field, rows, { old, existing });
    else {
      requireInAll(field.name, rows);
      const op = ops.get(field.name) ?? "REPLACE";
      columns[field.fieldId] =
        op === "REPLACE" ? columnOf(field, rows, zone) : changeArrays(field, rows, op, { old, existing });
    }
  }
  if (!schema.fields.some(({ isDynamic }) => isDynamic)) refuseUnknown(schema, rows);
  return { rowCount: rows.length, columns };
}

interface Old {
  /** Undefined: the rows were written before the field was added. */
  old: Column | undefined;
  existing: ExistingRows;
}

function isGiven(name: string, rows: readonly Row[]): boolean {
  return rows.some((row) => has(row, name));
}

function requireInAll(name: string, rows: readonly Row[]): void {
  const row = rows.findIndex((candidate) => !has(candidate, name));
  if (row >= 0) throw misshapen({ field: name }, row, "rows of a partial update must all give the same fields");
}

function checkOps(schema: CollectionSchema, { rows, ops }: Overlay): void {
  for (const [name, op] of ops) {
    const field = fieldByName(schema, name);
    const refuse = (problem: string) => new VdbError("invalid_parameter", `fieldOps: field ${name}: ${problem}`);
    if (field === undefined) throw refuse("the schema has no such field");
    if (!field.isPrimary && !isGiven(name, rows)) throw refuse("the rows do not give it");
    if (op !== "REPLACE" && field.type !== "Array") throw refuse(`${op} is for arrays, it is of type ${field.type}`);
  }
}

/** Old values where there are some, else what a row gets that leaves the field out. */
function keep(field: FieldSchema, rows: readonly Row[], { old, existing }: Old): Column {
  const isNew = (row: number) => existing.rows[row]! < 0;
  const missing = rows.findIndex((_, row) => isNew(row));
  if (missing >= 0 && !field.nullable && field.defaultValue === undefined) throw absent(field, missing, undefined);
  if (missing < 0 && old !== undefined) return takeOld(old, existing);
  const omitted = columnOf(field, [{}]);
  if (old === undefined)
    return gatherColumn(
      [omitted],
      omitted,
      pick(rows, () => [0, 0]),
    );
  return gatherColumn(
    [old, omitted],
    omitted,
    pick(rows, (row) => (isNew(row) ? [1, 0] : [0, existing.rows[row]!])),
  );
}

function takeOld(old: Column, { rows }: ExistingRows): Column {
  return takeColumn(old, Uint32Array.from(rows));
}

function pick(rows: readonly Row[], place: (row: number) => [source: number, row: number]) {
  const places = rows.map((_, row) => place(row));
  return {
    sources: Uint32Array.from(places, ([source]) => source),
    rows: Uint32Array.from(places, ([, row]) => row),
  };
}

function changeArrays(
  field: FieldSchema,
  rows: readonly Row[],
  op: "ARRAY_APPEND" | "ARRAY_REMOVE",
  { old, existing }: Old,
): Column {
  // Read back from a column, values compare as they are kept.
  const given = columnOf({ ...field, nullable: true }, rows);
  const readGiven = listReader(given);
  const readOld = old === undefined ? () => null : listReader(old);
  const cells = rows.map((_, row) => {
    const at = existing.rows[row]!;
    const before = at < 0 ? [] : readOld(at);
    const change = readGiven(row) ?? [];
    if (op === "ARRAY_APPEND") return before === null && change.length === 0 ? null : [...(before ?? []), ...change];
    const removed = new Set(change);
    return before?.filter((item) => !removed.has(item)) ?? null;
  });
  // A null that stays comes of a row that has it.
  return columnOf(
    { ...field, nullable: true },
    cells.map((cell) => ({ [field.name]: cell })),
  );
}

function listReader(column: Column): (row: number) => unknown[] | null {
  const read = cellReader(column);
  const valid = "valid" in column ? column.valid : undefined;
  return (row) => (valid !== undefined && !hasBit(valid, row) ? null : (read(row) as unknown[]));
}

function mergeDynamic(
  schema: CollectionSchema,
  field: FieldSchema,
  rows: readonly Row[],
  { old, existing }: Old,
): Column {
  const added = dynamicColumn(schema, field, rows) as BytesColumn;
  const readAdded = cellReader(added) as (row: number) => string;
  const readOld = old === undefined ? () => "{}" : (cellReader(old) as (row: number) => string);
  const cells = rows.map((_, row) => {
    const at = existing.rows[row]!;
    const before = at < 0 ? "{}" : readOld(at);
    const more = readAdded(row);
    if (more === "{}") return before === "" ? "{}" : before;
    if (before === "{}" || before === "") return more;
    return toJson({ ...(parseJson(before) as object), ...(parseJson(more) as object) });
  });
  return fillJson(cells, { field: field.name }, (cell) => cell as string);
}
