/**
 * Rows of CSV, the first record being the names. A cell is text; its field says what it means: numbers and booleans are
 * read as such, vectors, arrays and objects as JSON. Cells beyond the schema are JSON where they can be, else text.
 */
import { Readable } from "node:stream";
import { parse } from "csv-parse";
import { errorMessage, isVdbError } from "../errors.ts";
import type { ImportOptions } from "../protocol/catalog.ts";
import { parseJson } from "../protocol/public-codec.ts";
import { DYNAMIC_FIELD, type FieldSchema } from "../schema.ts";
import { endOfList, readFloats, skipSpace } from "./float-list.ts";
import { importFailed } from "./names.ts";
import { openText } from "./read-json.ts";
import { BATCH_ROWS, type FieldsByName, type ImportRow, type RowSource } from "./row-source.ts";

/** No row that a cluster takes is longer: a quote that is never closed must not fill memory. */
const RECORD_CHARS_MAX = 64 << 20;

export function readCsv(path: string, fields: FieldsByName, { separator, nullText }: ImportOptions): RowSource {
  const file = openText(path);
  const parser = parse({
    delimiter: separator,
    bom: true,
    skip_empty_lines: true,
    relax_column_count: true,
    max_record_size: RECORD_CHARS_MAX,
  });
  const source = Readable.from(file.chunks, { objectMode: true, highWaterMark: 1 });
  return {
    fraction: file.fraction,
    async close() {
      source.destroy();
      parser.destroy();
      await file.close();
    },
    async *batches() {
      source.on("error", (error) => parser.destroy(error));
      source.pipe(parser);
      let names: string[] | undefined;
      let rows: ImportRow[] = [];
      let count = 0;
      try {
        for await (const record of parser as AsyncIterable<string[]>) {
          if (names === undefined) names = namesOf(record);
          else rows.push(rowOf(record, names, fields, nullText, count++));
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

function namesOf(record: string[]): string[] {
  const repeated = record.find((name, i) => record.indexOf(name) !== i);
  if (repeated !== undefined) throw importFailed(`the header names ${repeated} twice`);
  return record;
}

function rowOf(record: string[], names: string[], fields: FieldsByName, nullText: string, row: number): ImportRow {
  if (record.length !== names.length)
    throw importFailed(`row ${row}: has ${record.length} cells, the header has ${names.length}`);
  const result: ImportRow = {};
  for (const [i, name] of names.entries()) {
    const text = record[i]!;
    const field = fields.get(name);
    if (field === undefined) {
      if (text !== nullText) result[name] = name === DYNAMIC_FIELD ? text : looseValue(text);
      continue;
    }
    const mayBeNull = field.nullable || field.defaultValue !== undefined;
    result[name] = mayBeNull && text === nullText ? null : cellOf(text, field);
  }
  return result;
}

/** What cannot be read as its field wants it stays text: the check of all rows then says what is wrong with it. */
function cellOf(text: string, { type, dimension }: FieldSchema): unknown {
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
    case "FloatVector":
      return vectorOf(text, dimension ?? 0);
    default:
      // Arrays, vectors; base64 of a vector's bytes stays text.
      return /^\s*[[{]/.test(text) ? jsonOr(text) : text;
  }
}

function vectorOf(text: string, dimension: number): unknown {
  const bytes = Buffer.from(text);
  const values = readFloats(bytes, 0, dimension);
  if (values !== null && skipSpace(bytes, endOfList()) === bytes.length) return values;
  return /^\s*\[/.test(text) ? jsonOr(text) : text;
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
