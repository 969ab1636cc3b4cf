/** The column codecs against protobufjs's own, by the published definitions. */
import fc from "fast-check";
import protobuf from "protobufjs/light.js";
import { describe, expect, test } from "vitest";
import type { GivenColumn } from "../../../../runtime/rows/given-columns.ts";
import { VECTOR_TYPES } from "../../../../runtime/schema.ts";
import type { BytesColumn, Column } from "../../../../runtime/segment/column.ts";
import { varcharColumn } from "../../../../runtime/segment/keys.ts";
import { atOnce } from "../../../../runtime/steps.ts";
import type { ReplyColumn } from "../../reply-columns.ts";
import { decodeMessage, encodeMessage, loadDefinitions, type Message } from "../definitions.ts";
import { CONSISTENCY_LEVELS, DATA_TYPES, FIELDS } from "./numbers.ts";
import { readFieldData } from "./read-columns.ts";
import { readPlaceholders } from "./read-values.ts";
import { decodeWith } from "./reader.ts";
import { readHybridSearch, readInsert, readSearch, readUpsert } from "./requests.ts";
import { encodeMutation, encodeQueryResults, encodeSearchResults } from "./results.ts";
import { encodeWith, writeFieldData } from "./write-columns.ts";

const definitions = loadDefinitions();
const PACKAGE: Record<string, string> = {
  ...{ KeyValuePair: "common", PlaceholderGroup: "common", PlaceholderValue: "common", Highlighter: "common" },
  ...{ HighlightResult: "common", HighlightData: "common" },
};

const typeOf = (name: string, root = "schema") => definitions.type(`${PACKAGE[name] ?? root}.${name}`);
const messageOf = (name: string) => {
  for (const root of ["schema", "milvus", "common"]) {
    try {
      return definitions.type(`${root}.${name}`);
    } catch {}
  }
  throw new Error(`no message ${name}`);
};

describe("numbers", () => {
  const messages = Object.entries(FIELDS).filter(([name]) => name !== "List");
  test.each(messages)("of the fields of %s are the published ones", (name, fields) => {
    const published = messageOf(name).fields;
    expect(fields).toEqual(Object.fromEntries(Object.keys(fields).map((field) => [field, published[field]?.id])));
  });

  test.each(["BoolArray", "IntArray", "LongArray", "FloatArray", "DoubleArray", "StringArray", "JSONArray"])(
    "%s has its values in the field of every list",
    (name) => expect(typeOf(name).fields.data?.id).toBe(FIELDS.List.data),
  );

  test("of types and levels are the published ones", () => {
    expect(definitions.enumValues("schema.DataType")).toMatchObject(DATA_TYPES);
    expect(definitions.enumValues("common.ConsistencyLevel")).toEqual(
      Object.fromEntries(CONSISTENCY_LEVELS.map((name, level) => [name, level])),
    );
    const vectors = Object.fromEntries(VECTOR_TYPES.map((name) => [name, DATA_TYPES[name]]));
    expect(definitions.enumValues("common.PlaceholderType")).toMatchObject(vectors);
  });
});

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const float = fc.float({ noNaN: true, noDefaultInfinity: true });
const jsonColumn = (texts: string[]): BytesColumn => ({ ...varcharColumn(texts), kind: "json" });

/** A column of a type: its arrays, and the values as the definitions have them. */
type Sample = {
  type: ReplyColumn["type"];
  elementType?: ReplyColumn["type"];
  column: Column;
  path: string;
  data: unknown;
};

const scalars: fc.Arbitrary<Sample>[] = [
  fc.array(fc.boolean()).map((data) => ({
    ...{ type: "Bool", path: "scalars.boolData.data", data },
    column: { kind: "bool", values: Uint8Array.from(data, Number) },
  })),
  fc.array(fc.integer()).map((data) => ({
    ...{ type: "Int32", path: "scalars.intData.data", data },
    column: { kind: "int32", values: Int32Array.from(data) },
  })),
  fc.array(int64).map((data) => ({
    ...{ type: "Int64", path: "scalars.longData.data", data: data.map(String) },
    column: { kind: "int64", values: BigInt64Array.from(data) },
  })),
  fc.array(float).map((data) => ({
    ...{ type: "Float", path: "scalars.floatData.data", data },
    column: { kind: "float", values: Float32Array.from(data) },
  })),
  fc.array(fc.double({ noNaN: true })).map((data) => ({
    ...{ type: "Double", path: "scalars.doubleData.data", data },
    column: { kind: "double", values: Float64Array.from(data) },
  })),
  fc.array(fc.string({ unit: "grapheme" })).map((data) => ({
    ...{ type: "VarChar", path: "scalars.stringData.data", data },
    column: varcharColumn(data),
  })),
  fc.array(fc.json({ maxDepth: 1 })).map((data) => ({
    ...{ type: "JSON", path: "scalars.jsonData.data", data: data.map((text) => Buffer.from(text)) },
    column: jsonColumn(data),
  })),
  fc.array(fc.constantFrom("POINT (1 2)", "POINT (3 4)")).map((data) => ({
    ...{ type: "Geometry", path: "scalars.geometryWktData.data", data },
    column: varcharColumn(data),
  })),
];

const vectors: fc.Arbitrary<Sample>[] = [
  fc.array(fc.tuple(float, float, float)).map((rows) => ({
    ...{ type: "FloatVector", path: "vectors.floatVector.data", data: rows.flat() },
    column: { kind: "floatVector", dimension: 3, values: Float32Array.from(rows.flat()) },
  })),
  ...(["float16Vector", "bfloat16Vector", "int8Vector", "binaryVector"] as const).map((kind) =>
    fc.uint8Array({ minLength: 1 }).map(
      (values): Sample => ({
        type: kind === "int8Vector" ? "Int8Vector" : "BinaryVector",
        ...{ path: `vectors.${kind}`, data: Buffer.from(values), column: { kind, dimension: 8, values } },
      }),
    ),
  ),
];

const arrays: fc.Arbitrary<Sample>[] = [
  fc.array(fc.array(int64)).map((rows) => ({
    ...{ type: "Array", elementType: "Int64", path: "scalars.arrayData.data" },
    data: rows.map((row) => expect.objectContaining({ longData: { data: row.map(String) } })),
    column: arrayOf(rows, { kind: "int64", values: BigInt64Array.from(rows.flat()) }),
  })),
  fc.array(fc.array(fc.string())).map((rows) => ({
    ...{ type: "Array", elementType: "VarChar", path: "scalars.arrayData.data" },
    data: rows.map((data) => expect.objectContaining({ stringData: { data } })),
    column: arrayOf(rows, varcharColumn(rows.flat())),
  })),
];

function arrayOf(rows: readonly unknown[][], items: Column): Column {
  const offsets = new Uint32Array(rows.length + 1);
  rows.forEach((row, i) => {
    offsets[i + 1] = offsets[i]! + row.length;
  });
  return { kind: "array", offsets, items } as Column;
}

const FieldData = definitions.type("schema.FieldData");

function read(bytes: Uint8Array): GivenColumn {
  // As a field of a message: with its length.
  const framed = protobuf.Writer.create().bytes(bytes).finish();
  return atOnce(decodeWith(framed, "FieldData", (reader) => readFieldData(reader, 2, 0)));
}

/** The content of a FieldData that is written as a field of a message. */
function written(column: ReplyColumn): Buffer {
  const framed = encodeWith((writer) => writeFieldData(writer, 1, column));
  const reader = protobuf.Reader.create(framed);
  reader.uint32();
  return Buffer.from(reader.bytes());
}

const at = (value: unknown, path: string) =>
  path.split(".").reduce<unknown>((inner, key) => (inner as Message | null)?.[key], value);

describe("columns", () => {
  test("that are written are what the definitions read, and what is read here again", () => {
    fc.assert(
      fc.property(fc.oneof(...scalars, ...vectors, ...arrays), ({ type, elementType, column, path, data }) => {
        const bytes = written({ name: "f", fieldId: 107, type, elementType, column });
        const message = decodeMessage(FieldData, bytes);
        expect(message).toMatchObject({ fieldName: "f", fieldId: "107" });
        expect(at(message, path)).toEqual(data);
        const again = read(bytes);
        // Lists that are all empty do not say what they are of.
        if (column.kind === "array" && column.offsets.at(-1) === 0) return;
        expect(again).toEqual({ name: "f", column });
      }),
    );
  });

  test("of numbers that come one by one are read as those that come packed", () => {
    fc.assert(
      fc.property(fc.array(int64, { minLength: 1 }), fc.array(float, { minLength: 1 }), (longs, floats) => {
        const halves = (value: bigint) => ({
          low: Number(value & 0xffffffffn),
          high: Number((value >> 32n) & 0xffffffffn),
        });
        const loose = (field: number, write: (writer: protobuf.Writer) => void) => {
          const writer = protobuf.Writer.create()
            .uint32((3 << 3) | 2)
            .fork();
          writer.uint32((field << 3) | 2).fork();
          write(writer);
          return read(writer.ldelim().ldelim().finish()).column;
        };
        const values = BigInt64Array.from(longs);
        expect(
          loose(3, (w) => {
            for (const long of longs) w.uint32(8).int64(halves(long) as never);
          }),
        ).toEqual({
          kind: "int64",
          values,
        });
        const numbers = Float32Array.from(floats);
        expect(
          loose(4, (w) => {
            for (const one of floats) w.uint32(13).float(one);
          }),
        ).toEqual({
          kind: "float",
          values: numbers,
        });
      }),
    );
  });

  test("of sparse vectors and of rows without a value", () => {
    const bytes = Uint8Array.of(3, 0, 0, 0, 0, 0, 128, 63, 9, 0, 0, 0, 0, 0, 0, 64);
    const sparse: Column = { kind: "sparseVector", offsets: Uint32Array.of(0, 16, 16), bytes };
    const message = decodeMessage(
      FieldData,
      written({ name: "s", fieldId: 1, type: "SparseFloatVector", column: sparse }),
    );
    const contents = [Buffer.from(bytes), Buffer.alloc(0)];
    expect(message).toMatchObject({ vectors: { dim: "10", sparseFloatVector: { contents, dim: "10" } } });
    expect(read(encodeMessage(FieldData, message)).column).toEqual(sparse);

    const column: Column = { kind: "int16", values: Int16Array.of(-1, 0, 7), valid: Uint32Array.of(5) };
    const nulls = decodeMessage(FieldData, written({ name: "n", fieldId: 1, type: "Int16", column }));
    expect(nulls).toMatchObject({ validData: [true, false, true], scalars: { intData: { data: [-1, 0, 7] } } });
    const packed = { fieldName: "n", validData: [true, false], scalars: { intData: { data: [5] } } };
    expect(read(encodeMessage(FieldData, packed))).toEqual({
      ...{ name: "n", valid: Uint8Array.of(1, 0) },
      column: { kind: "int32", values: Int32Array.of(5) },
    });
    expect(
      read(encodeMessage(FieldData, { fieldName: "x", isDynamic: true, scalars: { jsonData: { data: [] } } })),
    ).toEqual({
      name: "$meta",
      column: jsonColumn([]),
    });
  });

  test("of lists that come more than once take no more room than their bytes", () => {
    // As many empty lists as fit: room for all that follows each of them would be a square of it.
    const lists = Buffer.alloc(2 ** 20);
    for (let at = 0; at < lists.length; at += 2) lists[at] = (FIELDS.ScalarField.stringData << 3) | 2;
    const bytes = encodeWith((writer) => writer.uint32((FIELDS.FieldData.scalars << 3) | 2).bytes(lists));
    const message = encodeWith((writer) => writer.uint32((FIELDS.InsertRequest.fieldsData << 3) | 2).bytes(bytes));
    expect(atOnce(readInsert(message)).columns).toHaveLength(1);
  });

  test("of bytes that are cut off anywhere are refused or read, and nothing else", () => {
    const rows = [fc.sample(scalars[5]!, 1)[0]!, fc.sample(vectors[0]!, 1)[0]!, fc.sample(arrays[0]!, 1)[0]!];
    for (const { type, elementType, column } of rows) {
      const bytes = written({ name: "f", fieldId: 107, type, elementType, column });
      for (let end = 0; end < bytes.length; end++) {
        try {
          read(bytes.subarray(0, end));
        } catch (error) {
          expect(error).toMatchObject({ kind: "invalid_parameter" });
        }
      }
    }
  });

  test.each([
    ["a list of structs", { structArrays: { fields: [] } }, "lists of structs are not supported"],
    ["geometry in its binary form", { scalars: { geometryData: { data: [Buffer.of(1)] } } }, "field 10 of ScalarField"],
    ["lists of vectors", { vectors: { dim: 2, vectorArray: { data: [] } } }, "field 8 of VectorField"],
    [
      "arrays of several types",
      { scalars: { arrayData: { data: [{ longData: { data: [1] } }, { stringData: { data: ["a"] } }] } } },
      "the arrays are not all of one type",
    ],
  ])("%s are refused", (_, message, problem) => {
    const bytes = encodeMessage(FieldData, { fieldName: "f", ...message });
    expect(() => read(bytes)).toThrowError(problem);
  });
});

describe("requests", () => {
  const bytesOf = (name: string, message: object) => encodeMessage(definitions.type(`milvus.${name}`), message);

  test("to insert and upsert", () => {
    const fieldsData = [{ fieldName: "id", scalars: { longData: { data: ["9007199254740993"] } } }];
    const message = {
      dbName: "d",
      collectionName: "c",
      partitionName: "p",
      fieldsData,
      numRows: 1,
      schemaTimestamp: "77",
    };
    const column = { kind: "int64", values: BigInt64Array.of(9007199254740993n) };
    const common = { dbName: "d", collectionName: "c", partitionName: "p", columns: [{ name: "id", column }] };
    expect(atOnce(readInsert(bytesOf("InsertRequest", { ...message, hashKeys: [1, 2] })))).toMatchObject({
      ...common,
      ...{ rowCount: 1, schemaTimestamp: 77n, partialUpdate: false },
    });
    const fieldOps = [{ fieldName: "tags", op: 1 }];
    expect(atOnce(readUpsert(bytesOf("UpsertRequest", { ...message, partialUpdate: true, fieldOps })))).toMatchObject({
      ...common,
      ...{ partialUpdate: true, fieldOps },
    });
  });

  test("to search, with everything that one can have", () => {
    const values = [Buffer.from(Float32Array.of(1, 2).buffer), Buffer.from(Float32Array.of(3, 4).buffer)];
    const group = { placeholders: [{ tag: "$0", type: "FloatVector", values }] };
    const placeholderGroup = encodeMessage(definitions.type("common.PlaceholderGroup"), group);
    const request = {
      ...{ dbName: "d", collectionName: "c", partitionNames: ["p", "q"], dsl: "a in {x}", outputFields: ["*"] },
      placeholderGroup,
      searchParams: [{ key: "topk", value: "10" }],
      ...{ guaranteeTimestamp: "5", consistencyLevel: "Session", useDefaultConsistency: true, nq: 2 },
      exprTemplateValues: {
        x: { arrayVal: { longData: { data: ["1", "-9007199254740993"] } } },
        y: { stringVal: "t" },
        z: { floatVal: 0.5 },
        b: { boolVal: true },
        n: { int64Val: -3 },
        lists: { arrayVal: { arrayData: { data: [{ stringData: { data: ["a"] } }] } } },
        json: { arrayVal: { jsonData: { data: [Buffer.from('{"k":1}')] } } },
      },
      functionScore: {
        functions: [
          { name: "f", type: "Rerank", inputFieldNames: ["i"], params: [{ key: "reranker", value: "decay" }] },
        ],
        params: [{ key: "m", value: "v" }],
      },
      highlighter: { type: "Lexical", params: [{ key: "pre_tags", value: '["<b>"]' }] },
    };
    const expected = {
      ...{ dbName: "d", collectionName: "c", partitionNames: ["p", "q"], filter: "a in {x}", outputFields: ["*"] },
      queries: { values: [Float32Array.of(1, 2), Float32Array.of(3, 4)], type: "FloatVector" },
      params: { topk: "10" },
      ...{ guaranteeTimestamp: 5n, level: 1, isDefault: true },
      exprParams: { x: [1, -9007199254740993n], y: "t", z: 0.5, b: true, n: -3, lists: [["a"]], json: [{ k: 1 }] },
      functionScore: {
        functions: [
          { name: "f", type: 3, inputFieldNames: ["i"], outputFieldNames: [], params: { reranker: "decay" } },
        ],
        params: { m: "v" },
      },
      highlighter: { type: 0, params: { pre_tags: '["<b>"]' } },
    };
    expect(atOnce(readSearch(bytesOf("SearchRequest", request)))).toMatchObject(expected);
    const hybrid = bytesOf("HybridSearchRequest", { requests: [request], rankParams: [{ key: "limit", value: "3" }] });
    expect(atOnce(readHybridSearch(hybrid))).toMatchObject({ searches: [expected], rankParams: { limit: "3" } });
    expect(atOnce(readSearch(bytesOf("SearchRequest", { ids: { strId: { data: ["a", "b"] } } }))).ids).toEqual([
      "a",
      "b",
    ]);
  });

  test.each([
    ["BinaryVector", Buffer.of(1), Uint8Array.of(1)],
    ["SparseFloatVector", Buffer.alloc(8), new Uint8Array(8)],
    ["VarChar", Buffer.from("text"), "text"],
  ])("queries of %s", (type, value, query) => {
    const group = { placeholders: [{ tag: "$0", type, values: [value] }] };
    const bytes = encodeMessage(definitions.type("common.PlaceholderGroup"), group);
    const expected = { values: [query], type: type === "VarChar" ? undefined : type };
    expect(atOnce(readPlaceholders(bytes))).toEqual(expected);
  });

  test("that are no messages are refused", () => {
    expect(() => atOnce(readSearch(Buffer.of(0x32, 0x7f, 1)))).toThrowError(/the request is no SearchRequest/);
    const embedded = { placeholders: [{ tag: "$0", type: "EmbListFloatVector", values: [Buffer.alloc(8)] }] };
    const bytes = encodeMessage(definitions.type("common.PlaceholderGroup"), embedded);
    expect(() => atOnce(readPlaceholders(bytes))).toThrowError("placeholder type 301 is not supported");
  });

  test("that search for more than a search may have are refused as the search would, and not read", () => {
    const vector = Buffer.alloc(4);
    const group = (count: number) => ({
      placeholders: [{ tag: "$0", type: "FloatVector", values: Array.from({ length: count }, () => vector) }],
    });
    const encoded = (count: number) => encodeMessage(definitions.type("common.PlaceholderGroup"), group(count));
    expect(atOnce(readPlaceholders(encoded(16_384))).values).toHaveLength(16_384);
    expect(() => atOnce(readPlaceholders(encoded(16_385)))).toThrowError("nq [16385] is invalid");
  });
});

describe("results", () => {
  const id: ReplyColumn = {
    name: "id",
    fieldId: 100,
    type: "Int64",
    isPrimary: true,
    column: { kind: "int64", values: BigInt64Array.of(5n, -1n) },
  };
  const text: ReplyColumn = { name: "text", fieldId: 101, type: "VarChar", column: varcharColumn(["a", ""]) };
  const decoded = (name: string, bytes: Buffer) => decodeMessage(definitions.type(`milvus.${name}`), bytes);

  test("of writes", () => {
    const mutation = { ids: id.column as never, insertCount: 2, deleteCount: 0, upsertCount: 0, timestamp: 2n ** 60n };
    expect(decoded("MutationResult", encodeMutation(mutation))).toMatchObject({
      status: { code: 0, errorCode: "Success" },
      IDs: { intId: { data: ["5", "-1"] } },
      ...{ succIndex: [0, 1], insertCnt: "2", timestamp: String(2n ** 60n) },
    });
  });

  test("of queries", () => {
    const data = { rowCount: 2, columns: [id, text] };
    const answer = { collectionName: "c", data, outputFields: ["id", "text"], sessionTs: 7n };
    expect(decoded("QueryResults", encodeQueryResults(answer))).toMatchObject({
      ...{
        status: { code: 0 },
        collectionName: "c",
        outputFields: ["id", "text"],
        sessionTs: "7",
        primaryFieldName: "id",
      },
      fieldsData: [{ fieldName: "id" }, { fieldName: "text", scalars: { stringData: { data: ["a", ""] } } }],
    });
  });

  test("of searches", () => {
    const hits = {
      ...{ rowCount: 2, columns: [id, text], distances: Float32Array.of(0.5, 0.25), groupByFieldValue: text },
      highlights: [{ fieldName: "text", fragments: [["<em>a</em>"], []] }],
    };
    const answer = { collectionName: "c", hits, topks: [2, 0], topK: 3, outputFields: ["text"], sessionTs: 7n };
    const iterator = { token: "t", lastBound: 0.25 };
    const { results, ...rest } = decoded("SearchResults", encodeSearchResults({ ...answer, iterator }));
    expect(rest).toMatchObject({ status: { code: 0 }, collectionName: "c", sessionTs: "7" });
    expect(results).toMatchObject({
      ...{ numQueries: "2", topK: "3", topks: ["2", "0"], scores: [0.5, 0.25], ids: { intId: { data: ["5", "-1"] } } },
      ...{ outputFields: ["text"], primaryFieldName: "id", searchIteratorV2Results: iterator },
      fieldsData: [{ fieldName: "text" }],
      groupByFieldValue: { fieldName: "text" },
      highlightResults: [{ fieldName: "text", datas: [{ fragments: ["<em>a</em>"] }, { fragments: [] }] }],
    });
  });
});
