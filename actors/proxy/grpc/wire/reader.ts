/**
 * Reading messages field by field, over protobufjs's Reader: what all decoders here share. A message that ends before it
 * should is refused, whatever part of it; fields that nobody names are passed over, as the format wants it.
 */
import protobuf from "protobufjs/minimal.js";
import { isVdbError, VdbError } from "../../../../runtime/errors.ts";
import { LENGTH, VARINT } from "./numbers.ts";

export type Reader = protobuf.Reader;

/** Reads one field, or leaves it: what has not moved is passed over. */
type ReadField = (field: number, wireType: number) => void;

/** @throws VdbError invalid_parameter for bytes that are no such message */
export function decodeWith<T>(bytes: Uint8Array, what: string, read: (reader: Reader) => T): T {
  try {
    return read(protobuf.Reader.create(bytes));
  } catch (error) {
    if (isVdbError(error)) throw error;
    throw new VdbError("invalid_parameter", `the request is no ${what}: ${(error as Error).message}`);
  }
}

/** The fields of the message that the reader stands before; it ends at `end`. */
export function readFields(reader: Reader, end: number, read: ReadField): void {
  while (reader.pos < end) {
    const tag = reader.uint32();
    const at = reader.pos;
    const wireType = tag & 7;
    read(tag >>> 3, wireType);
    if (reader.pos === at) reader.skipType(wireType);
  }
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
export function readEntry<T>(
  reader: Reader,
  wireType: number,
  readValue: (reader: Reader, wireType: number) => T,
): { key: string; value: T | undefined } {
  let key = "";
  let value: T | undefined;
  const end = enter(reader, wireType);
  readFields(reader, end, (field, type) => {
    if (field === 1) key = readText(reader, type);
    else if (field === 2) value = readValue(reader, type);
  });
  return { key, value };
}
