/** What is wrong with rows and searches over gRPC: said with Milvus's codes, and nothing is written. */
import type { MilvusClient } from "@zilliz/milvus2-sdk-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeMessage, loadDefinitions } from "../../actors/proxy/grpc/definitions.ts";
import { books, makeBooks } from "./books.ts";
import type { GrpcCaller } from "./call.ts";
import { type GrpcNode, startGrpcNode } from "./node.ts";

let node: GrpcNode;
let client: MilvusClient;
let caller: GrpcCaller;

beforeAll(async () => {
  node = await startGrpcNode();
  ({ client, caller } = node);
  await makeBooks(client);
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
});

describe("refusals", () => {
  const column = (fieldName: string, scalars: object, more: object = {}) => ({ fieldName, scalars, ...more });
  const ids = column("id", { longData: { data: ["500", "501"] } });
  const vector = (name: string, data: number[]) => ({
    fieldName: name,
    vectors: { dim: data.length / 2, floatVector: { data } },
  });
  const good = [
    ...[ids, vector("v", [1, 2, 3, 4]), vector("w", [1, 2, 3, 4]), column("shelf", { intData: { data: [1, 2] } })],
    column("about", { stringData: { data: ["a", "b"] } }),
  ];
  const without = (name: string) => good.filter(({ fieldName }) => fieldName !== name);

  test.each<[string, object[], number, string]>([
    [
      "a column too short",
      [...without("shelf"), column("shelf", { intData: { data: [1] } })],
      1100,
      "the num_rows (1) of field (shelf)",
    ],
    [
      "a column of another type",
      [...without("shelf"), column("shelf", { stringData: { data: ["1", "2"] } })],
      1100,
      "expected a column of Int32, got one of varchar",
    ],
    [
      "a number out of range",
      [...without("id"), column("id", { boolData: { data: [true, false] } })],
      1100,
      "expected a column of Int64, got one of bool",
    ],
    [
      "another dimension",
      [...without("v"), vector("v", [1, 2, 3, 4, 5, 6])],
      1100,
      "expected a vector of dimension 2, got one of 3",
    ],
    [
      "half a vector",
      [...without("v"), { fieldName: "v", vectors: { dim: 2, floatVector: { data: [1, 2, 3] } } }],
      1100,
      "should divide the dim (2)",
    ],
    [
      "a number that is none",
      [...without("v"), vector("v", [1, 2, Number.NaN, 4])],
      1100,
      "row 1: field v: value 'NaN' is not a number or infinity",
    ],
    [
      "a text too long",
      [...without("about"), column("about", { stringData: { data: ["a", "b".repeat(101)] } })],
      1100,
      "exceeds max length, row number: 1",
    ],
    [
      "valid_data of another length",
      [...without("shelf"), column("shelf", { intData: { data: [1] } }, { validData: [true] })],
      1100,
      "the length of valid_data of field(shelf) is wrong",
    ],
    [
      "a null",
      [...without("shelf"), column("shelf", { intData: { data: [1] } }, { validData: [true, false] })],
      1100,
      "row 1: field shelf: null is not allowed",
    ],
    ["a field left out", without("about"), 1100, "field about: the field is missing"],
    ["a field given twice", [...good, ids], 1100, "field id is given twice"],
    [
      "a field of a function",
      [...good, { fieldName: "words", vectors: { sparseFloatVector: { contents: [] } } }],
      1100,
      "function output field: words",
    ],
    [
      "an unknown field",
      [...good, column("nope", { longData: { data: ["1", "2"] } })],
      1100,
      "the schema has no such field",
    ],
    [
      "dynamic keys that are no object",
      [...good, column("$meta", { jsonData: { data: [Buffer.from("[]"), Buffer.from("{}")] } }, { isDynamic: true })],
      1100,
      "only json map is supported",
    ],
    [
      "a dynamic key with a field's name",
      [
        ...good,
        column("", { jsonData: { data: [Buffer.from("{}"), Buffer.from('{"shelf":1}')] } }, { isDynamic: true }),
      ],
      1100,
      "cannot include the static field name: shelf",
    ],
  ])("%s, and nothing is written", async (_, fieldsData, code, reason) => {
    const request = { collectionName: books, fieldsData, numRows: 2 };
    for (const name of ["Insert", "Upsert"]) {
      expect(await caller.call(name, request)).toMatchObject({
        status: { code, reason: expect.stringContaining(reason) },
      });
    }
    const found = await client.count({ collection_name: books, expr: "id in [500, 501]" });
    expect(found).toMatchObject({ data: 0 });
  });

  test("rows by another schema: 109, and the SDK's cache is renewed by it", async () => {
    const described = await client.describeCollection({ collection_name: books });
    const stale = { collectionName: books, fieldsData: good, numRows: 2, schemaTimestamp: "1" };
    expect(await caller.call("Insert", stale)).toMatchObject({ status: { code: 109, errorCode: "SchemaMismatch" } });
    const fresh = { ...stale, schemaTimestamp: described.update_timestamp };
    expect(await caller.call("Insert", fresh)).toMatchObject({ status: { code: 0 }, insertCnt: "2" });
    await client.delete({ collection_name: books, ids: [500, 501] });
  });

  const search = (field: string) => ({ collectionName: books, searchParams: [{ key: "anns_field", value: field }] });
  const queries = (type: string, value: Buffer) => {
    const placeholders = [{ tag: "$0", type, values: [value] }];
    return encodeMessage(loadDefinitions().type("common.PlaceholderGroup"), { placeholders });
  };

  test.each<[string, object, number, string, string?]>([
    [
      "a collection that is not there",
      { collectionName: "nope", ids: { intId: { data: ["1"] } } },
      100,
      "CollectionNotExists",
    ],
    [
      "no vectors",
      { collectionName: books, searchParams: [{ key: "anns_field", value: "v" }] },
      1100,
      "IllegalArgument",
    ],
    [
      "a limit that is no number",
      { collectionName: books, ids: { intId: { data: ["1"] } }, searchParams: [{ key: "topk", value: "x" }] },
      1100,
      "IllegalArgument",
    ],
    [
      "queries of another type than the field's",
      { ...search("v"), placeholderGroup: queries("Float16Vector", Buffer.alloc(4)) },
      65535,
      "UnexpectedError",
      "vector type must be the same, field v - type VECTOR_FLOAT, search info type VECTOR_FLOAT16",
    ],
    [
      "a moment that is days ahead",
      {
        ...{ ...search("v"), placeholderGroup: queries("FloatVector", Buffer.alloc(8)) },
        ...{ consistencyLevel: "Strong", guaranteeTimestamp: String(2n ** 64n - 1n) },
      },
      65535,
      "UnexpectedError",
      "timestamp lag too large",
    ],
    [
      "bytes that are no queries",
      { collectionName: books, placeholderGroup: Buffer.of(0x0a, 0x7f, 1) },
      1100,
      "IllegalArgument",
    ],
  ])("a search with %s", async (_, request, code, errorCode, reason = "") => {
    expect(await caller.call("Search", request)).toMatchObject({
      status: { code, errorCode, reason: expect.stringContaining(reason) },
    });
  });
});
