/**
 * Finds the dense vectors of a field in a segment file, so that they can be read directly to where they are needed. Reads only
 * the messages' metadata: a few KiB, whatever the size of the file.
 */
import { type FileHandle, open } from "node:fs/promises";
import type { MessageHeader } from "apache-arrow";
import { VdbError } from "../errors.ts";
import {
  Binary,
  type DataType,
  FixedSizeBinary,
  FixedSizeList,
  Float,
  Int,
  List,
  Message,
  Precision,
  RecordBatchReader,
  type Schema,
  Utf8,
} from "./arrow.ts";
import { requireKnownFormat } from "./arrow-file.ts";

export interface FilePart {
  offset: number;
  bytes: number;
}

/** The file begins with "ARROW1" and two bytes of padding. */
const FIRST_MESSAGE = 8;

/** The prefix of each message's metadata: a mark and the metadata's length. The last has length 0. */
const PREFIX_BYTES = 8;
const CONTINUATION = 0xffffffff;

const METADATA_BYTES_MAX = 1 << 26;

export interface FieldVectors {
  /** Rows in the file. */
  rows: number;
  /** One part per batch: together they are row-major vectors, in the form of the field's column. None: the file has no such field. */
  parts: FilePart[];
  /** Per batch one bit per row, the least significant of a byte first, 0 if the row has no vector; null: all have one. */
  valid: (FilePart | null)[];
}

type BatchMetadata = ReturnType<Message<MessageHeader.RecordBatch>["header"]>;

/** @throws VdbError corrupt; newer_version */
export async function findVectors(path: string, fieldId: number): Promise<FieldVectors> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const reader = await RecordBatchReader.from(file);
    const { schema } = await reader.open();
    requireKnownFormat(schema);
    const found: FieldVectors = { rows: 0, parts: [], valid: [] };
    for await (const { message, bodyOffset } of messagesOf(file)) {
      // Other writers repeat the schema before the first batch.
      if (message.isSchema()) continue;
      if (!message.isRecordBatch()) throw corrupt("has a message that does not belong there");
      const batch = message.header();
      found.rows += batch.length;
      const place = placeOf(schema, fieldId, batch);
      if (place === undefined || place.vectors.bytes === 0) continue;
      const inFile = ({ offset, bytes }: FilePart) => ({ offset: bodyOffset + offset, bytes });
      found.parts.push(inFile(place.vectors));
      found.valid.push(place.valid && inFile(place.valid));
    }
    return found;
  } catch (error) {
    if (error instanceof VdbError) throw error;
    throw corrupt(`is not a readable Arrow IPC file: ${(error as Error).message}`, error);
  } finally {
    await file?.close();
  }
}

async function* messagesOf(file: FileHandle): AsyncGenerator<{ message: Message; bodyOffset: number }> {
  const { size } = await file.stat();
  for (let at = FIRST_MESSAGE; ; ) {
    const prefix = await readExactly(file, at, PREFIX_BYTES);
    const length = prefix.readInt32LE(4);
    if (prefix.readUInt32LE(0) !== CONTINUATION || length < 0 || length > METADATA_BYTES_MAX) {
      throw corrupt(`has no message at byte ${at}`);
    }
    if (length === 0) return;
    const message = Message.decode(await readExactly(file, at + PREFIX_BYTES, length));
    const bodyOffset = at + PREFIX_BYTES + length;
    // Also false for the NaN of an absurd length.
    if (!(message.bodyLength >= 0 && bodyOffset + message.bodyLength <= size)) throw corrupt("ends too early");
    yield { message, bodyOffset };
    at = bodyOffset + message.bodyLength;
  }
}

async function readExactly(file: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  await readFully(file, buffer, position);
  return buffer;
}

/** Fills the target with the file's bytes from `position` on. @throws VdbError corrupt */
export async function readFully(file: FileHandle, target: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < target.length; ) {
    const { bytesRead } = await file.read(target, at, target.length - at, position + at);
    if (bytesRead === 0) throw corrupt("ends too early");
    at += bytesRead;
  }
}

/** Relative to the batch's body; undefined: there is no such field. */
function placeOf(
  schema: Schema,
  fieldId: number,
  batch: BatchMetadata,
): { vectors: FilePart; valid: FilePart | null } | undefined {
  let buffers = 0;
  for (const { type, metadata } of schema.fields) {
    const isWanted = Number(metadata.get("fieldId")) === fieldId;
    if (isWanted) {
      if (!(type instanceof FixedSizeList || type instanceof FixedSizeBinary)) break;
      const bytes = batch.length * vectorBytes(type);
      // The buffers: null lists, null numbers, numbers; or null bytes, bytes.
      const values = batch.buffers[buffers + (type instanceof FixedSizeList ? 2 : 1)];
      if (values === undefined || values.length < bytes) throw corrupt("has fewer vectors than rows");
      return { vectors: { offset: values.offset, bytes }, valid: validityOf(batch, buffers) };
    }
    buffers += bufferCount(type);
  }
  if (schema.fields.every(({ metadata }) => Number(metadata.get("fieldId")) !== fieldId)) return undefined;
  throw corrupt(`has no vectors of field ${fieldId}`);
}

/** A writer omits the bits if all are set. */
function validityOf(batch: BatchMetadata, buffer: number): FilePart | null {
  const { offset, length } = batch.buffers[buffer]!;
  if (length === 0) return null;
  const bytes = Math.ceil(batch.length / 8);
  if (length < bytes) throw corrupt("does not say of all rows whether they have a vector");
  return { offset, bytes };
}

function vectorBytes(type: FixedSizeList | FixedSizeBinary): number {
  if (type instanceof FixedSizeBinary) return type.byteWidth;
  const item = type.children[0]!.type as DataType;
  if (item instanceof Float) return type.listSize * ITEM_BYTES[item.precision];
  if (item instanceof Int && item.bitWidth === 8) return type.listSize;
  throw corrupt(`has vectors of unexpected type ${String(item)}`);
}

const ITEM_BYTES = { [Precision.HALF]: 2, [Precision.SINGLE]: 4, [Precision.DOUBLE]: 8 };

/** The number of buffers of a column in Arrow's format, for the types that segments have. */
function bufferCount(type: DataType): number {
  if (type instanceof Utf8 || type instanceof Binary) return 3;
  if (type instanceof List) return 2 + bufferCount(type.children[0]!.type as DataType);
  if (type instanceof FixedSizeList) return 1 + bufferCount(type.children[0]!.type as DataType);
  return 2;
}

function corrupt(why: string, cause?: unknown): VdbError {
  return new VdbError("corrupt", `segment file ${why}`, cause === undefined ? {} : { cause });
}
