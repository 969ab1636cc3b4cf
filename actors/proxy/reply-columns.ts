/**
 * The rows of a reply as columns, for clients that ask for `resultFormat: "columns"`: what columns-to-rows.ts shows row by
 * row, in typed arrays. The primary key comes first. A time is ISO 8601 text, as in rows; dynamic keys are one column of
 * JSON objects, with the keys asked for. Columns of no rows have their types too.
 */
import { parseJson, toJson } from "../../runtime/protocol/public-codec.ts";
import { fillColumn, fillJson } from "../../runtime/rows/fill-column.ts";
import { nativeJsonText } from "../../runtime/rows/json-text.ts";
import { columnOf } from "../../runtime/rows/rows-to-columns.ts";
import type { FieldSchema, FieldType } from "../../runtime/schema.ts";
import { hasBit, newBitset, setBit } from "../../runtime/segment/bitset.ts";
import type { BytesColumn, Column, ColumnBatch, Int64Column } from "../../runtime/segment/column.ts";
import { columnRows, takeColumn } from "../../runtime/segment/gather.ts";
import { type KeyColumn, varcharColumn } from "../../runtime/segment/keys.ts";
import { textReader } from "../../runtime/segment/text-reader.ts";
import { formatTimestamptz } from "../../runtime/timestamptz.ts";
import type { ResultRow } from "./columns-to-rows.ts";
import type { OutputFields } from "./output-fields.ts";

export interface ReplyColumn {
  name: string;
  /** 0: of no field, but computed. */
  fieldId: number;
  type: FieldType;
  elementType?: FieldType | undefined;
  isPrimary?: true;
  isDynamic?: true;
  /** One value a row; of a Timestamptz text. */
  column: Column;
}

export interface ReplyColumns {
  rowCount: number;
  columns: ReplyColumn[];
}

/** Rows of a reply, in the form that the request asks for. */
export type ReplyRows = ResultRow[] | ReplyColumns;

/** As columnsToRows: the primary key from `keys`, the other fields from the batch. */
export function columnsToReply(keys: KeyColumn, batch: ColumnBatch, output: OutputFields): ReplyColumns {
  const { rowCount } = batch;
  const zone = output.shape?.zone ?? "UTC";
  const columns = output.fields.map((field): ReplyColumn => {
    const column = field.isPrimary ? keys : (batch.columns[field.fieldId] ?? absentColumn(field, rowCount));
    return replyColumn(field, field.type === "Timestamptz" ? timesAsText(column as Int64Column, zone) : column);
  });
  const { dynamicField, dynamicKeys } = output;
  if (dynamicField !== undefined) {
    const column = pickKeys(batch.columns[dynamicField.fieldId] as BytesColumn | undefined, dynamicKeys, rowCount);
    columns.push({ ...replyColumn(dynamicField, column), isDynamic: true });
  }
  return { rowCount, columns };
}

function replyColumn({ name, fieldId, type, elementType, isPrimary }: FieldSchema, column: Column): ReplyColumn {
  return {
    ...{ name, fieldId, type, column },
    ...(elementType === undefined ? {} : { elementType }),
    ...(isPrimary ? { isPrimary } : {}),
  };
}

/** A column of values that rows would have, of a type of its own: null where there is none. */
export function computedColumn(name: string, type: FieldType, values: readonly unknown[]): ReplyColumn {
  const field: FieldSchema = {
    ...{ fieldId: 0, name, type, description: "", isPrimary: false, nullable: true, isDynamic: false },
    maxLength: Number.POSITIVE_INFINITY,
  };
  const cells = values.map((value) => value ?? null);
  // A text is itself, also where it could be read as JSON.
  const column = type === "JSON" ? fillJson(cells, { field: name }, nativeJsonText) : fillColumn(field, cells);
  return replyColumn(
    field,
    values.some((value) => value === null) ? ({ ...column, valid: validOf(values) } as Column) : column,
  );
}

function validOf(values: readonly unknown[]): Uint32Array {
  const valid = newBitset(values.length);
  values.forEach((value, row) => {
    if (value !== null) setBit(valid, row);
  });
  return valid;
}

/** Segments from before a field was added have no column of it: their rows have the default, or null. */
function absentColumn(field: FieldSchema, rowCount: number): Column {
  if (rowCount === 0) return fillColumn(field, []);
  const omitted = columnOf({ ...field, nullable: true }, [{}]);
  return takeColumn(omitted, new Uint32Array(rowCount));
}

function timesAsText({ values, valid }: Int64Column, zone: string): BytesColumn {
  const isThere = (row: number) => valid === undefined || hasBit(valid, row);
  const texts = Array.from(values, (value, row) => (isThere(row) ? formatTimestamptz(value, zone) : ""));
  return valid === undefined ? varcharColumn(texts) : { ...varcharColumn(texts), valid };
}

/** @param keys null: all */
function pickKeys(column: BytesColumn | undefined, keys: readonly string[] | null, rowCount: number): BytesColumn {
  if (column === undefined) return jsonColumn(new Array<string>(rowCount).fill("{}"));
  const { valid: _, ...values } = column;
  if (keys === null && isFull(column)) return values;
  const read = textReader(column);
  return jsonColumn(
    Array.from({ length: columnRows(column) }, (_, row) => {
      const text = read(row) || "{}";
      if (keys === null || text === "{}") return text;
      const given = parseJson(text) as ResultRow;
      return toJson(
        Object.fromEntries(keys.filter((key) => Object.hasOwn(given, key)).map((key) => [key, given[key]])),
      );
    }),
  );
}

function isFull({ offsets }: BytesColumn): boolean {
  for (let row = 1; row < offsets.length; row++) if (offsets[row] === offsets[row - 1]) return false;
  return true;
}

function jsonColumn(texts: readonly string[]): BytesColumn {
  return { ...varcharColumn(texts), kind: "json" };
}
