/**
 * Requests that must be refused, and how: with Milvus's code, in words that name what is wrong, the same over HTTP, over
 * NATS in JSON and in MessagePack, and in the client. Whatever is refused has changed nothing.
 */
import { connect, headers, type NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import { ROLES } from "../../runtime/actor.ts";
import type { VdbError } from "../../runtime/errors.ts";
import { decodePublic, encodePublic, JSON_TYPE, MSGPACK_TYPE } from "../../runtime/protocol/public-codec.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";

type Body = Record<string, unknown>;
type Operation = `${"collections" | "entities" | "indexes"}.${string}`;
type Case = [what: string, operation: Operation, body: Body, code: number, message: RegExp];

const GOOD_ROWS = 3;
const ROWS = 1000;
/** The row of an insert that is bad, counted from 0. */
const BAD_ROW = 500;

const FIELDS = [
  { fieldName: "id", dataType: "Int64", isPrimary: true },
  { fieldName: "tiny", dataType: "Int8" },
  { fieldName: "text", dataType: "VarChar", elementTypeParams: { max_length: 8 } },
  { fieldName: "flags", dataType: "Array", elementDataType: "Int16", elementTypeParams: { max_capacity: 2 } },
  { fieldName: "document", dataType: "JSON" },
  { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: 4 } },
];
const INDEX = [{ fieldName: "vector", indexType: "HNSW", metricType: "L2" }];

const rowOf = (id: number): Body => ({ id, tiny: 1, text: "text", flags: [1], document: {}, vector: [id, 0, 0, 1] });

/** An insert of many rows, of which one is changed. */
function insertWith(change: Body, collectionName = "good"): Body {
  const data = Array.from({ length: ROWS }, (_, i) => rowOf(1000 + i));
  data[BAD_ROW] = { ...data[BAD_ROW], ...change };
  return { collectionName, data };
}

const search = (change: Body): Body => ({ collectionName: "good", data: [[1, 2, 3, 4]], limit: 3, ...change });
const create = (change: Body): Body => ({ collectionName: "new", schema: { fields: FIELDS }, ...change });
const withFields = (...fields: Body[]): Body => create({ schema: { fields } });
const [ID, VECTOR] = [FIELDS[0]!, FIELDS.at(-1)!];
const withIndex = (index: Body): Body => create({ indexParams: [{ ...INDEX[0], ...index }] });

// biome-ignore format: a table is read by its lines
const CASES: Case[] = [
  ["a vector of another dimension", "entities.insert", insertWith({ vector: [1, 2, 3] }), 1804, /row 500: field vector: expected a vector of dimension 4, got one of 3/],
  ["an infinite number in a vector", "entities.insert", insertWith({ vector: [1, 2, Infinity, 4] }), 1100, /row 500: field vector: value 'Infinity' is not a number or infinity/],
  ["text in a vector", "entities.insert", insertWith({ vector: [1, "2", 3, 4] }), 1804, /row 500: field vector: expected a number at position 1/],
  ["null where it is not allowed", "entities.insert", insertWith({ text: null }), 1804, /row 500: field text: null is not allowed/],
  ["a field that the schema does not have", "entities.insert", insertWith({ colour: "red" }), 1804, /row 500: field colour: the schema has no such field/],
  ["a number out of the range of its type", "entities.insert", insertWith({ tiny: 200 }), 1100, /row 500: field tiny: .*200.* out of range: \[-128, 127\]/],
  ["a value of another type", "entities.insert", insertWith({ text: 7 }), 1804, /row 500: field text: expected VarChar, got number 7/],
  ["a text that is too long", "entities.insert", insertWith({ text: "ninechars" }), 1100, /row 500: field text: .*length: 9, max length: 8/],
  ["an array that is too long", "entities.insert", insertWith({ flags: [1, 2, 3] }), 1100, /row 500: field flags: .*max capacity \(2\)/],
  ["an array item out of range", "entities.insert", insertWith({ flags: [1, 70_000] }), 1100, /row 500: field flags: .*out of range/],
  ["a null in an array", "entities.insert", insertWith({ flags: [null] }), 1804, /row 500: field flags: array elements can not be null/],
  ["a primary key that is missing", "entities.insert", insertWith({ id: null }), 1806, /row 500: field id: the primary key is missing/],
  ["a primary key of another type", "entities.insert", insertWith({ id: "one" }), 1804, /row 500: field id: expected Int64/],
  ["a primary key of 100 digits", "entities.insert", insertWith({ id: "7".repeat(100) }), 1100, /row 500: field id: the 500th element \(7{60}…\) out of range/],
  ["a JSON value of too many levels", "entities.insert", insertWith({ document: `${"[".repeat(501)}${"]".repeat(501)}` }), 1100, /row 500: field document: the value is nested deeper than 500 levels/],
  ["a primary key where they are generated", "entities.insert", { collectionName: "auto", data: [{ vector: [1, 2] }, { id: 5, vector: [1, 2] }] }, 1806, /row 1: field id: .*autoID/],
  ["a field that is missing", "entities.insert", { collectionName: "good", data: [{ id: 1, vector: [1, 2, 3, 4] }] }, 1804, /row 0: field tiny: the field is missing/],
  ["no rows", "entities.insert", { collectionName: "good", data: [] }, 1804, /data is empty/],
  ["no data", "entities.insert", { collectionName: "good" }, 1802, /data is required/],
  ["a row that is no object", "entities.insert", { collectionName: "good", data: [rowOf(1), 7] }, 1801, /data: row 1: expected an object, got number 7/],
  ["a partition that is not there", "entities.insert", { collectionName: "good", partitionName: "p9", data: [rowOf(1)] }, 200, /partition not found\[partition=p9\]/],
  ["a request id as parts have them", "entities.insert", { collectionName: "good", data: [rowOf(1)], requestId: "job.3" }, 1100, /requestId "job\.3" ends in a dot/],
  ["a request id that is too long", "entities.insert", { collectionName: "good", data: [rowOf(1)], requestId: "r".repeat(41) }, 1100, /requestId has 41 characters/],
  ["a key twice in an upsert", "entities.upsert", { collectionName: "good", data: [rowOf(1), rowOf(2), rowOf(1)] }, 1100, /duplicate primary keys/],
  ["an insert into an unknown collection", "entities.insert", { collectionName: "nowhere", data: [rowOf(1)] }, 100, /collection=nowhere/],
  ["an insert without a collection", "entities.insert", { data: [rowOf(1)] }, 1802, /collectionName is required/],
  ["a collection's name that is a number", "entities.insert", { collectionName: 7, data: [rowOf(1)] }, 1801, /collectionName/],
  ["an unknown database", "entities.insert", { dbName: "other", collectionName: "good", data: [rowOf(1)] }, 800, /other/],

  ["a search of an unknown collection", "entities.search", search({ collectionName: "nowhere" }), 100, /collection=nowhere/],
  ["a search of a collection that is not loaded", "entities.search", search({ collectionName: "unloaded" }), 101, /collection not loaded\[collection=unloaded\]/],
  ["limit 0", "entities.search", search({ limit: 0 }), 1100, /topk \[0\] is invalid.*\[1, 16384\]/],
  ["limit 16,385", "entities.search", search({ limit: 16_385 }), 1100, /topk \[16385\] is invalid/],
  ["a limit that is no integer", "entities.search", search({ limit: 1.5 }), 1801, /limit/],
  ["a page beyond the window", "entities.search", search({ limit: 10, offset: 16_380 }), 1100, /offset\+limit \[16390\]/],
  ["a negative offset", "entities.search", search({ offset: -1 }), 1100, /offset/],
  ["a query vector of another dimension", "entities.search", search({ data: [[1, 2, 3, 4], [1, 2]] }), 1100, /data: vector 1 for field vector: expected a vector of dimension 4, got one of 2/],
  ["an infinite query", "entities.search", search({ data: [[1, 2, 3, -Infinity]] }), 1100, /data: vector 0 for field vector: .*-Infinity/],
  ["no query vectors", "entities.search", search({ data: [] }), 1100, /nq \[0\] is invalid/],
  ["another metric than the index's", "entities.search", search({ searchParams: { metricType: "IP" } }), 1100, /metric type not match.*expected=L2.*actual=IP/],
  ["an ef below the limit", "entities.search", search({ limit: 20, searchParams: { params: { ef: 10 } } }), 1100, /parameter ef must be .*20/],
  ["an unknown vector field", "entities.search", search({ annsField: "vektor" }), 1100, /vektor/],
  ["a search in a field of numbers", "entities.search", search({ annsField: "tiny" }), 1100, /field \(tiny\) to search is not of vector data type/],
  ["an unknown output field", "entities.search", search({ outputFields: ["tiny", "colour"] }), 65535, /field colour not exist/],
  ["an unknown consistency level", "entities.search", search({ consistencyLevel: "Strongest" }), 1100, /'Strongest'.*Strong, Session, Bounded, Eventually/],
  ["a filter with a syntax error", "entities.search", search({ filter: "tiny = 1" }), 1100, /failed to create query plan: cannot parse expression: tiny = 1/],
  ["a filter on an unknown field", "entities.search", search({ filter: "colour == 1" }), 1100, /field colour not exist/],
  ["a filter that compares text with a number", "entities.search", search({ filter: "text > 5" }), 1100, /cannot parse expression: text > 5/],
  ["a template without its value", "entities.search", search({ filter: "tiny in {values}" }), 1100, /values/],
  ["a search in an empty band", "entities.search", search({ searchParams: { params: { radius: 1, range_filter: 2 } } }), 1100, /range_filter must be less than radius/],

  ["a query with a bad filter", "entities.query", { collectionName: "good", filter: "tiny >" }, 1100, /failed to create query plan/],
  ["a query of too many rows", "entities.query", { collectionName: "good", filter: "", limit: 16_385 }, 1100, /limit \[16385\]/],
  ["a count of a page", "entities.query", { collectionName: "good", outputFields: ["count(*)"], limit: 5 }, 1100, /count entities with pagination is not allowed/],
  ["a query of a collection that is not loaded", "entities.query", { collectionName: "unloaded", filter: "" }, 101, /collection=unloaded/],
  ["a get without ids", "entities.get", { collectionName: "good" }, 1802, /id is required/],
  ["a get by text where keys are integers", "entities.get", { collectionName: "good", id: ["one"] }, 1806, /^id\[0\]: expected Int64, got string "one"$/],
  ["a get by one key that is an object", "entities.get", { collectionName: "good", id: { key: 1 } }, 1806, /^id: expected Int64, got an object$/],
  ["a get by a key of 100 digits", "entities.get", { collectionName: "good", id: [1, "7".repeat(100)] }, 1806, /^id\[1\]: 7{60}… out of range: \[-9223372036854775808, 9223372036854775807\]$/],
  ["a delete without a filter", "entities.delete", { collectionName: "good" }, 1802, /filter is required/],
  ["a delete with a bad filter", "entities.delete", { collectionName: "good", filter: "tiny ==" }, 1100, /failed to create delete plan/],
  ["a delete by filter of what is not loaded", "entities.delete", { collectionName: "unloaded", filter: "tiny > 1" }, 101, /collection=unloaded/],

  ["another collection of the same name", "collections.create", { collectionName: "good", dimension: 8 }, 65535, /good/],
  ["a name that is none", "collections.create", create({ collectionName: "7 of 9" }), 1100, /Invalid collection name: 7 of 9/],
  ["neither fields nor a dimension", "collections.create", { collectionName: "new" }, 1802, /dimension is required/],
  ["dimension 1", "collections.create", { collectionName: "new", dimension: 1 }, 65535, /invalid dimension: 1 of field vector/],
  ["no primary key", "collections.create", withFields(VECTOR), 1100, /primary key is not specified/],
  ["two primary keys", "collections.create", withFields(ID, { ...ID, fieldName: "key" }, VECTOR), 1100, /more than one primary key, field name = id, key/],
  ["a primary key of floats", "collections.create", withFields({ ...ID, dataType: "Float" }, VECTOR), 1100, /primary key should be Int64 or VarChar, got Float of field id/],
  ["no vector", "collections.create", withFields(ID), 1100, /does not contain vector field/],
  ["a field twice", "collections.create", withFields(ID, VECTOR, VECTOR), 1100, /duplicated field name vector/],
  ["an unknown type", "collections.create", withFields(ID, VECTOR, { fieldName: "x", dataType: "int64" }), 1100, /data type int64 is invalid\(case sensitive\)/],
  ["a type that is to come", "collections.create", withFields(ID, { fieldName: "x", dataType: "ArrayOfStruct" }), 1100, /ArrayOfStruct is not supported yet/],
  ["a text without its length", "collections.create", withFields(ID, VECTOR, { fieldName: "x", dataType: "VarChar" }), 1100, /max_length.*field\(x\)/],
  ["a vector with a default", "collections.create", withFields(ID, { ...VECTOR, nullable: true, defaultValue: [1, 2] }), 1100, /type not support default_value, type:FloatVector, name:vector/],
  ["a default that does not fit", "collections.create", withFields(ID, VECTOR, { fieldName: "x", dataType: "Int8", defaultValue: 300 }), 1100, /default value of field x: .*out of range/],
  ["a field's name that is a word of filters", "collections.create", withFields(ID, VECTOR, { fieldName: "like", dataType: "Int8" }), 1701, /Invalid field name: like/],
  ["17 shards", "collections.create", create({ params: { shardsNum: 17 } }), 1100, /invalid params\.shardsNum: .*limited to 16.* got number 17/],
  ["no shards", "collections.create", create({ params: { shardsNum: 0 } }), 1100, /invalid params\.shardsNum: .*\[1, 16\], got number 0/],
  ["an unknown index type", "collections.create", withIndex({ indexType: "BTREE" }), 1100, /invalid index type: BTREE/],
  ["an unknown metric", "collections.create", withIndex({ metricType: "HAMMING" }), 1100, /HAMMING/],
  ["an index on a field that is not there", "collections.create", withIndex({ fieldName: "vektor" }), 1802, /`vektor` hasn't defined in schema/],
  ["an HNSW of M 1", "collections.create", withIndex({ params: { M: 1 } }), 1100, /parameter M must be .*got 1/],
  ["an IVF_PQ without m", "collections.create", withIndex({ indexType: "IVF_PQ" }), 1101, /parameter m/],
  ["an IVF_PQ whose m is no divisor", "collections.create", withIndex({ indexType: "IVF_PQ", params: { m: 3 } }), 1100, /parameter m must be a divisor of the dimension \(4\), got 3/],
  ["a parameter that the index does not have", "indexes.create", { collectionName: "unloaded", indexParams: [{ ...INDEX[0], params: { nlist: 4 } }] }, 1100, /parameter nlist/],
  ["an index on an unknown collection", "indexes.create", { collectionName: "nowhere", indexParams: INDEX }, 100, /collection=nowhere/],
  ["the description of an unknown index", "indexes.describe", { collectionName: "good", indexName: "none" }, 700, /index=none/],
  ["a load without an index", "collections.load", { collectionName: "unloaded" }, 700, /collection=unloaded/],
  ["a flush of an unknown collection", "collections.flush", { collectionName: "nowhere" }, 100, /collection=nowhere/],
];

/** Cases whose bodies the client's own code cannot take, since its types rule them out. */
const NOT_FOR_THE_CLIENT = new Set(["no data"]);

let cluster: TestCluster;
let client: VdbClient;
let connection: NatsConnection;
let http: string;
beforeAll(async () => {
  cluster = await startTestCluster([ROLES], ["proxy.http=127.0.0.1:0"]);
  http = `http://${String(cluster.nodes[0]!.observe().proxy?.http)}`;
  connection = await connect({ servers: cluster.nats.url });
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await overHttp("collections.create", { collectionName: "good", schema: { fields: FIELDS }, indexParams: INDEX });
  await overHttp("collections.create", { collectionName: "unloaded", schema: { fields: FIELDS } });
  await overHttp("collections.create", { collectionName: "auto", dimension: 2, autoID: true });
  await overHttp("entities.insert", {
    collectionName: "good",
    data: Array.from({ length: GOOD_ROWS }, (_, i) => rowOf(i)),
  });
});
afterAll(async () => {
  await client?.close();
  await connection?.close();
  await cluster?.[Symbol.asyncDispose]();
});

/** JSON has no infinity; a number too large for a double is read as one. */
function jsonOf(body: Body): string {
  const text = JSON.stringify(body, (_, value: unknown) =>
    value === Infinity ? "+inf" : value === -Infinity ? "-inf" : value,
  );
  return text.replaceAll('"+inf"', "1e999").replaceAll('"-inf"', "-1e999");
}

async function postHttp(operation: Operation, text: string, contentType = JSON_TYPE): Promise<Response> {
  const path = operation.replace(".", "/");
  return fetch(`${http}/v2/vectordb/${path}`, { method: "POST", body: text, headers: { "content-type": contentType } });
}

async function overHttp(operation: Operation, body: Body): Promise<Body> {
  const response = await postHttp(operation, jsonOf(body));
  expect(response.status).toBe(200);
  return (await response.json()) as Body;
}

async function overNats(operation: Operation, bytes: Uint8Array | string, contentType?: string): Promise<Body> {
  const given = headers();
  if (contentType !== undefined) given.set("Content-Type", contentType);
  const reply = await connection.request(`vdb.v2.${operation}`, bytes, { timeout: 60_000, headers: given });
  return decodePublic(reply.data, reply.headers?.get("Content-Type") || JSON_TYPE) as Body;
}

async function overClient(operation: Operation, body: Body): Promise<Body> {
  const calls: Record<string, (options: never) => Promise<unknown>> = {
    "collections.create": (options) => client.createCollection(options),
    "collections.load": (options) => client.loadCollection(options),
    "collections.flush": (options) => client.flush(options),
    "indexes.create": (options) => client.createIndex(options),
    "indexes.describe": (options) => client.describeIndex(options),
    "entities.insert": (options) => client.insert(options),
    "entities.upsert": (options) => client.upsert(options),
    "entities.delete": (options) => client.delete(options),
    "entities.query": (options) => client.query(options),
    "entities.get": (options) => client.get(options),
    "entities.search": (options) => client.search(options),
  };
  try {
    return { data: await calls[operation]!(body as never) };
  } catch (error) {
    const { code, message, details } = error as VdbError;
    return details === undefined ? { code, message } : { code, message, details };
  }
}

describe("a bad request is refused alike on every way in", () => {
  test.each(CASES)("%s", async (what, operation, body, code, message) => {
    const answer = await overHttp(operation, body);
    expect(answer).toMatchObject({ code, message: expect.stringMatching(message) as unknown });
    expect(answer).not.toHaveProperty("data");
    expect(await overNats(operation, jsonOf(body))).toEqual(answer);
    expect(await overNats(operation, encodePublic(body, MSGPACK_TYPE), MSGPACK_TYPE)).toEqual(answer);
    if (!NOT_FOR_THE_CLIENT.has(what)) expect(await overClient(operation, body)).toEqual(answer);
  });

  test("and has changed nothing", async () => {
    expect(await client.listCollections()).toEqual(["auto", "good", "unloaded"]);
    const count = async (collectionName: string) =>
      client.query({ collectionName, outputFields: ["count(*)"], consistencyLevel: "Strong" });
    expect(await count("good")).toEqual([{ "count(*)": GOOD_ROWS }]);
    expect(await count("auto")).toEqual([{ "count(*)": 0 }]);
  });
});

test("NaN in row 500 of 1,000, which JSON cannot say, refuses them all", async () => {
  const message = /row 500: field vector: value 'NaN' is not a number or infinity/;
  for (const vector of [[1, 2, NaN, 4], Float32Array.of(1, 2, NaN, 4)]) {
    await expect(client.insert(insertWith({ vector }) as never)).rejects.toMatchObject({
      code: 1100,
      message: expect.stringMatching(message) as unknown,
      details: { row: 500, field: "vector" },
    });
  }
  const rows = await client.query({ collectionName: "good", filter: "id >= 1000", consistencyLevel: "Strong" });
  expect(rows).toEqual([]);
});

test("bodies that cannot be read", async () => {
  const answers = await Promise.all([
    overNats("entities.search", '{"collectionName": '),
    overNats("entities.search", "[1, 2]"),
    overNats("entities.search", "{}", "text/csv"),
    overNats("entities.search", Uint8Array.of(0x82, 0xa1), MSGPACK_TYPE),
    postHttp("entities.search", '{"collectionName": ').then((response) => response.json() as Promise<Body>),
  ]);
  expect(answers.map(({ code }) => code)).toEqual([1801, 1801, 1801, 1801, 1801]);
});

test("bodies that nest so deep that no stack holds them", async () => {
  const levels = 200_000;
  const lists = `${"[".repeat(levels)}${"]".repeat(levels)}`;
  const exact = `{"collectionName":"good","id":12345678901234567890,"data":${lists}}`;
  // A list of one item, again and again, and nil in the innermost.
  const packed = new Uint8Array(levels + 1).fill(0x91).fill(0xc0, levels);
  for (const answer of [
    await overNats("entities.search", exact),
    await overNats("entities.search", packed, MSGPACK_TYPE),
    (await (await postHttp("entities.search", exact)).json()) as Body,
  ]) {
    expect(answer).toEqual({ code: 1801, message: expect.stringMatching(/nested too deeply$/) as unknown });
  }
  const template = `{"collectionName":"good","data":[[1,2,3,4]],"filter":"tiny in {t}","exprParams":{"t":${lists}}}`;
  expect(await overNats("entities.search", template)).toEqual({
    code: 1100,
    message: "exprParams: a value is nested too deeply",
  });
});

test("paths and subjects that are not there", async () => {
  const response = await postHttp("entities.nosuch", "{}");
  expect({ status: response.status, text: await response.text() }).toEqual({ status: 404, text: "404 page not found" });
  await expect(overNats("entities.nosuch", "{}")).rejects.toThrow(/no responders/);
});
