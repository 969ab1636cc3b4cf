/** The small messages of requests: keys and values, ids, query vectors, values of filters. */
import { VdbError } from "../../../../runtime/errors.ts";
import { parseJson } from "../../../../runtime/protocol/public-codec.ts";
import { VECTOR_TYPES, type VectorType } from "../../../../runtime/schema.ts";
import type { ScalarColumn } from "../../../../runtime/segment/column.ts";
import { columnRows } from "../../../../runtime/segment/gather.ts";
import { normalInt64 } from "../../../../runtime/segment/keys.ts";
import { textReader } from "../../../../runtime/segment/text-reader.ts";
import type { Steps } from "../../../../runtime/steps.ts";
import { QUERIES_MAX, wrongQueryCount } from "../../search/query-vectors.ts";
import { DATA_TYPES, FIELDS, FIXED64, PLACEHOLDER_TEXT } from "./numbers.ts";
import {
  COPY_BYTES,
  decodeWith,
  enter,
  type Reader,
  readBytes,
  readEntry,
  readFields,
  readFieldsInSteps,
  readFlag,
  readInt64,
  readInteger,
  readText,
  STEP_BYTES,
} from "./reader.ts";
import { type Bound, BytesList, doubleList, IntegerList, type ValueList } from "./value-lists.ts";

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

type Id = string | number | bigint;

/** IDs as values one by one. */
export function* readIds(reader: Reader, wireType: number): Steps<Id[]> {
  const F = FIELDS.IDs;
  const bound = valuesBound();
  let ids: Id[] = [];
  function* readAs(type: number, list: ValueList): Steps {
    ids = (yield* readValues(reader, type, list)) as Id[];
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) => {
    if (field === F.intId) return readAs(type, new IntegerList("int64", bound));
    if (field === F.strId) return readAs(type, new BytesList("varchar", 0, bound));
    return undefined;
  });
  return ids;
}

/** Of ids and of a filter's values, which are kept one by one. */
const VALUES_MAX = 2 ** 21;

/** The lists that it is given to stop there, before they have room for more. */
function valuesBound(): Bound {
  return {
    max: VALUES_MAX,
    field: "",
    refusal: () => new RangeError(`a list has more than ${VALUES_MAX} values`),
  };
}

/** Any list of a known kind, which has its bound. */
function* readValues(reader: Reader, wireType: number, list: ValueList): Steps<unknown[]> {
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) =>
    field === FIELDS.List.data ? list.read(reader, type) : undefined,
  );
  const column = list.take();
  const read = valueReader(column);
  const count = columnRows(column);
  const values: unknown[] = [];
  for (let row = 0; row < count; row++) {
    values.push(read(row));
    if (values.length % STEP_BYTES === 0) yield;
  }
  return values;
}

function valueReader(column: ScalarColumn): (row: number) => unknown {
  if (column.kind === "int64") return (row) => normalInt64(column.values[row]!);
  if (column.kind === "bool") return (row) => column.values[row] === 1;
  return "values" in column ? (row) => column.values[row] : textReader(column);
}

/** Deeper ones are no filter's. */
const NESTING_MAX = 16;

/** The value of a filter's placeholder. */
function* readTemplateValue(reader: Reader, wireType: number): Steps<unknown> {
  const F = FIELDS.TemplateValue;
  let value: unknown;
  function* readArray(type: number): Steps {
    value = yield* readTemplateArray(reader, type, valuesBound(), 1);
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) => {
    if (field === F.boolVal) value = readFlag(reader, type);
    else if (field === F.int64Val) value = readInt64(reader, type);
    else if (field === F.floatVal) value = readDouble(reader, type);
    else if (field === F.stringVal) value = readText(reader, type);
    else if (field === F.arrayVal) return readArray(type);
    return undefined;
  });
  return value;
}

function readDouble(reader: Reader, wireType: number): number {
  if (wireType !== FIXED64) throw new RangeError(`invalid wire type ${wireType} at offset ${reader.pos}`);
  return reader.double();
}

/** @param bound of all the lists in it together */
function* readTemplateArray(reader: Reader, wireType: number, bound: Bound, depth: number): Steps<unknown[]> {
  if (depth > NESTING_MAX) throw new RangeError(`lists are nested deeper than ${NESTING_MAX} levels`);
  const F = FIELDS.TemplateArrayValue;
  let values: unknown[] = [];
  function* keep(read: Steps<unknown[]>): Steps {
    values = yield* read;
    bound.max -= values.length;
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) => {
    if (field === F.boolData) return keep(readValues(reader, type, new IntegerList("bool", bound)));
    if (field === F.longData) return keep(readValues(reader, type, new IntegerList("int64", bound)));
    if (field === F.doubleData) return keep(readValues(reader, type, doubleList(bound)));
    if (field === F.stringData) return keep(readValues(reader, type, new BytesList("varchar", 0, bound)));
    if (field === F.arrayData) return keep(readNestedArrays(reader, type, bound, depth));
    if (field === F.jsonData) return keep(readJsonValues(reader, type, bound));
    return undefined;
  });
  return values;
}

function* readNestedArrays(reader: Reader, wireType: number, bound: Bound, depth: number): Steps<unknown[]> {
  const lists: unknown[] = [];
  function* readOne(type: number): Steps {
    if (lists.length >= bound.max) throw bound.refusal!();
    lists.push(yield* readTemplateArray(reader, type, bound, depth + 1));
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) =>
    field === FIELDS.TemplateArrayValueArray.data ? readOne(type) : undefined,
  );
  return lists;
}

function* readJsonValues(reader: Reader, wireType: number, bound: Bound): Steps<unknown[]> {
  const texts = (yield* readValues(reader, wireType, new BytesList("json", 0, bound))) as string[];
  const values: unknown[] = [];
  let bytes = 0;
  for (const text of texts) {
    values.push(jsonValue(text));
    bytes += text.length + 1;
    if (bytes < STEP_BYTES) continue;
    yield;
    bytes = 0;
  }
  return values;
}

function jsonValue(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    throw new VdbError("invalid_parameter", `an expression template value is no JSON: ${text.slice(0, 60)}`);
  }
}

/** `expr_template_values`: one entry of the map. */
export function* readTemplate(reader: Reader, wireType: number, into: Record<string, unknown>): Steps {
  const { key, value } = yield* readEntry(reader, wireType, readTemplateValue);
  into[key] = value;
}

/** Of the types of placeholders, which are those of vectors. */
const VECTOR_TYPE_OF = new Map(VECTOR_TYPES.map((type) => [DATA_TYPES[type], type]));

/** What a search looks for. */
export interface Queries {
  /** A vector of numbers as a Float32Array, any other as its bytes, a text as a string. */
  values: unknown[];
  /** What they are said to be; undefined: texts. */
  type: VectorType | undefined;
}

/**
 * The queries of a search, in a form that `data` takes.
 * @throws VdbError invalid_parameter
 */
export function readPlaceholders(bytes: Uint8Array): Steps<Queries> {
  return decodeWith(bytes, "PlaceholderGroup", function* (reader) {
    let queries: Queries = { values: [], type: undefined };
    let groups = 0;
    function* readOne(type: number): Steps {
      if (groups++ > 0) throw new VdbError("invalid_parameter", "a search has one placeholder");
      queries = yield* readPlaceholder(reader, type);
    }
    yield* readFieldsInSteps(reader, reader.len, (field, type) =>
      field === FIELDS.PlaceholderGroup.placeholders ? readOne(type) : undefined,
    );
    return queries;
  });
}

function* readPlaceholder(reader: Reader, wireType: number): Steps<Queries> {
  const F = FIELDS.PlaceholderValue;
  const given: Uint8Array[] = [];
  let kind = 0;
  let count = 0;
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) => {
    if (field === F.type) kind = readInteger(reader, type);
    // Millions of empty ones fit into a message: beyond the bound they are counted, and no more.
    else if (field === F.values && ++count <= QUERIES_MAX) given.push(readBytes(reader, type));
    return undefined;
  });
  if (count > QUERIES_MAX) throw wrongQueryCount(count);
  const type = VECTOR_TYPE_OF.get(kind);
  if (type === undefined && kind !== PLACEHOLDER_TEXT) {
    throw new VdbError("invalid_parameter", `placeholder type ${kind} is not supported`);
  }
  const values: unknown[] = [];
  let copied = 0;
  for (const value of given) {
    values.push(queryOf(type, value));
    copied += value.length;
    if (copied < COPY_BYTES) continue;
    yield;
    copied = 0;
  }
  return { values, type };
}

function queryOf(type: VectorType | undefined, value: Uint8Array): unknown {
  if (type === undefined) return Buffer.from(value).toString("utf8");
  if (type === "SparseFloatVector") return sparseQuery(value);
  if (type !== "FloatVector") return value;
  if (value.length % 4 !== 0) {
    throw new VdbError("invalid_parameter", `a query of ${value.length} bytes is no vector of float32 numbers`);
  }
  return new Float32Array(value.slice().buffer);
}

/** As rows in columns, whose indices ascend too. What else is wrong with it is said where its field is known. */
function sparseQuery(value: Uint8Array): Uint8Array {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  for (let at = 8; at + 4 <= value.length; at += 8) {
    if (view.getUint32(at, true) > view.getUint32(at - 8, true)) continue;
    throw new VdbError("invalid_parameter", "unsorted or same indices in sparse float vector");
  }
  return value.slice();
}
