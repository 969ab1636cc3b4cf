/** The small messages of requests: keys and values, ids, query vectors, values of filters. */
import { VdbError } from "../../../../runtime/errors.ts";
import { parseJson } from "../../../../runtime/protocol/public-codec.ts";
import type { ScalarColumn } from "../../../../runtime/segment/column.ts";
import { columnRows } from "../../../../runtime/segment/gather.ts";
import { normalInt64 } from "../../../../runtime/segment/keys.ts";
import { textReader } from "../../../../runtime/segment/text-reader.ts";
import { QUERIES_MAX, wrongQueryCount } from "../../query-vectors.ts";
import { FIELDS, FIXED64, PLACEHOLDER_TEXT } from "./numbers.ts";
import {
  decodeWith,
  enter,
  type Reader,
  readBytes,
  readEntry,
  readFields,
  readFlag,
  readInt64,
  readInteger,
  readText,
} from "./reader.ts";
import { BytesList, doubleList, IntegerList, type ValueList } from "./value-lists.ts";

/** Adds a KeyValuePair to a record. Both sides are text. */
export function readPair(reader: Reader, wireType: number, into: Record<string, string>): void {
  const F = FIELDS.KeyValuePair;
  let key = "";
  let value = "";
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.key) key = readText(reader, type);
    else if (field === F.value) value = readText(reader, type);
  });
  into[key] = value;
}

/** IDs, or any other list of a known kind, as values one by one. */
export function readIds(reader: Reader, wireType: number): (string | number | bigint)[] {
  const F = FIELDS.IDs;
  let ids: (string | number | bigint)[] = [];
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.intId) ids = readValues(reader, type, new IntegerList("int64")) as (number | bigint)[];
    else if (field === F.strId) ids = readValues(reader, type, new BytesList("varchar", 0)) as string[];
  });
  return ids;
}

function readValues(reader: Reader, wireType: number, list: ValueList): unknown[] {
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === FIELDS.List.data) list.read(reader, type);
  });
  return valuesOf(list.take());
}

function valuesOf(column: ScalarColumn): unknown[] {
  if (column.kind === "int64") return Array.from(column.values, normalInt64);
  if (column.kind === "bool") return Array.from(column.values, (value) => value === 1);
  if ("values" in column) return Array.from(column.values);
  const read = textReader(column);
  return Array.from({ length: columnRows(column) }, (_, row) => read(row));
}

/** The value of a filter's placeholder. */
export function readTemplateValue(reader: Reader, wireType: number): unknown {
  const F = FIELDS.TemplateValue;
  let value: unknown;
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.boolVal) value = readFlag(reader, type);
    else if (field === F.int64Val) value = readInt64(reader, type);
    else if (field === F.floatVal) value = readDouble(reader, type);
    else if (field === F.stringVal) value = readText(reader, type);
    else if (field === F.arrayVal) value = readTemplateArray(reader, type);
  });
  return value;
}

function readDouble(reader: Reader, wireType: number): number {
  if (wireType !== FIXED64) throw new RangeError(`invalid wire type ${wireType} at offset ${reader.pos}`);
  return reader.double();
}

function readTemplateArray(reader: Reader, wireType: number): unknown[] {
  const F = FIELDS.TemplateArrayValue;
  let values: unknown[] = [];
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.boolData) values = readValues(reader, type, new IntegerList("bool"));
    else if (field === F.longData) values = readValues(reader, type, new IntegerList("int64"));
    else if (field === F.doubleData) values = readValues(reader, type, doubleList());
    else if (field === F.stringData) values = readValues(reader, type, new BytesList("varchar", 0));
    else if (field === F.arrayData) values = readNestedArrays(reader, type);
    else if (field === F.jsonData) values = readJsonValues(reader, type);
  });
  return values;
}

function readNestedArrays(reader: Reader, wireType: number): unknown[] {
  const lists: unknown[] = [];
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === FIELDS.TemplateArrayValueArray.data) lists.push(readTemplateArray(reader, type));
  });
  return lists;
}

function readJsonValues(reader: Reader, wireType: number): unknown[] {
  return readValues(reader, wireType, new BytesList("json", 0)).map((text) => {
    try {
      return parseJson(text as string);
    } catch {
      throw new VdbError("invalid_parameter", `an expression template value is no JSON: ${String(text).slice(0, 60)}`);
    }
  });
}

/** `expr_template_values`: one entry of the map. */
export function readTemplate(reader: Reader, wireType: number, into: Record<string, unknown>): void {
  const { key, value } = readEntry(reader, wireType, readTemplateValue);
  into[key] = value;
}

/** Of the types of placeholders, which are those of vectors. */
const FLOAT_VECTOR = 101;
const SPARSE_VECTOR = 104;
const VECTORS = { first: 100, last: 105 };

/**
 * The queries of a search, in a form that `data` takes: a vector of numbers as a Float32Array, any other as its bytes, a
 * text as a string.
 * @throws VdbError invalid_parameter
 */
export function readPlaceholders(bytes: Uint8Array): unknown[] {
  return decodeWith(bytes, "PlaceholderGroup", (reader) => {
    const queries: unknown[] = [];
    let groups = 0;
    readFields(reader, reader.len, (field, type) => {
      if (field !== FIELDS.PlaceholderGroup.placeholders) return;
      if (groups++ > 0) throw new VdbError("invalid_parameter", "a search has one placeholder");
      readPlaceholder(reader, type, queries);
    });
    return queries;
  });
}

function readPlaceholder(reader: Reader, wireType: number, into: unknown[]): void {
  const F = FIELDS.PlaceholderValue;
  const values: Uint8Array[] = [];
  let kind = 0;
  let count = 0;
  readFields(reader, enter(reader, wireType), (field, type) => {
    if (field === F.type) kind = readInteger(reader, type);
    // Millions of empty ones fit into a message: beyond the bound they are counted, and no more.
    else if (field === F.values && ++count <= QUERIES_MAX) values.push(readBytes(reader, type));
  });
  if (count > QUERIES_MAX) throw wrongQueryCount(count);
  const isKnown = kind === PLACEHOLDER_TEXT || (kind >= VECTORS.first && kind <= VECTORS.last);
  if (!isKnown) throw new VdbError("invalid_parameter", `placeholder type ${kind} is not supported`);
  for (const value of values) into.push(queryOf(kind, value));
}

function queryOf(kind: number, value: Uint8Array): unknown {
  if (kind === PLACEHOLDER_TEXT) return Buffer.from(value).toString("utf8");
  if (kind !== FLOAT_VECTOR) return kind === SPARSE_VECTOR ? value.slice() : value;
  if (value.length % 4 !== 0) {
    throw new VdbError("invalid_parameter", `a query of ${value.length} bytes is no vector of float32 numbers`);
  }
  return new Float32Array(value.slice().buffer);
}
