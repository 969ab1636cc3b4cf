/** Rows over gRPC, with the client that Milvus publishes for Node.js: what goes in comes out, and every way of finding it. */
import { DataType, FunctionType, type MilvusClient } from "@zilliz/milvus2-sdk-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Message } from "../../actors/proxy/grpc/definitions.ts";
import { books, make, makeBooks, OK, strong } from "./books.ts";
import type { GrpcCaller } from "./call.ts";
import { type GrpcNode, startGrpcNode } from "./node.ts";

const BIG = "9007199254740993";

let node: GrpcNode;
let client: MilvusClient;
let caller: GrpcCaller;

beforeAll(async () => {
  node = await startGrpcNode();
  ({ client, caller } = node);
  await Promise.all([makeEverything(), makePacked(), makeBooks(client)]);
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
});

const everything = "everything";
const packed = "packed";

/** Fields of every type. */
async function makeEverything(): Promise<void> {
  const text = { max_length: 100 };
  const fields = [
    { name: "id", data_type: DataType.Int64, is_primary_key: true },
    { name: "f32", data_type: DataType.FloatVector, dim: 4 },
    { name: "f16", data_type: DataType.Float16Vector, dim: 4 },
    { name: "bf16", data_type: DataType.BFloat16Vector, dim: 4 },
    { name: "sparse", data_type: DataType.SparseFloatVector },
    { name: "flag", data_type: DataType.Bool, nullable: true },
    { name: "i8", data_type: DataType.Int8, nullable: true },
    { name: "i16", data_type: DataType.Int16, nullable: true },
    { name: "i32", data_type: DataType.Int32, default_value: 7 },
    { name: "i64", data_type: DataType.Int64, nullable: true },
    { name: "float", data_type: DataType.Float, nullable: true },
    { name: "double", data_type: DataType.Double, nullable: true },
    { name: "text", data_type: DataType.VarChar, nullable: true, ...text },
    { name: "json", data_type: DataType.JSON, nullable: true },
    { name: "place", data_type: DataType.Geometry, nullable: true },
    { name: "at", data_type: DataType.Timestamptz, nullable: true },
    { name: "longs", data_type: DataType.Array, element_type: DataType.Int64, max_capacity: 8, nullable: true },
    { name: "texts", data_type: DataType.Array, element_type: DataType.VarChar, max_capacity: 8, ...text },
  ];
  await make(client, everything, fields, { f32: "L2", f16: "L2", bf16: "L2", sparse: "IP" });
}

/** A collection has four vector fields at most: those of the other types. */
async function makePacked(): Promise<void> {
  const fields = [
    { name: "id", data_type: DataType.VarChar, is_primary_key: true, max_length: 20 },
    { name: "i8v", data_type: DataType.Int8Vector, dim: 4 },
    { name: "bits", data_type: DataType.BinaryVector, dim: 16 },
  ];
  await make(client, packed, fields, { i8v: "L2", bits: "HAMMING" });
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

const whole = {
  id: BIG,
  ...{ f32: [1, 2, 3, 4], f16: [1, 2, 3, 4], bf16: [1, 2, 3, 4] },
  ...{ sparse: { "3": 0.5, "900": 2 }, flag: true, i8: -8, i16: -300, i32: 70_000, i64: "-9007199254740995" },
  ...{ float: 0.5, double: 0.1, text: "grüße", json: { a: [1, "x"] }, place: "POINT (1 2)" },
  ...{ at: "2024-05-01T00:00:00Z", longs: [1, 2], texts: ["a", "b"], extra: { deep: true }, more: 5 },
};
const vectors = { f32: [9, 9, 9, 9], f16: [0, 0, 0, 0], bf16: [0, 0, 0, 0] };
const bare = { id: "2", ...vectors, sparse: { "1": 1 }, texts: [] as string[] };

describe("values of every type", () => {
  test("go in and come out, with nulls, defaults and dynamic keys", async () => {
    const written = await client.insert({ collection_name: everything, data: [whole, bare] as never });
    expect(written).toMatchObject({ status: OK, insert_cnt: "2", succ_index: [0, 1] });
    expect(written.IDs).toMatchObject({ int_id: { data: [BIG, "2"] } });
    expect(BigInt(written.timestamp)).toBeGreaterThan(0n);

    const { status, data } = await client.query({
      ...{ collection_name: everything, filter: "id > 0", output_fields: ["*"], limit: 10, ...strong },
    });
    expect(status).toMatchObject(OK);
    const nulls = Object.fromEntries(
      ["flag", "i8", "i16", "i64", "float", "double", "text", "json", "place", "at", "longs"].map((name) => [
        name,
        null,
      ]),
    );
    const { extra, more, ...fixed } = whole;
    expect(data).toEqual([
      { ...bare, ...nulls, i32: 7, $meta: {} },
      { ...fixed, longs: ["1", "2"], $meta: { extra, more } },
    ]);
  });

  test("are found by where they are", async () => {
    const { status, data } = await client.query({
      ...{ collection_name: everything, filter: "st_dwithin(place, {at}, 1)", exprValues: { at: "POINT (1 2)" } },
      ...{ output_fields: ["id"], limit: 10, ...strong },
    });
    expect(status).toMatchObject(OK);
    expect(data).toEqual([{ id: BIG }]);
  });

  const find = async (collection_name: string, anns_field: string, data: unknown) => {
    const request = { collection_name, anns_field, data, limit: 1, output_fields: ["id"], ...strong };
    const found = await client.search(request as never);
    expect(found.status).toMatchObject(OK);
    return found.results.map(({ id }) => id);
  };

  test("are found by each of their vectors", async () => {
    for (const field of ["f32", "f16", "bf16"] as const)
      expect(await find(everything, field, whole[field])).toEqual([BIG]);
    expect(await find(everything, "sparse", { "900": 1 })).toEqual([BIG]);
  });

  test("of packed vectors, with texts for keys", async () => {
    const rows = [
      { id: "one", i8v: [1, -2, 3, 127], bits: [255, 1] },
      { id: "two", i8v: [0, 0, 0, 0], bits: [0, 0] },
    ];
    const written = await client.insert({ collection_name: packed, data: rows });
    expect(written).toMatchObject({ status: OK, IDs: { str_id: { data: ["one", "two"] } } });
    expect(await find(packed, "i8v", [1, -2, 3, 126])).toEqual(["one"]);
    expect(await find(packed, "bits", [255, 0])).toEqual(["one"]);
    const shown = { collection_name: packed, ids: ["one"], output_fields: ["*"], ...strong };
    const { data } = await client.get(shown);
    expect(data).toEqual([{ ...rows[0], i8v: [1, 254, 3, 127], $meta: {} }]);
  });

  test("dynamic keys that are asked for come alone", async () => {
    const { data } = await client.query({
      ...{ collection_name: everything, filter: "more == 5", output_fields: ["more"], ...strong },
    });
    expect(data).toEqual([{ id: BIG, $meta: { more: 5 } }]);
    const { results } = await client.search({
      ...{ collection_name: everything, anns_field: "f32", data: whole.f32, limit: 1, output_fields: ["more", "i8"] },
    });
    expect(results).toEqual([{ score: 0, more: 5, i8: -8 }]);
  });
});

test("vectors that some rows do not have come and go packed, with valid_data", async () => {
  const collection_name = "sometimes";
  const fields = [
    { name: "id", data_type: DataType.Int64, is_primary_key: true },
    { name: "f32", data_type: DataType.FloatVector, dim: 2, nullable: true },
    { name: "bits", data_type: DataType.BinaryVector, dim: 8, nullable: true },
    { name: "sparse", data_type: DataType.SparseFloatVector, nullable: true },
  ];
  await make(client, collection_name, fields, { f32: "L2", bits: "HAMMING", sparse: "IP" });
  const [seven, eight] = [Buffer.from([7, 0, 0, 0, 0, 0, 128, 63]), Buffer.from([8, 0, 0, 0, 0, 0, 0, 64])];
  const write = (ids: number[], more: object[]) => {
    const id = { fieldName: "id", scalars: { longData: { data: ids.map(String) } } };
    return caller.call("Insert", { collectionName: collection_name, fieldsData: [id, ...more], numRows: ids.length });
  };
  const f32 = (data: number[], validData?: boolean[]) => ({
    ...{ fieldName: "f32", vectors: { dim: 2, floatVector: { data } } },
    ...(validData && { validData }),
  });
  // The values of the rows that have one; of all rows; of none; not at all.
  const first = [
    f32([1, 0, 3, 0], [true, false, true]),
    { fieldName: "bits", vectors: { dim: 8, binaryVector: Buffer.from([255]) }, validData: [false, true, false] },
    {
      fieldName: "sparse",
      vectors: { sparseFloatVector: { contents: [seven, eight] } },
      validData: [true, false, true],
    },
  ];
  expect(await write([1, 2, 3], first)).toMatchObject({ status: { code: 0 }, insertCnt: "3" });
  const second = [
    f32([4, 0, 9, 9], [true, false]),
    { fieldName: "bits", vectors: { dim: 8, binaryVector: Buffer.alloc(0) }, validData: [false, false] },
  ];
  expect(await write([4, 5], second)).toMatchObject({ status: { code: 0 }, insertCnt: "2" });
  expect(await write([6, 7], [f32([1, 2], [true, true])])).toMatchObject({
    status: { code: 1100, reason: expect.stringContaining("the num_rows (1) of field (f32) is not equal") },
  });

  const query = { collectionName: collection_name, ...strong, consistencyLevel: "Strong" };
  const read = { ...query, expr: "id > 0", outputFields: ["f32", "bits", "sparse"] };
  const { fieldsData } = await caller.call("Query", read);
  const named = (name: string) => (fieldsData as Message[]).find(({ fieldName }) => fieldName === name);
  expect(named("f32")).toMatchObject({
    ...{ vectors: { dim: "2", floatVector: { data: [1, 0, 3, 0, 4, 0] } } },
    validData: [true, false, true, true, false],
  });
  expect(named("bits")).toMatchObject({
    ...{ vectors: { dim: "8", binaryVector: Buffer.from([255]) } },
    validData: [false, true, false, false, false],
  });
  expect(named("sparse")).toMatchObject({
    ...{ vectors: { dim: "9", sparseFloatVector: { contents: [seven, eight] } } },
    validData: [true, false, true, false, false],
  });

  const search = { collection_name, anns_field: "f32", data: [3, 0], limit: 10, output_fields: ["id"], ...strong };
  const found = await client.search(search);
  expect(found.results.map(({ id, score }) => [id, score])).toEqual([
    ["3", 0],
    ["4", 1],
    ["1", 4],
  ]);
  expect(await caller.call("Query", { ...query, expr: "f32 is null", outputFields: ["id"] })).toMatchObject({
    status: { code: 1100, reason: expect.stringContaining("not supported on vector fields") },
  });
});

describe("searches", () => {
  const search = async (more: object) => {
    const found = await client.search({ collection_name: books, output_fields: ["id"], ...strong, ...more } as never);
    expect(found.status).toMatchObject(OK);
    return found;
  };
  const idsOf = async (more: object) => (await search(more)).results.map(({ id }) => Number(id));

  test("give the nearest, with a filter, an offset and templates", async () => {
    const near = { anns_field: "v", data: [3.1, 0], limit: 3 };
    expect(await idsOf(near)).toEqual([3, 4, 2]);
    expect(await idsOf({ ...near, offset: 1 })).toEqual([4, 2, 5]);
    expect(await idsOf({ ...near, filter: "shelf == 0" })).toEqual([3, 6, 0]);
    expect(await idsOf({ ...near, filter: "id in {ids}", exprValues: { ids: [20, 21] } })).toEqual([20, 21]);
    expect(await idsOf({ ...near, filter: "id > 900" })).toEqual([]);
  });

  test("of several vectors at once are lists of their own", async () => {
    const { results } = await search({
      anns_field: "v",
      data: [
        [0, 0],
        [29, 0],
      ],
      limit: 2,
    });
    expect(results.map((list) => (list as never as { id: string }[]).map(({ id }) => id))).toEqual([
      ["0", "1"],
      ["29", "28"],
    ]);
  });

  test("within a band of distances", async () => {
    expect(await idsOf({ anns_field: "v", data: [10, 0], limit: 10, params: { radius: 5, range_filter: 1 } })).toEqual([
      9, 11, 8, 12,
    ]);
  });

  test("in groups", async () => {
    const grouped = {
      anns_field: "v",
      data: [0, 0],
      limit: 2,
      group_by_field: "shelf",
      output_fields: ["id", "shelf"],
    };
    const { results } = await search({ ...grouped, group_size: 2, strict_group_size: true });
    expect(results.map(({ id, shelf }) => [Number(id), shelf])).toEqual([
      [0, 0],
      [3, 0],
      [1, 1],
      [4, 1],
    ]);
  });

  test("by primary keys instead of vectors", async () => {
    expect(await idsOf({ anns_field: "v", ids: ["7"], limit: 2 })).toEqual([7, 6]);
  });

  test("for texts, with what was found between tags", async () => {
    const { results } = await search({
      ...{ anns_field: "words", data: "whales", limit: 2, output_fields: ["about"] },
      highlighter: { type: 0, pre_tags: ["<b>"], post_tags: ["</b>"], highlight_search_text: true },
    });
    expect(results).toHaveLength(2);
    for (const { about, highlight } of results as never as { about: string; highlight: object }[]) {
      expect(highlight).toEqual({ about: { fragments: [expect.stringContaining("<b>whales</b>")], scores: [] } });
      expect(about).toContain("whales");
    }
  });

  test.each([
    ["ranks", { strategy: "rrf", params: { k: 60 } }],
    ["weights", { strategy: "weighted", params: { weights: [0.9, 0.1] } }],
    ["a function", { name: "f", type: FunctionType.RERANK, input_field_names: [], params: { reranker: "rrf", k: 60 } }],
  ])("of two fields, made one list by %s", async (_, rerank) => {
    const data = [
      { anns_field: "v", data: [4, 0], limit: 5 },
      { anns_field: "w", data: [1, 4], limit: 5 },
    ];
    expect((await idsOf({ data, rerank, limit: 3 }))[0]).toBe(4);
    expect(await idsOf({ data, rerank, limit: 3 })).toHaveLength(3);
  });

  test("by a decay of a field", async () => {
    const params = { reranker: "decay", function: "linear", origin: 0, offset: 0, scale: 1, decay: 0.5 };
    const rerank = { name: "f", type: FunctionType.RERANK, input_field_names: ["shelf"], params };
    expect((await idsOf({ anns_field: "v", data: [4, 0], limit: 5, rerank })).every((id) => id % 3 <= 2)).toBe(true);
  });

  test("batch by batch, each row once, as of one time", async () => {
    const iterator = await client.searchIterator({
      ...{
        collection_name: books,
        anns_field: "v",
        data: [0, 0],
        batchSize: 7,
        limit: 30,
        output_fields: ["id"],
        ...strong,
      },
    } as never);
    const ids: number[] = [];
    for await (const batch of iterator) ids.push(...(batch as { id: string }[]).map(({ id }) => Number(id)));
    expect(ids).toEqual(Array.from({ length: 30 }, (_, id) => id));
  });

  test("round what they report", async () => {
    const { results } = await search({ anns_field: "v", data: [0.5, 0], limit: 1, params: { round_decimal: 1 } });
    expect(results[0]!.score).toBe(0.3);
  });
});

describe("queries", () => {
  test("count, page, and read by key", async () => {
    expect(await client.count({ collection_name: books, expr: "shelf == 1" })).toMatchObject({ data: 10 });
    const page = { collection_name: books, filter: "id >= 0", output_fields: ["id"], limit: 2, offset: 3, ...strong };
    expect((await client.query(page)).data).toEqual([{ id: "3" }, { id: "4" }]);
    const all = { collection_name: books, filter: "id >= 0", output_fields: ["id"], ...strong };
    expect((await client.query(all)).data).toHaveLength(30);
    const got = await client.get({ collection_name: books, ids: ["5", "4", "999"], output_fields: ["shelf"] });
    expect(got.data).toEqual([
      { id: "4", shelf: 1 },
      { id: "5", shelf: 2 },
    ]);
  });

  test("in batches, in the order of the keys", async () => {
    const iterator = await client.queryIterator({
      collection_name: books,
      batchSize: 8,
      output_fields: ["id"],
      ...strong,
    });
    const ids: number[] = [];
    for await (const batch of iterator) ids.push(...batch.map(({ id }: { id?: unknown }) => Number(id)));
    expect(ids).toEqual(Array.from({ length: 30 }, (_, id) => id));
  });

  test("as pymilvus iterates: one time for all batches, told by the first", async () => {
    const params = [
      { key: "iterator", value: "True" },
      { key: "reduce_stop_for_best", value: "True" },
      { key: "limit", value: "2" },
    ];
    const query = { collectionName: books, outputFields: ["id"], queryParams: params, useDefaultConsistency: true };
    const first = await caller.call("Query", { ...query, expr: "id >= 0" });
    expect(first).toMatchObject({ status: { code: 0 }, primaryFieldName: "id" });
    expect(BigInt(first.sessionTs as string)).toBeGreaterThan(2n);
    await client.delete({ collection_name: books, ids: [29] });
    const later = { ...query, expr: "id > 27", guaranteeTimestamp: first.sessionTs };
    expect(await caller.call("Query", later)).toMatchObject({
      fieldsData: [{ fieldName: "id", scalars: { longData: { data: ["28", "29"] } } }],
      sessionTs: first.sessionTs,
    });
  });

  test("aggregate, in groups and in an order, in typed columns", async () => {
    const query = { collectionName: books, expr: "id < 9", consistencyLevel: "Strong" };
    const grouped = {
      ...query,
      outputFields: ["shelf", "count(*)", "avg(id)", "max(about)"],
      queryParams: [
        { key: "group_by_fields", value: '["shelf"]' },
        { key: "order_by_fields", value: '["avg(id):desc"]' },
        { key: "limit", value: "2" },
      ],
    };
    expect(await caller.call("Query", grouped)).toMatchObject({
      status: { code: 0 },
      outputFields: ["shelf", "count(*)", "avg(id)", "max(about)"],
      fieldsData: [
        { type: "Int32", fieldName: "shelf", scalars: { intData: { data: [2, 1] } } },
        { type: "Int64", fieldName: "count(*)", scalars: { longData: { data: ["3", "3"] } } },
        { type: "Double", fieldName: "avg(id)", scalars: { doubleData: { data: [5, 4] } } },
        {
          type: "VarChar",
          fieldName: "max(about)",
          scalars: { stringData: { data: ["volume 8 of whales", "volume 7 of ships"] } },
        },
      ],
    });
    expect(await caller.call("Query", { ...query, outputFields: ["sum(shelf)", "min(id)"] })).toMatchObject({
      fieldsData: [
        { type: "Int64", fieldName: "sum(shelf)", scalars: { longData: { data: ["9"] } } },
        { type: "Int64", fieldName: "min(id)", scalars: { longData: { data: ["0"] } } },
      ],
    });
    const none = { ...query, expr: "id < 0", outputFields: ["max(id)", "count(*)"] };
    expect(await caller.call("Query", none)).toMatchObject({
      fieldsData: [
        { type: "Int64", fieldName: "max(id)", validData: [false] },
        { type: "Int64", fieldName: "count(*)", scalars: { longData: { data: ["0"] } } },
      ],
    });
  });

  test("and searches in groups of dynamic keys and paths of JSON", async () => {
    const collection_name = "kinds";
    const fields = [
      { name: "id", data_type: DataType.Int64, is_primary_key: true },
      { name: "v", data_type: DataType.FloatVector, dim: 2 },
      { name: "facts", data_type: DataType.JSON },
    ];
    await make(client, collection_name, fields, { v: "L2" });
    const data = Array.from({ length: 6 }, (_, id) => ({ id, v: [id, 0], facts: { n: id % 2 }, kind: `k${id % 3}` }));
    await client.insert({ collection_name, data });
    const query = { collectionName: collection_name, outputFields: ["count(*)"], consistencyLevel: "Strong" };
    const groupBy = (name: string) => ({
      ...query,
      expr: "id > 0",
      queryParams: [{ key: "group_by_fields", value: JSON.stringify([name]) }],
    });
    expect(await caller.call("Query", groupBy("kind"))).toMatchObject({
      fieldsData: [
        { type: "JSON", fieldName: "kind", scalars: { jsonData: { data: ["k0", "k1", "k2"].map(jsonBytes) } } },
        { fieldName: "count(*)", scalars: { longData: { data: ["1", "2", "2"] } } },
      ],
    });
    expect(await caller.call("Query", groupBy('facts["n"]'))).toMatchObject({
      fieldsData: [
        { type: "JSON", fieldName: 'facts["n"]', scalars: { jsonData: { data: [0, 1].map(jsonBytes) } } },
        { fieldName: "count(*)", scalars: { longData: { data: ["2", "3"] } } },
      ],
    });
    const search = { collection_name, anns_field: "v", data: [0, 0], limit: 2, ...strong };
    const { results } = await client.search({ ...search, group_by_field: 'facts["n"]', group_size: 2 } as never);
    expect(results.map(({ id }: { id: string }) => Number(id))).toEqual([0, 2, 1, 3]);
    // The SDK asks by keys with a filter of them, and takes what it shows of a row from the columns.
    const got = { ...query, expr: "id in [4, 1]", outputFields: ["kind", "facts"] };
    expect(await caller.call("Query", got)).toMatchObject({
      fieldsData: [
        { type: "Int64", fieldName: "id", scalars: { longData: { data: ["1", "4"] } } },
        { type: "JSON", fieldName: "facts", scalars: { jsonData: { data: [{ n: 1 }, { n: 0 }].map(jsonBytes) } } },
        {
          type: "JSON",
          isDynamic: true,
          scalars: { jsonData: { data: [{ kind: "k1" }, { kind: "k1" }].map(jsonBytes) } },
        },
      ],
    });
    expect(await client.get({ collection_name, ids: [4, 1], output_fields: ["facts"] })).toMatchObject({
      data: [
        { id: "1", facts: { n: 1 } },
        { id: "4", facts: { n: 0 } },
      ],
    });
  });

  test("of nothing have typed columns, and need a limit without a filter", async () => {
    const none = await caller.call("Query", { collectionName: books, expr: "id > 900", outputFields: ["v", "shelf"] });
    expect(none).toMatchObject({
      status: { code: 0 },
      fieldsData: [
        { type: "Int64", fieldName: "id", field: "scalars" },
        { type: "FloatVector", fieldName: "v", vectors: { dim: "2" } },
        { type: "Int32", fieldName: "shelf", field: "scalars" },
      ],
    });
    expect(await caller.call("Query", { collectionName: books, outputFields: ["id"] })).toMatchObject({
      status: { code: 65535, reason: expect.stringContaining("empty expression should be used with limit") },
    });
  });

  test.each([
    ["Session, with the write's timestamp", { consistencyLevel: "Session" }, true],
    ["Strong", { consistencyLevel: "Strong" }, false],
    ["Customized", { consistencyLevel: "Customized" }, true],
    ["the collection's", { useDefaultConsistency: true }, false],
    ["that of clients without levels", { consistencyLevel: "Strong", guaranteeTimestamp: "2" }, false],
  ])("at level %s", async (_, level, isTold) => {
    const row = { id: "1000", v: [0, 0], w: [0, 1], shelf: 0, about: "new" };
    const { timestamp } = await client.upsert({ collection_name: books, data: [row] });
    const request = { collectionName: books, expr: "id == 1000", outputFields: ["id"], ...level };
    const reply = await caller.call("Query", isTold ? { ...request, guaranteeTimestamp: timestamp } : request);
    expect(reply).toMatchObject({ fieldsData: [{ scalars: { longData: { data: ["1000"] } } }] });
    // A session goes on from there.
    const session = { consistencyLevel: "Session", guaranteeTimestamp: reply.sessionTs };
    expect(BigInt(String(reply.sessionTs))).toBeGreaterThan(BigInt(timestamp) >> 20n);
    expect(await caller.call("Query", { ...request, ...session })).toMatchObject({ status: { code: 0 } });
    const deleted = await client.delete({ collection_name: books, ids: [1000] });
    expect(BigInt(deleted.timestamp)).toBeGreaterThan(BigInt(timestamp));
    expect((await client.delete({ collection_name: books, ids: [1000] })).timestamp).not.toBe("0");
  });
});

describe("changes", () => {
  const row = (id: number, shelf: number) => ({ id, v: [0, 0], w: [0, 1], shelf, about: "changing", note: `n${id}` });
  const read = async (filter: string) => {
    const request = { collection_name: books, filter, output_fields: ["shelf", "about", "note"], ...strong };
    return (await client.query(request)).data;
  };

  test("an upsert replaces rows, in whole or in part", async () => {
    const inserted = await client.upsert({ collection_name: books, data: [row(100, 1), row(101, 1)] });
    expect(inserted).toMatchObject({ status: OK, upsert_cnt: "2" });
    const part = { collection_name: books, data: [{ id: 100, shelf: 2, more: 1 }], partial_update: true };
    expect(await client.upsert(part as never)).toMatchObject({ status: OK, upsert_cnt: "1" });
    expect(await read("id == 100")).toEqual([{ id: "100", shelf: 2, about: "changing", $meta: { note: "n100" } }]);
  });

  test("a delete takes ids, or a filter with templates", async () => {
    expect(await client.delete({ collection_name: books, ids: [100] })).toMatchObject({ status: OK, delete_cnt: "1" });
    const byFilter = { collection_name: books, filter: "note == {note}", exprValues: { note: "n101" } };
    expect(await client.deleteEntities(byFilter)).toMatchObject({ status: OK, delete_cnt: "1" });
    expect(await read("id in [100, 101]")).toEqual([]);
  });
});
