/** Large messages: read in steps that each read little of them, and refused early where they mean nothing. */
import { describe, expect, test } from "vitest";
import { atOnce, type Steps } from "../../../../runtime/steps.ts";
import { refuseCrowded } from "../crowded.ts";
import { encodeMessage, loadDefinitions } from "../definitions.ts";
import { FIELDS, LENGTH } from "./numbers.ts";
import { COPY_BYTES, STEP_BYTES } from "./reader.ts";
import { readDelete, readHybridSearch, readInsert, readQuery, readSearch } from "./requests.ts";
import { encodeWith, tag } from "./write-columns.ts";

const BYTES = 2 * COPY_BYTES;

/** Fields of a message, each in front of what it holds. */
function within(content: Uint8Array, ...fields: number[]): Buffer {
  return fields.reduceRight<Buffer>(
    (bytes, field) => encodeWith((writer) => writer.uint32(tag(field, LENGTH)).bytes(bytes)),
    Buffer.from(content),
  );
}

/** As many of a field as fill it. */
function many(piece: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(BYTES - (BYTES % piece.length));
  for (let at = 0; at < bytes.length; at += piece.length) bytes.set(piece, at);
  return bytes;
}

const empty = (field: number) => many([tag(field, LENGTH), 0]);
const zero = (field: number) => many([field << 3, 0]);

function countSteps(steps: Steps<unknown>): number {
  let count = 1;
  while (steps.next().done !== true) count++;
  return count;
}

const { fieldsData, numRows } = FIELDS.InsertRequest;
const { scalars, vectors, validData } = FIELDS.FieldData;
const S = FIELDS.ScalarField;
const rows = encodeWith((writer) => writer.uint32(numRows << 3).uint32(2 ** 31 - 1));
const insert = (column: Uint8Array) => readInsert(Buffer.concat([rows, within(column, fieldsData)]));

describe("no step is of more than a part", () => {
  test.each<[string, Steps<unknown>, number]>([
    ["floats", insert(within(new Uint8Array(BYTES), vectors, FIELDS.VectorField.floatVector, 1)), COPY_BYTES],
    ["doubles one by one", insert(within(many([9, ...Array(8).fill(0)]), scalars, S.doubleData)), STEP_BYTES],
    ["packed integers", insert(within(new Uint8Array(BYTES), scalars, S.longData, 1)), 2 * STEP_BYTES],
    ["integers one by one", insert(within(zero(1), scalars, S.intData)), STEP_BYTES],
    ["empty texts", insert(within(empty(1), scalars, S.stringData)), STEP_BYTES],
    ["a text", insert(within(new Uint8Array(BYTES), scalars, S.jsonData, 1)), COPY_BYTES],
    ["empty arrays", insert(within(empty(1), scalars, S.arrayData)), STEP_BYTES],
    ["arrays of nothing", insert(within(many([10, 2, (S.longData << 3) | 2, 0]), scalars, S.arrayData)), STEP_BYTES],
    ["sparse vectors", insert(within(empty(1), vectors, FIELDS.VectorField.sparseFloatVector)), STEP_BYTES],
    ["flags of validity", insert(within(new Uint8Array(BYTES), validData)), 2 * STEP_BYTES],
    ["names of one column", insert(empty(FIELDS.FieldData.fieldName)), STEP_BYTES],
    ["names of a request", readInsert(Buffer.from(empty(FIELDS.InsertRequest.dbName))), STEP_BYTES],
    ["fields that nobody knows", readInsert(Buffer.from(zero(15))), STEP_BYTES],
    ["ids", readSearch(within(zero(1), FIELDS.SearchRequest.ids, FIELDS.IDs.intId)), STEP_BYTES],
    ["values of a filter", readDelete(within(zero(1), 8, 2, 5, 2)), STEP_BYTES],
    ["lists in a list", readQuery(within(empty(1), FIELDS.QueryRequest.exprTemplateValues, 2, 5, 5)), STEP_BYTES],
    ["queries", readSearch(queries(Array.from({ length: 64 }, () => Buffer.alloc(BYTES / 64)))), COPY_BYTES],
  ])("%s", (_, steps, bytes) => {
    expect(countSteps(steps)).toBeGreaterThanOrEqual(Math.floor(BYTES / bytes));
  });

  test("and what is read is what was written", () => {
    const data = Array.from({ length: 30_000 }, (_, i) => (i * 7919) % 100_000);
    const floats = Array.from({ length: 9 }, () => data).flat();
    const texts = data.map((value) => `text ${value}`);
    const given = [
      { fieldName: "v", vectors: { dim: 2, floatVector: { data: floats } } },
      { fieldName: "i", scalars: { longData: { data } } },
      { fieldName: "t", scalars: { stringData: { data: texts } } },
    ];
    const message = { fieldsData: given, numRows: data.length };
    const { columns } = atOnce(readInsert(encodeMessage(loadDefinitions().type("milvus.InsertRequest"), message)));
    // As bytes: compared one by one, so many numbers take a second.
    const bytesOf = (at: number) => {
      const { buffer, byteLength } = (columns[at]!.column as { values: Float32Array }).values;
      return Buffer.from(buffer, 0, byteLength);
    };
    expect(bytesOf(0).equals(Buffer.from(Float32Array.from(floats).buffer))).toBe(true);
    expect(bytesOf(1).equals(Buffer.from(BigInt64Array.from(data, BigInt).buffer))).toBe(true);
    const { offsets, bytes } = columns[2]!.column as { offsets: Uint32Array; bytes: Uint8Array };
    expect(Buffer.from(bytes).toString()).toBe(texts.join(""));
    expect(offsets[data.length]).toBe(bytes.length);
  });
});

function queries(values: Buffer[]): Buffer {
  const placeholders = [{ tag: "$0", type: "FloatVector", values }];
  const group = encodeMessage(loadDefinitions().type("common.PlaceholderGroup"), { placeholders });
  return within(group, FIELDS.SearchRequest.placeholderGroup);
}

describe("refused early is", () => {
  const twoRows = encodeWith((writer) => writer.uint32(numRows << 3).uint32(2));

  test.each<[string, () => Steps<unknown>, string]>([
    ["a column too many", () => readInsert(Buffer.from(empty(fieldsData))), "more fieldData has pass in"],
    [
      "a column longer than the request, wherever that says how long it is",
      () => readInsert(Buffer.concat([within(empty(1), fieldsData, scalars, S.stringData), twoRows])),
      "the num_rows (at least 3) of field () is not equal to passed num_rows (2)",
    ],
    ["a search of too many parts", () => readHybridSearch(Buffer.from(empty(5))), "maximum of ann search requests is"],
    [
      "a read of too many names",
      () => readQuery(Buffer.from(empty(FIELDS.QueryRequest.outputFields))),
      "more than 65536",
    ],
    ["a group of fields", () => readQuery(Buffer.from(many([(15 << 3) | 3]))), "invalid wire type 3"],
    ["a list in lists without end", () => readDelete(nested(40)), "nested deeper than 16 levels"],
    [
      "a sparse query whose indices do not ascend",
      () => readSearch(sparseQuery([7, 1, 3, 1])),
      "unsorted or same indices in sparse float vector",
    ],
  ])("%s", (_, read, problem) => {
    expect(() => atOnce(read())).toThrowError(problem);
  });
});

test.each<[string, string, Uint8Array, string | undefined]>([
  ["fields", "FlushRequest", empty(3), "it has more than 49152 values"],
  ["numbers in one field", "GetFlushStateRequest", within(new Uint8Array(BYTES), 1), "it has more than 49152 values"],
  ["one long text", "FlushRequest", within(new Uint8Array(BYTES), 3), undefined],
])("a message of %s that is read at once, or not", (_, name, bytes, problem) => {
  const check = () => atOnce(refuseCrowded(loadDefinitions().type(`milvus.${name}`), bytes));
  if (problem === undefined) expect(check()).toBeUndefined();
  else expect(check).toThrowError(problem);
});

const VALUES_MAX = 2 ** 21;
const half = within(
  new Uint8Array(VALUES_MAX / 2 + 1),
  FIELDS.TemplateArrayValueArray.data,
  FIELDS.TemplateArrayValue.longData,
  1,
);

test.each<[string, Steps<unknown>]>([
  ["ids", readSearch(within(new Uint8Array(VALUES_MAX + 1), FIELDS.SearchRequest.ids, FIELDS.IDs.intId, 1))],
  ["a filter's value", readDelete(within(new Uint8Array(VALUES_MAX + 1), 8, 2, 5, 2, 1))],
  [
    "the lists in a filter's value",
    readQuery(within(Buffer.concat([half, half]), FIELDS.QueryRequest.exprTemplateValues, 2, 5, 5)),
  ],
])("more values than are taken are refused before there is room for them: %s", (_, steps) => {
  expect(() => atOnce(steps)).toThrowError(`a list has more than ${VALUES_MAX} values`);
});

function nested(depth: number): Buffer {
  let bytes: Uint8Array = Buffer.alloc(0);
  for (let i = 0; i < depth; i++) bytes = within(bytes, FIELDS.TemplateArrayValue.arrayData, 1);
  return within(bytes, FIELDS.DeleteRequest.exprTemplateValues, 2, FIELDS.TemplateValue.arrayVal);
}

function sparseQuery(pairs: number[]): Buffer {
  const bytes = Buffer.alloc(pairs.length * 4);
  for (let i = 0; i < pairs.length; i += 2) {
    bytes.writeUInt32LE(pairs[i]!, i * 4);
    bytes.writeFloatLE(pairs[i + 1]!, i * 4 + 4);
  }
  const placeholders = [{ tag: "$0", type: "SparseFloatVector", values: [bytes] }];
  const group = encodeMessage(loadDefinitions().type("common.PlaceholderGroup"), { placeholders });
  return within(group, FIELDS.SearchRequest.placeholderGroup);
}
