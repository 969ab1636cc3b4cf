/** What only a newer version knows: ignored where that is safe, refused with a word to do where it is not. */

import { crc32 } from "node:zlib";
import { Schema, Table, tableToIPC, vectorFromArray } from "apache-arrow";
import { describe, expect, test } from "vitest";
import { RequestWindow } from "../../actors/streaming/request-window.ts";
import { decodeRecord, encodeRecord } from "../../runtime/log/record.ts";
import { CollectionDoc, decodeDoc, encodeDoc } from "../../runtime/protocol/catalog.ts";
import { decode, encode } from "../../runtime/protocol/codec.ts";
import { compactCollection } from "../../runtime/protocol/coordinator.ts";
import { type CompactSegments, compactSegments } from "../../runtime/protocol/data.ts";
import { PROTOCOL_VERSION } from "../../runtime/protocol/versions.ts";
import { readSegmentFile } from "../../runtime/segment/arrow-file.ts";
import { answerTo, playExchange, type RecordedExchange, recordExchange } from "./recorded-wire.ts";
import { DOCUMENTS, EXCHANGES } from "./samples.ts";

const NEWER = expect.objectContaining({ kind: "newer_version" });

describe("a log record", () => {
  const header = { channel: 0, kind: "mut" as const, term: 1, index: 0, previous: { seq: 0, crc: 0 } };
  const record = (body: unknown) => encodeRecord(header, [{ ts: 9n, bytes: encode(body), version: 1 }]);
  const withByte = (at: number, value: number) => {
    const payload = record({ operation: "delete" });
    payload[at] = value;
    const end = payload.length - 4;
    new DataView(payload.buffer).setUint32(end, crc32(payload.subarray(0, end)), true);
    return payload;
  };

  test.each([
    ["of another format", withByte(4, 3)],
    ["of another kind", withByte(5, 4)],
    ["with an operation that is not known", record({ operation: "drop-partition", partitionId: 3 })],
  ])("%s stops the reader", (_, payload) => {
    expect(() => decodeRecord(payload)).toThrow(NEWER);
  });

  test("with a ctl entry that is no fence stops the reader", () => {
    const payload = encodeRecord({ ...header, kind: "ctl" }, [{ ts: 9n, bytes: encode({ seal: true }), version: 1 }]);
    expect(() => decodeRecord(payload)).toThrow(NEWER);
  });

  test("with more fields than are known is read", () => {
    const body = { vchannel: "7v0", operation: "delete", priority: 3 };
    expect(decodeRecord(record(body)).entries).toMatchObject([{ vchannel: "7v0", operation: "delete" }]);
  });
});

test("a segment file of another format is not read", () => {
  const bytes = tableToIPC(withMetadata(new Map([["vdb.format", "3"]])), "file");
  expect(() => readSegmentFile(bytes)).toThrow(NEWER);
});

function withMetadata(metadata: Map<string, string>): Table {
  const { schema, batches } = new Table({ id: vectorFromArray([1, 2, 3]) });
  return new Table(new Schema(schema.fields, metadata), batches);
}

test("request ids of another format are not read", () => {
  expect(() => new RequestWindow().prepend(encode({ version: 3, requests: [] }))).toThrow(NEWER);
});

describe("a document", () => {
  test.each(Object.entries(DOCUMENTS))("%s keeps what is not known, when the rest is changed", (key, doc) => {
    const newer = grown(doc);
    const read = decodeDoc(key, encode(newer)) as object;
    expect(decode(encodeDoc(key, { ...read }))).toEqual(decode(encode(newer)));
  });

  test("of a cluster in a newer format is refused", () => {
    const doc = { ...(DOCUMENTS.cluster as object), format: 2 };
    expect(() => decodeDoc("cluster", encode(doc))).toThrow(NEWER);
  });

  test("of a kind that is not known is left as it is", () => {
    const doc = { anything: [1, 2] };
    expect(decodeDoc("future.1", encode(doc))).toEqual(doc);
    expect(decode(encodeDoc("future.1", doc))).toEqual(doc);
  });

  test("collection: also inside its fields, partitions, shards and indexes", () => {
    const newer = grown(DOCUMENTS["collection.7"]) as { schema: { fields: object[] }; indexes: object[] };
    const { schema, indexes } = CollectionDoc.parse(newer);
    expect(schema.fields).toEqual(newer.schema.fields);
    expect(indexes).toEqual(newer.indexes);
  });
});

describe("a message", () => {
  test.each(EXCHANGES.map((exchange) => [exchange.operation.subject, exchange] as const))(
    "%s with more fields than are known is understood",
    async (_, exchange) => {
      const recorded = await recordExchange(exchange);
      if (recorded.request.length > 1 || recorded.reply.length > 1) return;
      const more = (of: RecordedExchange["request"]) =>
        of.map(({ headers, data }) => ({ headers, data: encode({ ...(decode(data) as object), unknownToOld: 1 }) }));
      const newer = { request: more(recorded.request), reply: more(recorded.reply) };
      expect(await playExchange(exchange, newer)).toEqual(await playExchange(exchange, recorded));
    },
  );

  test("in a newer version of the protocol is refused, by the name of the error and in words", async () => {
    const [exchange] = EXCHANGES as [(typeof EXCHANGES)[number]];
    const { request } = await recordExchange(exchange);
    expect(request[0]!.headers).toMatchObject({ "Vdb-Protocol": "1" });
    const [answer] = await answerTo(exchange, inVersion(PROTOCOL_VERSION + 1, request));
    expect(answer!.headers).toMatchObject({ "Vdb-Error": "1" });
    expect(decode(answer!.data)).toMatchObject({
      kind: "newer_version",
      message: expect.stringMatching(/version 3 of the nodes' protocol, this node speaks 2: upgrade it first/),
    });
  });

  const of = (subject: string) => EXCHANGES.find(({ operation }) => operation.subject === subject)!;
  const filter = { root: { op: "geometry", fieldId: 105 }, fieldIds: [105], primaryFieldId: 100, version: 2 };
  const boost = { functions: [{ filter, weight: 2 }], functionMode: "sum", boostMode: "sum" };
  const { search } = of("query.{nodeId}.search").request as { search: object };
  test.each([
    ["query.{nodeId}.search", { filter: null }, "1"],
    ["query.{nodeId}.search", { filter }, "2"],
    ["query.{nodeId}.search", { search: { ...search, boost } }, "2"],
    ["query.{nodeId}.query", { filter }, "2"],
    ["streaming.{nodeId}.search", { filter }, "2"],
    ["streaming.{nodeId}.query", { filter }, "2"],
    ["streaming.{nodeId}.append", {}, "1"],
    ["streaming.{nodeId}.append", { hasNullVectors: true }, "2"],
    ["data.{nodeId}.build-index", { isNullable: true }, "2"],
  ])("%s with %j takes version %s, and no more", async (subject, more, version) => {
    const exchange = of(subject);
    const { request } = await recordExchange({ ...exchange, request: { ...(exchange.request as object), ...more } });
    for (const { headers } of request) expect(headers).toMatchObject({ "Vdb-Protocol": version });
  });

  test("to compact takes version 2 where segments are laid out by a key", () => {
    expect(compactSegments.takes!({} as CompactSegments)).toBe(1);
    expect(compactSegments.takes!({ clusterBy: 104 } as CompactSegments)).toBe(2);
    expect(compactCollection.takes!({ collectionId: 1 })).toBe(1);
    expect(compactCollection.takes!({ collectionId: 1, isClustering: true })).toBe(2);
  });

  test("that a node of an older version refuses may be asked again: of it, once it is upgraded, or of another", async () => {
    const exchange = of("query.{nodeId}.query");
    const newer = { ...exchange, request: { ...(exchange.request as object), filter } };
    const { request } = await recordExchange(newer);
    // What the older one says of our version is what we say of the next.
    const reply = await answerTo(newer, inVersion(PROTOCOL_VERSION + 1, request));
    expect(await playExchange(newer, { request, reply })).toMatchObject({ reply: { error: { kind: "not_ready" } } });
    const older = await recordExchange(exchange);
    expect(await playExchange(exchange, { request: older.request, reply })).toMatchObject({
      reply: { error: { kind: "newer_version" } },
    });
  });
});

function inVersion(version: number, recorded: RecordedExchange["request"]): RecordedExchange["request"] {
  return recorded.map(({ headers, data }) => ({ headers: { ...headers, "Vdb-Protocol": `${version}` }, data }));
}

/** The value with a field more in every object, except where names are keys. */
function grown(value: unknown, isMap = false): unknown {
  if (Array.isArray(value)) return value.map((item) => grown(item));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([name, member]) => [name, grown(member, MAPS.includes(name))]);
  return Object.fromEntries(isMap ? entries : [...entries, ["unknownToOld", { why: "newer" }]]);
}

const MAPS = ["params", "properties", "flushed", "indexes", "segments", "shards"];
