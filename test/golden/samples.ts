/** The values that the golden files hold: every kind of column, document and message, small. */

import * as coordinator from "../../runtime/protocol/coordinator.ts";
import * as data from "../../runtime/protocol/data.ts";
import * as node from "../../runtime/protocol/node.ts";
import type { Operation } from "../../runtime/protocol/operation.ts";
import * as query from "../../runtime/protocol/query.ts";
import * as streaming from "../../runtime/protocol/streaming.ts";
import type { FileField, StoredChunk } from "../../runtime/segment/arrow-file.ts";
import type { Column, ColumnBatch } from "../../runtime/segment/column.ts";
import { varcharColumn } from "../../runtime/segment/keys.ts";

const TS = 2n ** 60n + 5n;
const SEGMENT_ID = "01JABCDEFGHJKMNPQRSTVWXYZ0";
const OTHER_SEGMENT_ID = "01JABCDEFGHJKMNPQRSTVWXYZ1";

export const FIELDS: FileField[] = [
  { fieldId: 100, name: "id", type: "Int64" },
  { fieldId: 101, name: "flag", type: "Bool" },
  { fieldId: 102, name: "tiny", type: "Int8" },
  { fieldId: 103, name: "small", type: "Int16" },
  { fieldId: 104, name: "medium", type: "Int32" },
  { fieldId: 105, name: "single", type: "Float" },
  { fieldId: 106, name: "double", type: "Double" },
  { fieldId: 107, name: "text", type: "VarChar" },
  { fieldId: 108, name: "document", type: "JSON" },
  { fieldId: 109, name: "tags", type: "Array", elementType: "VarChar" },
  { fieldId: 110, name: "numbers", type: "Array", elementType: "Int32" },
  { fieldId: 111, name: "vector", type: "FloatVector", dimension: 2 },
];

const valid = Uint32Array.of(0b101);
const texts = (of: string[]) => {
  const { offsets, bytes } = varcharColumn(of) as { offsets: Uint32Array; bytes: Uint8Array };
  return { offsets, bytes };
};

const COLUMNS: Record<number, Column> = {
  100: { kind: "int64", values: BigInt64Array.of(1n, -2n, 2n ** 62n) },
  101: { kind: "bool", values: Uint8Array.of(1, 0, 0), valid },
  102: { kind: "int8", values: Int8Array.of(-128, 0, 127) },
  103: { kind: "int16", values: Int16Array.of(-32768, 0, 32767) },
  104: { kind: "int32", values: Int32Array.of(-2147483648, 0, 2147483647), valid },
  105: { kind: "float", values: Float32Array.of(0.5, -1.25, 3) },
  106: { kind: "double", values: Float64Array.of(0.1, -2.2, 1e300) },
  107: { kind: "varchar", ...texts(["a", "", "äöü€"]) },
  108: { kind: "json", ...texts(['{"a":1}', "", "[2]"]), valid },
  109: { kind: "array", offsets: Uint32Array.of(0, 2, 2, 3), items: { kind: "varchar", ...texts(["x", "yy", "z"]) } },
  110: { kind: "array", offsets: Uint32Array.of(0, 0, 2, 3), items: { kind: "int32", values: Int32Array.of(7, 8, 9) } },
  111: { kind: "floatVector", dimension: 2, values: Float32Array.of(1, 2, 3, 4, 5, 6) },
};

export const BATCH: ColumnBatch = { rowCount: 3, columns: COLUMNS };
export const KEYS = { kind: "int64" as const, values: BigInt64Array.of(5n, 6n) };
export const TEXT_KEYS = { kind: "varchar" as const, ...texts(["k1", "k2"]) };
export const CHUNKS: StoredChunk[] = [{ batch: BATCH, timestamps: BigInt64Array.of(TS, TS + 1n, TS + 2n) }];

export const VECTOR_FIELDS: FileField[] = [
  { fieldId: 100, name: "id", type: "Int64" },
  { fieldId: 101, name: "half", type: "Float16Vector", dimension: 2 },
  { fieldId: 102, name: "brain", type: "BFloat16Vector", dimension: 2 },
  { fieldId: 103, name: "bytes", type: "Int8Vector", dimension: 3 },
  { fieldId: 104, name: "bits", type: "BinaryVector", dimension: 16 },
  { fieldId: 105, name: "sparse", type: "SparseFloatVector" },
  { fieldId: 106, name: "time", type: "Timestamptz" },
];

/** The second row's sparse vector is empty, the first one's {3: 1, 2^32 - 2: 0.5}. */
const VECTOR_COLUMNS: Record<number, Column> = {
  100: { kind: "int64", values: BigInt64Array.of(1n, 2n) },
  101: { kind: "float16Vector", dimension: 2, values: Uint8Array.of(0, 0x3c, 0, 0xc0, 1, 0, 0xff, 0x7b) },
  102: { kind: "bfloat16Vector", dimension: 2, values: Uint8Array.of(0x80, 0x3f, 0, 0xc0, 1, 0, 0x7f, 0x7f) },
  103: { kind: "int8Vector", dimension: 3, values: Uint8Array.of(0, 1, 127, 128, 255, 2) },
  104: { kind: "binaryVector", dimension: 16, values: Uint8Array.of(0xf0, 0x0f, 1, 2) },
  105: {
    kind: "sparseVector",
    offsets: Uint32Array.of(0, 16, 16),
    bytes: Uint8Array.of(3, 0, 0, 0, 0, 0, 0x80, 0x3f, 0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0x3f),
  },
  106: { kind: "int64", values: BigInt64Array.of(1_700_000_000_000_001n, 0n), valid: Uint32Array.of(0b01) },
};

/** The first row has no vector; of `later`, which came later, none of the rows has one. */
export const NULL_VECTOR_FIELDS: FileField[] = [
  ...VECTOR_FIELDS,
  { fieldId: 107, name: "single", type: "FloatVector", dimension: 2, nullable: true },
  { fieldId: 108, name: "later", type: "FloatVector", dimension: 2, nullable: true },
];
const onlySecond = Uint32Array.of(0b10);
export const NULL_VECTORS: ColumnBatch = {
  rowCount: 2,
  columns: {
    100: { kind: "int64", values: BigInt64Array.of(1n, 2n) },
    101: { kind: "float16Vector", dimension: 2, values: Uint8Array.of(0, 0, 0, 0, 1, 0, 2, 0), valid: onlySecond },
    102: { kind: "bfloat16Vector", dimension: 2, values: Uint8Array.of(0, 0, 0, 0, 1, 0, 2, 0), valid: onlySecond },
    103: { kind: "int8Vector", dimension: 3, values: Uint8Array.of(0, 0, 0, 128, 255, 2), valid: onlySecond },
    104: { kind: "binaryVector", dimension: 16, values: Uint8Array.of(0, 0, 1, 2), valid: onlySecond },
    105: {
      kind: "sparseVector",
      offsets: Uint32Array.of(0, 0, 8),
      bytes: Uint8Array.of(3, 0, 0, 0, 0, 0, 0x80, 0x3f),
      valid: onlySecond,
    },
    107: { kind: "floatVector", dimension: 2, values: Float32Array.of(0, 0, 1, 2), valid: onlySecond },
  },
};

export const NULL_VECTOR_CHUNKS: StoredChunk[] = [{ batch: NULL_VECTORS, timestamps: BigInt64Array.of(TS, TS + 1n) }];

export const VECTOR_CHUNKS: StoredChunk[] = [
  { batch: { rowCount: 2, columns: VECTOR_COLUMNS }, timestamps: BigInt64Array.of(TS, TS + 1n) },
];

const object = { name: `segment/7v0/3/${SEGMENT_ID}.arrow`, bytes: 1234, digest: "SHA-256=abc-_=" };
const indexSpec = { name: "vector", fieldId: 111, type: "HNSW", metric: "L2" as const, params: { M: 16, quick: "no" } };
const segmentIndex = { indexId: 12, object, type: "HNSW", metric: "L2" as const, params: { M: 16 } };
const segment = {
  ...{ segmentId: SEGMENT_ID, partitionId: 8, rowCount: 3, minTs: TS, maxTs: TS + 2n, object },
  ...{ indexes: { "111": segmentIndex }, deletesSeq: 40, deletes: { object, rowCount: 1 } },
};
const delta = { object, rowCount: 2, throughSeq: 41, throughTs: TS + 3n };
const field = { description: "", isPrimary: false, nullable: true, isDynamic: false };
const fieldSpecs = [
  { ...field, name: "id", type: "Int64" as const, isPrimary: true, nullable: false, defaultValue: 2n ** 62n },
  { ...field, name: "tags", type: "Array" as const, elementType: "VarChar" as const, maxCapacity: 4, maxLength: 9 },
  { ...field, name: "vector", type: "FloatVector" as const, dimension: 2 },
];
const schema = {
  ...{ version: 1, autoId: false, enableDynamicField: true },
  fields: fieldSpecs.map((each, i) => ({ ...each, fieldId: 100 + i })),
};

/** A document of each kind of key. */
export const DOCUMENTS: Record<string, unknown> = {
  cluster: { format: 1, clusterId: "c1", walChannels: 4 },
  epoch: { epoch: 3, nodeId: "n1" },
  members: {
    nodes: [
      {
        ...{ nodeId: "n1", role: "query", host: "h", pid: 7, version: "0.1.0", startedAt: 1_700_000_000_000 },
        ...{ isDraining: true, state: { resourceGroup: "rg" } },
      },
    ],
  },
  "window.ts": { bound: TS },
  "channel.0": { nodeId: "n1", term: 5 },
  "checkpoint.0": { seq: 77, term: 5 },
  "name.ZGVmYXVsdA.dGhpbmdz": { collectionId: 7 },
  "collection.7": {
    ...{ collectionId: 7, database: "default", name: "things", description: "of all kinds", schema },
    partitions: [{ partitionId: 8, name: "_default" }],
    shards: [{ vchannel: "7v0", pchannel: 0 }],
    indexes: [{ ...indexSpec, indexId: 12 }],
    loaded: { replicaNumber: 2 },
    consistencyLevel: "Bounded",
    properties: { "collection.ttl.seconds": "60" },
    createdAt: TS,
  },
  "manifest.7v0": {
    ...{ collectionId: 7, vchannel: "7v0", pchannel: 0, segments: [segment] },
    staged: [{ replaces: [SEGMENT_ID], segments: [{ ...segment, segmentId: OTHER_SEGMENT_ID }], purgedTs: TS }],
    ...{ flushed: { "8": 39 }, flushedSeq: 38, deltaSeq: 41, deltas: [delta], requests: object },
    ...{ settledTs: TS + 9n, purgedTs: TS },
  },
  "manifest.7v1": {
    ...{ collectionId: 7, vchannel: "7v1", pchannel: 1, segments: [{ ...segment, rowTs: TS }], staged: [] },
    imports: [{ jobId: 9, segments: [{ ...segment, segmentId: OTHER_SEGMENT_ID, rowTs: TS }] }],
    ...{ flushed: {}, flushedSeq: 38, deltaSeq: 41, deltas: [] },
  },
  "manifest.7v2": {
    ...{ collectionId: 7, vchannel: "7v2", pchannel: 2, segments: [{ ...segment, clusteredBy: 100 }], staged: [] },
    ...{ flushed: {}, flushedSeq: 38, deltaSeq: 41, deltas: [] },
  },
  "manifest.7v3": {
    ...{ collectionId: 7, vchannel: "7v3", pchannel: 3, staged: [] },
    segments: [{ ...segment, indexes: { "111": { ...segmentIndex, rows: 2 } } }],
    ...{ flushed: {}, flushedSeq: 38, deltaSeq: 41, deltas: [] },
  },
  "import.9": {
    ...{ jobId: 9, collectionId: 7, database: "default", collectionName: "things", partitionId: 8, createdAt: TS },
    options: { separator: ",", nullText: "", timeoutMs: 300_000 },
    ...{ state: "Importing", isEntered: false, reason: "" },
    files: [
      {
        ...{ name: "upload://a/b.json", object, bytes: 1234, rowCount: 3, completedAtMs: 1_800_000_000_000 },
        segments: [{ vchannel: "7v0", segmentId: SEGMENT_ID, partitionId: 8, rowCount: 3, object }],
      },
      { name: "c.csv", bytes: 0, segments: [], reason: "none" },
    ],
  },
  "view.7v0": { version: 4, segments: { [SEGMENT_ID]: ["n2", "n3"] } },
  "compaction.9": {
    ...{ compactionId: 9, collectionId: 7, askedAt: TS, plans: 2, isCompleted: false },
    shards: { "7v0": { segmentIds: [SEGMENT_ID], deltaSeq: 41 } },
  },
  "compaction.10": {
    ...{ compactionId: 10, collectionId: 7, askedAt: TS, plans: 2, isCompleted: false },
    ...{ shards: {}, isClustering: true },
  },
  "database.ZA": { databaseId: 5, name: "d", properties: { "database.max.collections": "9" }, createdAt: TS },
  "user.YW5u": {
    ...{ name: "ann", password: "scrypt$16384$8$1$c2FsdA==$aGFzaA==", roles: ["r"], requestId: "r1" },
  },
  "role.cg": {
    ...{ name: "r", description: "may read", requestId: "r2" },
    grants: [
      { privilege: "Search", objectType: "Collection", objectName: "things", database: "default", grantor: "root" },
    ],
  },
  "privileges.Zw": { name: "g", privileges: ["Query", "Search"], requestId: "r3" },
  "group.Zw": {
    ...{ name: "g", requests: 1, limits: 2, transferFrom: ["a"], transferTo: ["b"], nodeIds: ["n2"] },
  },
};

export const NODE_LEASE = {
  ...{ nodeId: "n1", role: "query", host: "h", pid: 42, version: "0.1.0", startedAt: 1_800_000_000_000 },
  ...{ isDraining: false, state: { segments: 3, deletePositions: { "0": 41 } } },
};

export interface Exchange {
  operation: Operation;
  params: Record<string, string>;
  request: unknown;
  reply: unknown;
}

function exchange<Request, Reply>(
  operation: Operation<string, Request, Reply>,
  request: Request,
  reply: Reply,
): Exchange {
  const params: Record<string, string> = operation.subject.includes("{nodeId}") ? { nodeId: "n1" } : {};
  return { operation: operation as unknown as Operation, params, request, reply };
}

const shard = { collectionId: 7, vchannel: "7v0" };
const sealed = { ...shard, segmentIds: [SEGMENT_ID], readTs: TS, mutSeq: 41 };
const search = {
  ...{ fieldId: 111, metric: "L2" as const, queries: Float32Array.of(1, 2), queryCount: 1, topK: 2, ef: 64 },
};
const refs = { segments: [SEGMENT_ID], segment: Uint32Array.of(0, 0), row: Uint32Array.of(1, 2) };
const hits = { counts: Uint32Array.of(2), keys: KEYS, distances: Float32Array.of(0.5, 1), refs };
const found = {
  keys: KEYS,
  timestamps: BigInt64Array.of(TS, TS),
  batch: { rowCount: 2, columns: { 100: KEYS } },
};
const changed = { revision: 99 };

/** What nodes ask each other. */
export const EXCHANGES: Exchange[] = [
  exchange(coordinator.allocateTimestamps, { count: 3 }, { first: TS }),
  exchange(coordinator.allocateIds, { count: 3 }, { first: 1000 }),
  exchange(coordinator.renewChannelTerm, { pchannel: 0, nodeId: "n1", term: 5 }, changed),
  exchange(
    coordinator.createCollection,
    {
      ...{ database: "default", name: "things", description: "", fields: fieldSpecs, autoId: false },
      ...{ enableDynamicField: true, shardCount: 1, consistencyLevel: "Bounded" as const, properties: {} },
    },
    { collectionId: 7, revision: 99 },
  ),
  exchange(coordinator.dropCollection, { collectionId: 7 }, changed),
  exchange(coordinator.createIndex, { collectionId: 7, index: indexSpec }, changed),
  exchange(coordinator.dropIndex, { collectionId: 7, indexName: "vector" }, changed),
  exchange(
    streaming.appendRows,
    {
      ...{ ...shard, requestId: "r1", operation: "upsert" as const, partitionId: 8, schemaVersion: 1, batch: BATCH },
    },
    { ts: TS, seq: 41 },
  ),
  exchange(
    streaming.searchShard,
    { ...shard, freshness: { level: "session", ts: TS }, partitionIds: [8], search, filter: null },
    { hits, readTs: TS },
  ),
  exchange(
    streaming.queryShard,
    {
      ...{ ...shard, freshness: { level: "strong" as const }, partitionIds: null, filter: null },
      ...{ fieldIds: [100], limit: 10, countOnly: false },
    },
    { count: 2, rows: found, readTs: TS },
  ),
  exchange(streaming.fetchRows, { ...shard, refs, fieldIds: [100] }, { batch: BATCH }),
  exchange(streaming.flushShard, { ...shard, throughTs: TS }, { segmentIds: [SEGMENT_ID], ts: TS }),
  exchange(streaming.shardStats, shard, { growingRows: 1, sealedRows: 2 }),
  exchange(query.searchSegments, { ...sealed, search, filter: null }, { hits }),
  exchange(
    query.querySegments,
    { ...sealed, filter: null, fieldIds: [100], limit: null, countOnly: false },
    { count: 2, rows: found },
  ),
  exchange(query.fetchSegmentRows, { collectionId: 7, refs, fieldIds: [100] }, { batch: BATCH }),
  exchange(query.loadSegments, { ...shard, segmentIds: [SEGMENT_ID], revision: 99 }, {}),
  exchange(query.releaseSegments, { segmentIds: [SEGMENT_ID] }, {}),
  exchange(
    data.buildIndex,
    {
      ...{ epoch: 3, vchannel: "7v0", segmentId: SEGMENT_ID, rowCount: 3, object, fieldId: 111, dimension: 2 },
      ...{ indexId: 12, type: "HNSW", metric: "L2" as const, params: { M: 16 } },
    },
    { index: segmentIndex, seconds: 1.5 },
  ),
  exchange(
    data.importFile,
    {
      ...{ epoch: 3, attempt: "a1", jobId: 9, collectionId: 7, vchannel: "7v0", name: "upload://a/b.json", object },
      ...{ partitionId: 8, options: { separator: ",", nullText: "" }, targetBytes: 1000, ts: TS },
    },
    {
      segments: [{ vchannel: "7v0", segmentId: SEGMENT_ID, partitionId: 8, rowCount: 3, object }],
      ...{ rowCount: 3, bytes: 1234, seconds: 1.5 },
    },
  ),
  exchange(
    node.drainNode,
    { isDraining: true },
    { isDraining: true, owned: { leads: 0, channels: 1, segments: 2, jobs: 0, requests: 0 } },
  ),
];
