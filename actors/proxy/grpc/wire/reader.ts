/**
 * Reading messages field by field, over protobufjs's Reader: what all decoders here share. A message that ends before it
 * should is refused, whatever part of it; fields that nobody names are passed over, as the format wants it.
 *
 * A message may be tens of megabytes, and hold as many fields: it is read in steps (runtime/steps.ts), each of which is bounded.
 */
import protobuf from "protobufjs/minimal.js";
import { isVdbError, VdbError } from "../../../../runtime/errors.ts";
import type { Steps } from "../../../../runtime/steps.ts";
import { LENGTH, VARINT } from "./numbers.ts";

export type Reader = protobuf.Reader;

/** Bytes of fields that are read in one step: of two bytes each that takes a millisecond or two. */
export const STEP_BYTES = 16 * 1024;

/** Bytes that are copied as they are in one step. */
export const COPY_BYTES = 1024 * 1024;

/** Reads one field, or leaves it: what has not moved is passed over. */
type ReadField = (field: number, wireType: number) => void;

/** The same; what may be large is left to the steps that it returns. */
type StartField = (field: number, wireType: number) => Steps | undefined;

/** Of messages that are read at once: a key with its value, a name with its type. */
const SMALL_BYTES_MAX = 256 * 1024;

/** Of the wire format, which no message here has; passed over, they would be as deep as they like. */
const GROUPS = [3, 4];

/** @throws VdbError invalid_parameter for bytes that are no such message */
export function* decodeWith<T>(bytes: Uint8Array, what: string, read: (reader: Reader) => Steps<T>): Steps<T> {
  try {
    return yield* read(protobuf.Reader.create(bytes));
  } catch (error) {
    if (isVdbError(error)) throw error;
    throw new VdbError("invalid_parameter", `the request is no ${what}: ${(error as Error).message}`);
  }
}

/** The fields of the message that the reader stands before; it ends at `end`. Of small messages. */
export function readFields(reader: Reader, end: number, read: ReadField): void {
  if (end - reader.pos > SMALL_BYTES_MAX) throw new RangeError(`a part of it has more than ${SMALL_BYTES_MAX} bytes`);
  while (reader.pos < end) {
    const tag = reader.uint32();
    const at = reader.pos;
    read(tag >>> 3, tag & 7);
    if (reader.pos === at) skip(reader, tag & 7);
  }
  refuseBeyond(reader, end);
}

/** As `readFields`, of messages of any size. @param max fields; more are refused */
export function* readFieldsInSteps(
  reader: Reader,
  end: number,
  start: StartField,
  max = Number.POSITIVE_INFINITY,
): Steps {
  let stepEnd = reader.pos + STEP_BYTES;
  let count = 0;
  while (reader.pos < end) {
    if (++count > max) throw new RangeError(`a part of it has more than ${max} fields`);
    const tag = reader.uint32();
    const at = reader.pos;
    const steps = start(tag >>> 3, tag & 7);
    if (steps !== undefined) yield* steps;
    if (reader.pos === at) skip(reader, tag & 7);
    if (reader.pos < stepEnd) continue;
    yield;
    stepEnd = reader.pos + STEP_BYTES;
  }
  refuseBeyond(reader, end);
}

function skip(reader: Reader, wireType: number): void {
  if (GROUPS.includes(wireType)) throw new RangeError(`invalid wire type ${wireType} at offset ${reader.pos}`);
  reader.skipType(wireType);
}

function refuseBeyond(reader: Reader, end: number): void {
  if (reader.pos > end) throw new RangeError("a field is longer than the message that it is in");
}

/** Where the length-delimited field ends that the reader stands before; the reader then stands at its content. */
export function enter(reader: Reader, wireType = LENGTH): number {
  if (wireType !== LENGTH) throw new RangeError(`invalid wire type ${wireType} at offset ${reader.pos}`);
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > reader.len) throw new RangeError(`index out of range: ${reader.pos} + ${length} > ${reader.len}`);
  return end;
}

export function readText(reader: Reader, wireType: number): string {
  return Buffer.from(readBytes(reader, wireType)).toString("utf8");
}

/** A view of the message. */
export function readBytes(reader: Reader, wireType: number): Uint8Array {
  const end = enter(reader, wireType);
  const start = reader.pos;
  reader.pos = end;
  // Not a subarray: of a Buffer it would be one, which some of those who get it treat in their own way.
  return new Uint8Array(reader.buf.buffer, reader.buf.byteOffset + start, end - start);
}

/** An int64 as a number where that is exact, else as a bigint. */
export function readInt64(reader: Reader, wireType: number): number | bigint {
  const { low, high } = readHalves(reader, wireType);
  const value = high * 2 ** 32 + (low >>> 0);
  return Number.isSafeInteger(value) ? value : (BigInt(high) << 32n) | BigInt(low >>> 0);
}

export function readUint64(reader: Reader, wireType: number): bigint {
  const { low, high } = readHalves(reader, wireType);
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

export function readInteger(reader: Reader, wireType: number): number {
  return Number(readInt64(reader, wireType));
}

export function readFlag(reader: Reader, wireType: number): boolean {
  return readInteger(reader, wireType) !== 0;
}

function readHalves(reader: Reader, wireType: number): { low: number; high: number } {
  if (wireType !== VARINT) throw new RangeError(`invalid wire type ${wireType} at offset ${reader.pos}`);
  const halves = new Int32Array(2);
  reader.pos = varintAt(reader.buf, reader.pos, reader.len, halves, 0);
  return { low: halves[0]!, high: halves[1]! };
}

/** Writes the varint at `pos` as two 32-bit halves at `at`, low first, and returns the position behind it. */
export function varintAt(bytes: Uint8Array, pos: number, end: number, halves: Int32Array, at: number): number {
  let low = 0;
  let high = 0;
  for (let shift = 0; ; shift += 7) {
    if (pos >= end) throw new RangeError(`index out of range: ${pos} + 1 > ${end}`);
    if (shift > 63) throw new RangeError("invalid varint encoding");
    const byte = bytes[pos++]!;
    const part = byte & 0x7f;
    if (shift < 28) low |= part << shift;
    else if (shift === 28) {
      low |= part << 28;
      high |= part >>> 4;
    } else high |= part << (shift - 32);
    if (byte < 0x80) break;
  }
  halves[at] = low;
  halves[at + 1] = high;
  return pos;
}

/** A map's entry: its key, and what `readValue` makes of its value. */
export function* readEntry<T>(
  reader: Reader,
  wireType: number,
  readValue: (reader: Reader, wireType: number) => Steps<T>,
): Steps<{ key: string; value: T | undefined }> {
  let key = "";
  let value: T | undefined;
  function* keep(type: number): Steps {
    value = yield* readValue(reader, type);
  }
  yield* readFieldsInSteps(reader, enter(reader, wireType), (field, type) => {
    if (field === 1) key = readText(reader, type);
    else if (field === 2) return keep(type);
    return undefined;
  });
  return { key, value };
}
