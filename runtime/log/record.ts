/**
 * The bytes of one message of the log: one group commit of one kind.
 *
 *   offset  bytes  (integers little-endian)
 *        0      4  "VWAL"
 *        4      1  format version: 2 if an entry has null vectors, else 1
 *        5      1  kind: 1 ins, 2 mut, 3 ctl
 *        6      2  channel
 *        8      8  term of the writer
 *       16      8  index: messages of this term stored before this one
 *       24      8  stream sequence of the previous message of this kind, 0: none
 *       32      4  its CRC
 *       36      4  entry count
 *       40         entries: timestamp (8), length (4), MessagePack body
 *      end-4    4  CRC-32 of all before it
 *
 * A fence is a ctl message with one entry (timestamp = the newest one in the log) whose body is a `Fence`. The golden bytes in
 * record.test.ts and test/golden freeze this format: old logs must stay readable. Anything that only a newer version knows
 * (another format, kind or operation) stops the reader: if it were skipped, its rows and deletes would be lost.
 */
import { crc32 } from "node:zlib";
import { VdbError } from "../errors.ts";
import { decode, encode } from "../protocol/codec.ts";
import { taking } from "../protocol/versions.ts";
import type { BytesColumn, ColumnBatch, Int64Column } from "../segment/column.ts";
import type { LogKind } from "./port.ts";

export const OPERATIONS = ["insert", "upsert", "delete"] as const;
export type LogOperation = (typeof OPERATIONS)[number];

export interface LogEntryBody {
  vchannel: string;
  /** The client's id, by which a retried write is recognized. */
  requestId: string;
  operation: LogOperation;
  partitionId: number;
  schemaVersion: number;
  /** insert, upsert: the rows. */
  batch?: ColumnBatch;
  /** delete: the primary keys to delete. */
  keys?: Int64Column | BytesColumn;
  /** Rows have null for a dense vector, in the batch's column or because it lacks the column. */
  hasNullVectors?: true;
}

export interface LogEntry extends LogEntryBody {
  /** Hybrid timestamp: greater than that of every entry before it in the channel. */
  ts: bigint;
}

/** The newest message of a kind: what the next one of that kind points back to. */
export interface ChainLink {
  /** 0: there is none. */
  seq: number;
  crc: number;
}

export interface Fence {
  nodeId: string;
  /**
   * The newest message of each kind before this fence: kept here because the message itself may be purged. A take-over's
   * first fence cannot know them yet and repeats its predecessor's: `isAnchored` is false until the owner has read the log.
   */
  chain: { ins: ChainLink; mut: ChainLink };
  isAnchored: boolean;
}

export interface LogRecord {
  channel: number;
  kind: LogKind;
  term: number;
  index: number;
  previousSeq: number;
  previousCrc: number;
  crc: number;
  entries: LogEntry[];
  /** The body of a ctl message, which has no entries. */
  fence?: Fence;
  /** Timestamp of the newest entry up to this message, its own or (for a fence) the log's; 0: none. */
  lastTs: bigint;
}

export interface RecordHeader {
  channel: number;
  kind: LogKind;
  term: number;
  index: number;
  previous: ChainLink;
}

/** Encoded ahead of its timestamp, so that its size is known while it waits. */
export interface EncodedBody {
  readonly bytes: Uint8Array;
  /** The format version that it needs. */
  readonly version: number;
}

export interface EncodedEntry extends EncodedBody {
  readonly ts: bigint;
}

const MAGIC = 0x4c415756; // "VWAL" read as a little-endian number
/** The newest one: a message has the oldest that its entries allow, so that older nodes can read what they know. */
const VERSION = 2;
const HEADER_BYTES = 40;
const ENTRY_HEADER_BYTES = 12;
const CRC_BYTES = 4;
const KIND_CODES = { ins: 1, mut: 2, ctl: 3 } as const satisfies Record<LogKind, number>;
const KINDS: readonly (LogKind | undefined)[] = [undefined, "ins", "mut", "ctl"];

export function kindOf(operation: LogOperation): LogKind {
  return operation === "insert" ? "ins" : "mut";
}

export function encodeEntry(body: LogEntryBody): EncodedBody {
  return { bytes: encode(body), version: taking(body.hasNullVectors, 2) };
}

/** Bytes of a message that holds entries of these body lengths together. */
export function recordBytes(entryCount: number, bodyBytes: number): number {
  return HEADER_BYTES + entryCount * ENTRY_HEADER_BYTES + bodyBytes + CRC_BYTES;
}

export function encodeRecord(header: RecordHeader, entries: readonly EncodedEntry[]): Uint8Array {
  let [bodyBytes, version] = [0, 1];
  for (const entry of entries) {
    bodyBytes += entry.bytes.length;
    version = Math.max(version, entry.version);
  }
  const payload = new Uint8Array(recordBytes(entries.length, bodyBytes));
  const view = new DataView(payload.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, version);
  view.setUint8(5, KIND_CODES[header.kind]);
  view.setUint16(6, header.channel, true);
  view.setBigUint64(8, BigInt(header.term), true);
  view.setBigUint64(16, BigInt(header.index), true);
  view.setBigUint64(24, BigInt(header.previous.seq), true);
  view.setUint32(32, header.previous.crc, true);
  view.setUint32(36, entries.length, true);
  let offset = HEADER_BYTES;
  for (const entry of entries) {
    view.setBigUint64(offset, entry.ts, true);
    view.setUint32(offset + 8, entry.bytes.length, true);
    payload.set(entry.bytes, offset + ENTRY_HEADER_BYTES);
    offset += ENTRY_HEADER_BYTES + entry.bytes.length;
  }
  view.setUint32(offset, crc32(payload.subarray(0, offset)), true);
  return payload;
}

export function encodeFence(header: Omit<RecordHeader, "kind">, fence: Fence, lastTs: bigint): Uint8Array {
  return encodeRecord({ ...header, kind: "ctl" }, [{ ts: lastTs, bytes: encode(fence), version: 1 }]);
}

/** The CRC that a message carries, which the next of its kind repeats. */
export function recordCrc(payload: Uint8Array): number {
  return viewOf(payload).getUint32(payload.length - CRC_BYTES, true);
}

/** Byte columns of the entries may be views of payload. @throws VdbError corrupt; newer_version if the bytes are sound */
export function decodeRecord(payload: Uint8Array): LogRecord {
  if (payload.length < HEADER_BYTES + CRC_BYTES) throw corrupt(`${payload.length} bytes are too short for a message`);
  const view = viewOf(payload);
  if (view.getUint32(0, true) !== MAGIC) throw corrupt("does not start with VWAL");
  const end = payload.length - CRC_BYTES;
  const crc = view.getUint32(end, true);
  const actual = crc32(payload.subarray(0, end));
  if (crc !== actual) throw corrupt(`the bytes have CRC ${actual}, the message says ${crc}`);
  const version = view.getUint8(4);
  if (version > VERSION) throw newer(`format version ${version}, this program reads ${VERSION}`);
  const kind = KINDS[view.getUint8(5)];
  if (kind === undefined) throw newer(`kind ${view.getUint8(5)}`);
  const record: LogRecord = {
    channel: view.getUint16(6, true),
    kind,
    term: safeInteger(view, 8),
    index: safeInteger(view, 16),
    previousSeq: safeInteger(view, 24),
    previousCrc: view.getUint32(32, true),
    crc,
    entries: [],
    lastTs: 0n,
  };
  readEntries(payload, view, end, record);
  return record;
}

function readEntries(payload: Uint8Array, view: DataView, end: number, record: LogRecord): void {
  const count = view.getUint32(36, true);
  let offset = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (offset + ENTRY_HEADER_BYTES > end) throw corrupt(`ends inside entry ${i} of ${count}`);
    record.lastTs = view.getBigUint64(offset, true);
    const start = offset + ENTRY_HEADER_BYTES;
    offset = start + view.getUint32(offset + 8, true);
    if (offset > end) throw corrupt(`ends inside entry ${i} of ${count}`);
    const body = decode(payload.subarray(start, offset));
    if (record.kind === "ctl") record.fence = asFence(body);
    else record.entries.push({ ...asEntry(body), ts: record.lastTs });
  }
  if (offset !== end) throw corrupt(`${end - offset} bytes follow the last entry`);
}

/** The CRC holds, so the unknown part was written on purpose: skipping it would lose what it does to the rows. */
function asEntry(body: unknown): LogEntryBody {
  const operation = (body as Partial<LogEntryBody> | null)?.operation;
  if (!OPERATIONS.some((known) => known === operation)) throw newer(`an entry of operation ${operation}`);
  return body as LogEntryBody;
}

function asFence(body: unknown): Fence {
  if ((body as Partial<Fence> | null)?.chain === undefined) throw newer("a ctl entry that is no fence");
  return body as Fence;
}

function safeInteger(view: DataView, offset: number): number {
  const value = view.getBigUint64(offset, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt(`${value} at byte ${offset} is no exact number`);
  return Number(value);
}

function viewOf(payload: Uint8Array): DataView {
  return new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
}

function corrupt(why: string): VdbError {
  return new VdbError("corrupt", `not a log message: ${why}`);
}

function newer(what: string): VdbError {
  return new VdbError("newer_version", `a newer version wrote this: ${what}; run that version on this node too`);
}
