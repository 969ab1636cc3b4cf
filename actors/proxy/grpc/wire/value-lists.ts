/**
 * Values of a repeated field on their way into typed arrays. They come packed, in one piece or several, or one by one;
 * floating point numbers of a piece are one copy of bytes. Several fields may add to one list: the rows of an array
 * column do.
 */
import type { ScalarColumn } from "../../../../runtime/segment/column.ts";
import { FIXED32, FIXED64, LENGTH, VARINT } from "./numbers.ts";
import { enter, type Reader, varintAt } from "./reader.ts";

export interface ValueList {
  readonly length: number;
  /** Adds what one field has: a value, or a packed piece of them. @throws RangeError */
  read(reader: Reader, wireType: number): void;
  /** The list is not used any more. */
  take(): ScalarColumn;
}

type Values = Float32Array | Float64Array | Int32Array | Uint8Array | Uint32Array;

/** Room for `needed` values. */
function grown<T extends Values>(values: T, length: number, needed: number): T {
  if (needed <= values.length) return values;
  const make = values.constructor as new (length: number) => T;
  // The first piece is mostly the only one.
  const larger = new make(length === 0 ? needed : Math.max(needed, values.length * 2));
  larger.set(values.subarray(0, length));
  return larger;
}

function trimmed<T extends Values>(values: T, length: number): T {
  return (values.length === length ? values : values.slice(0, length)) as T;
}

function wrongWireType(wireType: number, { pos }: Reader): RangeError {
  return new RangeError(`invalid wire type ${wireType} at offset ${pos}`);
}

/** Floating point numbers: little-endian on the wire as here, so their bytes are the values. */
export class NumberList<T extends Float32Array | Float64Array> implements ValueList {
  #values: T;
  #length = 0;

  constructor(empty: T) {
    this.#values = empty;
  }

  get length(): number {
    return this.#length;
  }

  read(reader: Reader, wireType: number): void {
    const size = this.#values.BYTES_PER_ELEMENT;
    if (wireType !== LENGTH && wireType !== (size === 4 ? FIXED32 : FIXED64)) throw wrongWireType(wireType, reader);
    const end = wireType === LENGTH ? enter(reader) : reader.pos + size;
    const bytes = end - reader.pos;
    if (bytes % size !== 0) throw new RangeError(`${bytes} bytes are no whole numbers of ${size} bytes`);
    if (end > reader.len) throw new RangeError(`index out of range: ${end} > ${reader.len}`);
    const start = this.#length;
    this.#length += bytes / size;
    this.#values = grown(this.#values, start, this.#length);
    const { buffer, byteOffset } = this.#values;
    new Uint8Array(buffer, byteOffset + start * size, bytes).set(reader.buf.subarray(reader.pos, end));
    reader.pos = end;
  }

  takeValues(): T {
    return trimmed(this.#values, this.#length);
  }

  take(): ScalarColumn {
    const values = this.takeValues();
    return values.BYTES_PER_ELEMENT === 4 ? { kind: "float", values } : { kind: "double", values };
  }
}

export function floatList(): NumberList<Float32Array> {
  return new NumberList(new Float32Array(0));
}

export function doubleList(): NumberList<Float64Array> {
  return new NumberList(new Float64Array(0));
}

/** Integers and truth values, kept as the two halves of an int64 or as the lower one. */
export class IntegerList implements ValueList {
  readonly #kind: "bool" | "int32" | "int64";
  /** Int64: two of these a value. */
  #halves = new Int32Array(0);
  #length = 0;

  constructor(kind: "bool" | "int32" | "int64") {
    this.#kind = kind;
  }

  get length(): number {
    return this.#length;
  }

  read(reader: Reader, wireType: number): void {
    if (wireType !== LENGTH && wireType !== VARINT) throw wrongWireType(wireType, reader);
    const isPacked = wireType === LENGTH;
    const end = isPacked ? enter(reader) : reader.len;
    const count = isPacked ? varintsIn(reader.buf, reader.pos, end) : 1;
    const width = this.#kind === "int64" ? 2 : 1;
    let at = this.#length * width;
    this.#length += count;
    this.#halves = grown(this.#halves, at, this.#length * width);
    reader.pos = width === 2 ? this.#readWide(reader, end, at) : this.#readNarrow(reader, end, at);
    at += count * width;
    if (isPacked && reader.pos !== end) throw new RangeError(`index out of range: ${reader.pos} of ${end}`);
  }

  #readWide(reader: Reader, end: number, first: number): number {
    let pos = reader.pos;
    const last = this.#length * 2;
    for (let at = first; at < last; at += 2) pos = varintAt(reader.buf, pos, end, this.#halves, at);
    return pos;
  }

  #readNarrow(reader: Reader, end: number, first: number): number {
    let pos = reader.pos;
    const both = new Int32Array(2);
    for (let at = first; at < this.#length; at++) {
      const byte = pos < end ? reader.buf[pos]! : 0x80;
      if (byte < 0x80) {
        this.#halves[at] = byte;
        pos++;
        continue;
      }
      pos = varintAt(reader.buf, pos, end, both, 0);
      this.#halves[at] = this.#kind === "bool" ? Number((both[0]! | both[1]!) !== 0) : both[0]!;
    }
    return pos;
  }

  takeFlags(): Uint8Array {
    return Uint8Array.from(trimmed(this.#halves, this.#length), (value) => (value === 0 ? 0 : 1));
  }

  take(): ScalarColumn {
    if (this.#kind === "bool") return { kind: "bool", values: this.takeFlags() };
    if (this.#kind === "int32") return { kind: "int32", values: trimmed(this.#halves, this.#length) };
    const { buffer } = trimmed(this.#halves, this.#length * 2);
    return { kind: "int64", values: new BigInt64Array(buffer, 0, this.#length) };
  }
}

function varintsIn(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; i++) if (bytes[i]! < 0x80) count++;
  return count;
}

/** Texts and bytes, one after the other in one buffer. */
export class BytesList implements ValueList {
  readonly #kind: "varchar" | "json" | "sparseVector";
  #offsets = new Uint32Array(1);
  #bytes: Uint8Array;
  #length = 0;

  /** @param capacity bytes that are not exceeded mostly: those of the message that the values are in */
  constructor(kind: "varchar" | "json" | "sparseVector", capacity: number) {
    this.#kind = kind;
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  read(reader: Reader, wireType: number): void {
    const end = enter(reader, wireType);
    const start = this.#offsets[this.#length]!;
    const next = start + end - reader.pos;
    this.#bytes = grown(this.#bytes, start, next);
    copyBytes(reader.buf, reader.pos, end, this.#bytes, start);
    this.#length++;
    this.#offsets = grown(this.#offsets, this.#length, this.#length + 1);
    this.#offsets[this.#length] = next;
    reader.pos = end;
  }

  take(): ScalarColumn & { kind: "varchar" | "json" | "sparseVector" } {
    const used = this.#offsets[this.#length]!;
    // A view would keep the slack alive as long as the column.
    const bytes = used * 2 < this.#bytes.length ? this.#bytes.slice(0, used) : this.#bytes.subarray(0, used);
    return { kind: this.#kind, offsets: trimmed(this.#offsets, this.#length + 1), bytes };
  }
}

/** Shorter ones are not worth a call out of JavaScript. */
const LOOP_BYTES_MAX = 32;

export function copyBytes(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start > LOOP_BYTES_MAX) to.set(from.subarray(start, end), at);
  else for (let i = start; i < end; i++) to[at++] = from[i]!;
}
