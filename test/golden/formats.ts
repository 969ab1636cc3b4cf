/**
 * Every form in which bytes outlive the process that wrote them, or reach another one: how today's code writes a sample
 * of it, and what today's code reads from bytes. `version` is that of the form as it is written today: who changes how
 * something is written raises it here, and adds files of the new version (write.ts); those of the old ones stay, and
 * must go on being read.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RequestWindow } from "../../actors/streaming/request-window.ts";
import { buildIndex } from "../../runtime/ann/build-index.ts";
import { inspectIndexFile } from "../../runtime/ann/index-file.ts";
import { checkIndexParams } from "../../runtime/ann/index-params.ts";
import { type Backup, formatBackup, newBackup, parseBackup } from "../../runtime/backup/format.ts";
import { VdbError } from "../../runtime/errors.ts";
import { decodeRecord, encodeEntry, encodeFence, encodeRecord, type RecordHeader } from "../../runtime/log/record.ts";
import { CollectionDoc, decodeDoc, encodeDoc, ManifestDoc } from "../../runtime/protocol/catalog.ts";
import { decode, encode } from "../../runtime/protocol/codec.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import { NodeLease } from "../../runtime/protocol/node.ts";
import { readSegmentFile, writeSegmentFile } from "../../runtime/segment/arrow-file.ts";
import {
  readDeletedKeys,
  readDeletedRows,
  writeDeletedKeys,
  writeDeletedRows,
} from "../../runtime/segment/delete-files.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { playExchange, type RecordedExchange, recordExchange } from "./recorded-wire.ts";
import * as samples from "./samples.ts";

export interface Format {
  name: string;
  version: number;
  /** Of samples with something in them that takes a newer one. */
  newer?: Record<string, number>;
  /** Sample name to how it is written today. Absent: written by a tool, not by this program alone. */
  samples: Record<string, () => Promise<Uint8Array> | Uint8Array>;
  read(bytes: Uint8Array, sample: string): unknown;
}

/** In which version today's code writes the sample. */
export function versionOf({ version, newer }: Format, sample: string): number {
  return newer?.[sample] ?? version;
}

const TS = 2n ** 60n + 5n;

async function joined(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(part);
  return Buffer.concat(all);
}

function record(kind: RecordHeader["kind"], body: Parameters<typeof encodeEntry>[0]): Uint8Array {
  const header = { channel: 3, kind, term: 5, index: 6, previous: { seq: 41, crc: 0xdeadbeef } };
  return encodeRecord(header, [{ ts: TS, ...encodeEntry(body) }]);
}

const entry = { vchannel: "7v0", requestId: "r1", partitionId: 8, schemaVersion: 1 };

const log: Format = {
  name: "log-record",
  version: 1,
  newer: { "insert-null-vectors": 2 },
  samples: {
    insert: () => record("ins", { ...entry, operation: "insert", batch: samples.BATCH }),
    "insert-null-vectors": () =>
      record("ins", { ...entry, operation: "insert", batch: samples.NULL_VECTORS, hasNullVectors: true }),
    upsert: () => record("mut", { ...entry, operation: "upsert", batch: samples.BATCH }),
    delete: () => record("mut", { ...entry, operation: "delete", keys: samples.KEYS }),
    "delete-text": () => record("mut", { ...entry, operation: "delete", keys: samples.TEXT_KEYS }),
    fence: () =>
      encodeFence(
        { channel: 3, term: 5, index: 0, previous: { seq: 1, crc: 2 } },
        { nodeId: "n1", chain: { ins: { seq: 40, crc: 7 }, mut: { seq: 41, crc: 8 } }, isAnchored: true },
        TS,
      ),
  },
  read: decodeRecord,
};

const segments: Format = {
  name: "segment",
  version: 1,
  newer: { "null-vectors": 2, "no-vectors": 2 },
  samples: {
    rows: () => joined(writeSegmentFile(samples.FIELDS, samples.CHUNKS, systemClock)),
    vectors: () => joined(writeSegmentFile(samples.VECTOR_FIELDS, samples.VECTOR_CHUNKS, systemClock)),
    "null-vectors": () => joined(writeSegmentFile(samples.NULL_VECTOR_FIELDS, samples.NULL_VECTOR_CHUNKS, systemClock)),
    "no-vectors": () =>
      joined(writeSegmentFile(samples.NULL_VECTOR_FIELDS, samples.NULL_VECTOR_CHUNKS, systemClock, [])),
  },
  read: readSegmentFile,
};

const deletes: Format = {
  name: "deletes",
  version: 1,
  samples: {
    keys: () => joined(writeDeletedKeys(samples.FIELDS[0]!, [{ keys: samples.KEYS, timestamps }], systemClock)),
    rows: () => joined(writeDeletedRows({ rows: Int32Array.of(0, 2), timestamps }, systemClock)),
  },
  read: (bytes, sample) => (sample === "keys" ? readDeletedKeys(bytes) : readDeletedRows(bytes, 3)),
};

const timestamps = BigInt64Array.of(TS, TS + 1n);

const requests: Format = {
  name: "request-window",
  version: 2,
  samples: {
    requests() {
      const window = new RequestWindow();
      window.add("r1", { ts: TS, seq: 41 });
      window.add("r2", { ts: 7n, seq: 42 });
      return window.toBytes();
    },
  },
  read(bytes) {
    const window = new RequestWindow();
    window.prepend(bytes);
    return ["r1", "r2", "r3"].map((id) => window.get(id) ?? null);
  },
};

const documents: Format = {
  name: "document",
  version: 1,
  samples: Object.fromEntries(
    Object.entries(samples.DOCUMENTS).map(([key, doc]) => [key, () => encodeDoc(key, doc)] as const),
  ),
  read: (bytes, key) => decodeDoc(key, bytes),
};

const leases: Format = {
  name: "lease",
  version: 1,
  samples: { node: () => encode(samples.NODE_LEASE), pin: () => encode({ id: "p1", holder: "backup of h 42" }) },
  read: (bytes, sample) => (sample === "node" ? NodeLease.parse(decode(bytes)) : decode(bytes)),
};

const TIMESTAMPS = { operation: allocateTimestamps, params: {}, request: { count: 3 } } as const;

/** By the operation's subject; some more for what is not an ordinary reply. */
const EXCHANGES: Record<string, samples.Exchange> = {
  ...Object.fromEntries(samples.EXCHANGES.map((exchange) => [exchange.operation.subject, exchange])),
  error: {
    ...(TIMESTAMPS as unknown as samples.Exchange),
    reply: new VdbError("channel_fenced", "another owner", { details: { channel: 3, isNew: true, node: null } }),
  },
  chunks: {
    ...samples.EXCHANGES.find(({ operation }) => operation.subject.endsWith(".fetch"))!,
    reply: { batch: { rowCount: 300, columns: { 100: { kind: "int64", values: new BigInt64Array(300).fill(TS) } } } },
  },
};

const wire: Format = {
  name: "wire",
  version: 1,
  samples: Object.fromEntries(
    Object.entries(EXCHANGES).map(
      ([name, exchange]) => [name, async () => encode(await recordExchange(exchange))] as const,
    ),
  ),
  read: (bytes, name) => playExchange(EXCHANGES[name]!, decode(bytes) as RecordedExchange),
};

const backups: Format = {
  name: "backup",
  version: 1,
  samples: { "backup.json": () => Buffer.from(formatBackup(backup())) },
  read: (bytes) => parseBackup(Buffer.from(bytes).toString("utf8")),
};

const indexes: Format = {
  name: "index",
  version: 1,
  samples: {
    FLAT: () => builtIndex("FLAT", {}),
    HNSW: () => builtIndex("HNSW", { M: 4, efConstruction: 20 }),
    IVF_FLAT: () => builtIndex("IVF_FLAT", { nlist: 2 }),
    IVF_SQ8: () => builtIndex("IVF_SQ8", { nlist: 2 }),
    IVF_PQ: () => builtIndex("IVF_PQ", { nlist: 2, m: 2, nbits: 4 }),
  },
  read: (bytes) => inFolder((path) => writeFile(path, bytes).then(() => inspectIndexFile(path))),
};

/** 32 rows of 4 dimensions. FAISS writes it, in a process of its own. */
function builtIndex(type: string, params: Record<string, number>): Promise<Uint8Array> {
  const [rows, dimension] = [32, 4];
  return inFolder(async (outFile) => {
    const vectorsFile = `${outFile}.f32`;
    await writeFile(
      vectorsFile,
      Buffer.from(Float32Array.from({ length: rows * dimension }, (_, i) => Math.sin(i)).buffer),
    );
    const spec = checkIndexParams(type, "L2", dimension, params);
    await buildIndex({ spec, metric: "L2", dimension, rows, vectorsFile, outFile, threads: 1 });
    return readFile(outFile);
  });
}

async function inFolder<T>(run: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "vdb-golden-"));
  try {
    return await run(join(folder, "index.faiss"));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The sample collection as a backup has it. */
function backup(): Backup {
  const collection = CollectionDoc.parse(samples.DOCUMENTS["collection.7"]);
  const {
    vchannel,
    segments: [segment],
    deltas,
  } = ManifestDoc.parse(samples.DOCUMENTS["manifest.7v0"]);
  const { indexes: _, deletesSeq: __, ...stored } = segment!;
  return newBackup({
    ...{ writtenBy: "0.1.0", clusterId: "c1", timestamp: TS, time: "2026-11-21T00:00:00.000Z" },
    collections: [
      {
        ...collection,
        indexes: collection.indexes.map(({ indexId: ___, ...index }) => index),
        shards: [{ vchannel, segments: [stored], deltas }],
      },
    ],
  });
}

export const FORMATS: Format[] = [log, segments, deletes, requests, documents, leases, wire, indexes, backups];
