/**
 * Rows of CSV, the first record being the names. A cell is text; its field says what it means: numbers and booleans are
 * read as such, vectors, arrays and objects as JSON. Cells beyond the schema are JSON where they can be, else text.
 */
import { errorMessage, isVdbError } from "../errors.ts";
import type { ImportOptions } from "../protocol/catalog.ts";
import { parseJson } from "../protocol/public-codec.ts";
import { DYNAMIC_FIELD, type FieldSchema } from "../schema.ts";
import { endOfList, readFloats, skipSpace } from "./float-list.ts";
import { importFailed } from "./names.ts";
import { openText } from "./read-json.ts";
import { BATCH_ROWS, type FieldsByName, type ImportRow, type RowSource } from "./row-source.ts";
import { splitCsv } from "./split-csv.ts";

interface NamedColumn {
  name: string;
  field: FieldSchema | undefined;
}

export function readCsv(path: string, fields: FieldsByName, { separator, nullText }: ImportOptions): RowSource {
  const file = openText(path);
  return {
    fraction: file.fraction,
    close: file.close,
    async *batches() {
      let columns: NamedColumn[] | undefined;
      let rows: ImportRow[] = [];
      let count = 0;
      try {
        for await (const record of splitCsv(file.chunks, separator)) {
          if (columns === undefined) columns = namesOf(record).map((name) => ({ name, field: fields.get(name) }));
          else rows.push(rowOf(record, columns, nullText, count++));
          if (rows.length < BATCH_ROWS) continue;
          yield rows;
          rows = [];
        }
      } catch (error) {
        if (isVdbError(error)) throw error;
        throw importFailed(`row ${count}: ${errorMessage(error)}`, error);
      }
      if (rows.length > 0) yield rows;
    },
  };
}

function namesOf(record: Buffer[]): string[] {
  const names = record.map(String);
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw importFailed(`the header names ${repeated} twice`);
  return names;
}

function rowOf(record: Buffer[], columns: readonly NamedColumn[], nullText: string, row: number): ImportRow {
  if (record.length !== columns.length)
    throw importFailed(`row ${row}: has ${record.length} cells, the header has ${columns.length}`);
  const result: ImportRow = {};
  for (let i = 0; i < columns.length; i++) {
    const { name, field } = columns[i]!;
    const bytes = record[i]!;
    const vector = field?.type === "FloatVector" ? vectorOf(bytes, field.dimension ?? 0) : null;
    if (vector !== null) {
      result[name] = vector;
      continue;
    }
    const text = bytes.toString("utf8");
    if (field === undefined) {
      if (text !== nullText) result[name] = name === DYNAMIC_FIELD ? text : looseValue(text);
      continue;
    }
    const mayBeNull = field.nullable || field.defaultValue !== undefined;
    result[name] = mayBeNull && text === nullText ? null : cellOf(text, field);
  }
  return result;
}

/** A cell that cannot be read as its field requires stays text: the check of all rows then says what is wrong with it. */
function cellOf(text: string, { type }: FieldSchema): unknown {
  switch (type) {
    case "Bool": {
      const word = text.trim().toLowerCase();
      return word === "true" || word === "1" ? true : word === "false" || word === "0" ? false : text;
    }
    case "Int8":
    case "Int16":
    case "Int32":
      return /^\s*[+-]?\d{1,15}\s*$/.test(text) ? Number(text) : text;
    case "Int64":
      return text.trim();
    case "Float":
    case "Double":
      return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
    case "VarChar":
    case "JSON":
    case "Timestamptz":
      return text;
    default:
      // Arrays, vectors; base64 of a vector's bytes stays text.
      return /^\s*[[{]/.test(text) ? jsonOr(text) : text;
  }
}

/** Null unless it is plainly the list that the field requires. */
function vectorOf(bytes: Buffer, dimension: number): Float32Array | null {
  const values = readFloats(bytes, 0, dimension);
  return values !== null && skipSpace(bytes, endOfList()) === bytes.length ? values : null;
}

function looseValue(text: string): unknown {
  return /^\s*([[{"\d-]|true|false|null)/.test(text) ? jsonOr(text) : text;
}

function jsonOr(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return text;
  }
}
