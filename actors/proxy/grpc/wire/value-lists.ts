/**
 * Values of a repeated field on their way into typed arrays. They come packed, in one piece or several, or one by one;
 * the floating point numbers of a piece are copied as bytes. Several fields may add to one list, as the rows of an
 * array column do. Long pieces are read in steps.
 */
import { VdbError } from "../../../../runtime/errors.ts";
import type { ScalarColumn } from "../../../../runtime/segment/column.ts";
import type { Steps } from "../../../../runtime/steps.ts";
import { FIXED32, FIXED64, LENGTH, VARINT } from "./numbers.ts";
import { COPY_BYTES, enter, type Reader, STEP_BYTES, varintAt } from "./reader.ts";

export interface ValueList {
  readonly length: number;
  /** Adds what one field has: a value, or a packed piece of them; with steps only when they are done. @throws RangeError, VdbError */
  read(reader: Reader, wireType: number): Steps | undefined;
  /** The list is not used any more. */
  take(): ScalarColumn;
}

/** How many values a list may get, and of which field they are. */
export interface Bound {
  max: number;
  field: string;
  /** What is wrong with more; without: that the field has more of them than the request has rows. */
  refusal?: () => Error;
}

const BOUNDLESS: Bound = { max: Number.POSITIVE_INFINITY, field: "" };

function refuseBeyond(length: number, { max, field, refusal }: Bound): void {
  if (length <= max) return;
  if (refusal !== undefined) throw refusal();
  throw new VdbError(
    "invalid_parameter",
    `the num_rows (at least ${length}) of field (${field}) is not equal to passed num_rows (${max}): invalid parameter[expected=${max}][actual=${length}]`,
    { details: { field } },
  );
}

type Values = Float32Array | Float64Array | Int32Array | Uint8Array | Uint32Array;

function larger<T extends Values>(values: T, length: number, needed: number): T {
  const make = values.constructor as new (length: number) => T;
  // The first piece is mostly the only one.
  return new make(length === 0 ? needed : Math.max(needed, values.length * 2));
}

/** Whether room for `needed` values takes more than a step. */
function isDear(values: Values, length: number, needed: number): boolean {
  return needed > values.length && length * values.BYTES_PER_ELEMENT > COPY_BYTES;
}

/** Room for `needed` values. */
function grown<T extends Values>(values: T, length: number, needed: number): T {
  if (needed <= values.length) return values;
  const made = larger(values, length, needed);
  made.set(values.subarray(0, length));
  return made;
}

function* grownInSteps<T extends Values>(values: T, length: number, needed: number): Steps<T> {
  if (needed <= values.length) return values;
  const made = larger(values, length, needed);
  const step = COPY_BYTES / values.BYTES_PER_ELEMENT;
  for (let at = 0; at < length; at += step) {
    made.set(values.subarray(at, Math.min(length, at + step)), at);
    yield;
  }
  return made;
}

/** Without what is left over, unless that is dear to copy: then a view. */
function trimmed<T extends Values>(values: T, length: number): T {
  if (values.length === length) return values;
  const isView = length * values.BYTES_PER_ELEMENT > COPY_BYTES && length * 2 >= values.length;
  return (isView ? values.subarray(0, length) : values.slice(0, length)) as T;
}

function wrongWireType(wireType: number, { pos }: Reader): RangeError {
  return new RangeError(`invalid wire type ${wireType} at offset ${pos}`);
}

/** Floating point numbers: little-endian on the wire as here, so their bytes are the values. */
export class NumberList<T extends Float32Array | Float64Array> implements ValueList {
  readonly #bound: Bound;
  #values: T;
  #length = 0;

  constructor(empty: T, bound = BOUNDLESS) {
    this.#values = empty;
    this.#bound = bound;
  }

  get length(): number {
    return this.#length;
  }

  read(reader: Reader, wireType: number): Steps | undefined {
    const size = this.#values.BYTES_PER_ELEMENT;
    if (wireType !== LENGTH && wireType !== (size === 4 ? FIXED32 : FIXED64)) throw wrongWireType(wireType, reader);
    const end = wireType === LENGTH ? enter(reader) : reader.pos + size;
    const bytes = end - reader.pos;
    if (bytes % size !== 0) throw new RangeError(`${bytes} bytes are no whole numbers of ${size} bytes`);
    if (end > reader.len) throw new RangeError(`index out of range: ${end} > ${reader.len}`);
    const start = this.#length;
    const length = start + bytes / size;
    refuseBeyond(length, this.#bound);
    if (bytes > COPY_BYTES || isDear(this.#values, start, length)) return this.#readMuch(reader, end, length);
    this.#values = grown(this.#values, start, length);
    this.#length = length;
    copyBytes(reader.buf, reader.pos, end, bytesOf(this.#values), start * size);
    reader.pos = end;
    return undefined;
  }

  *#readMuch(reader: Reader, end: number, length: number): Steps {
    this.#values = yield* grownInSteps(this.#values, this.#length, length);
    yield* copyInSteps(reader, end, bytesOf(this.#values), this.#length * this.#values.BYTES_PER_ELEMENT);
    this.#length = length;
  }

  takeValues(): T {
    return trimmed(this.#values, this.#length);
  }

  take(): ScalarColumn {
    const values = this.takeValues();
    return values.BYTES_PER_ELEMENT === 4 ? { kind: "float", values } : { kind: "double", values };
  }
}

export function floatList(bound?: Bound): NumberList<Float32Array> {
  return new NumberList(new Float32Array(0), bound);
}

export function doubleList(bound?: Bound): NumberList<Float64Array> {
  return new NumberList(new Float64Array(0), bound);
}

/** Integers and truth values, kept as the two halves of an int64, as the lower one, or as a byte. */
export class IntegerList implements ValueList {
  readonly #kind: "bool" | "int32" | "int64";
  readonly #bound: Bound;
  /** Int64: two of these a value. */
  readonly #width: 1 | 2;
  #values: Int32Array | Uint8Array;
  #length = 0;

  constructor(kind: "bool" | "int32" | "int64", bound = BOUNDLESS) {
    this.#kind = kind;
    this.#bound = bound;
    this.#width = kind === "int64" ? 2 : 1;
    this.#values = kind === "bool" ? new Uint8Array(0) : new Int32Array(0);
  }

  get length(): number {
    return this.#length;
  }

  read(reader: Reader, wireType: number): Steps | undefined {
    if (wireType !== LENGTH && wireType !== VARINT) throw wrongWireType(wireType, reader);
    const isPacked = wireType === LENGTH;
    const end = isPacked ? enter(reader) : reader.len;
    if (isPacked && end - reader.pos > STEP_BYTES * 4) return this.#readMuch(reader, end);
    const count = isPacked ? varintsIn(reader.buf, reader.pos, end) : 1;
    const length = this.#length + count;
    refuseBeyond(length, this.#bound);
    const used = this.#length * this.#width;
    if (isDear(this.#values, used, length * this.#width)) return this.#readOn(reader, end, length, isPacked);
    this.#values = grown(this.#values, used, length * this.#width);
    this.#readTo(reader, end, length);
    if (isPacked) refuseRest(reader, end);
    return undefined;
  }

  *#readMuch(reader: Reader, end: number): Steps {
    let length = this.#length;
    for (let pos = reader.pos; pos < end; pos += COPY_BYTES) {
      length += varintsIn(reader.buf, pos, Math.min(end, pos + COPY_BYTES));
      refuseBeyond(length, this.#bound);
      yield;
    }
    yield* this.#readOn(reader, end, length, true);
  }

  *#readOn(reader: Reader, end: number, length: number, isPacked: boolean): Steps {
    this.#values = yield* grownInSteps(this.#values, this.#length * this.#width, length * this.#width);
    while (this.#length < length) {
      this.#readTo(reader, end, Math.min(length, this.#length + STEP_BYTES));
      yield;
    }
    if (isPacked) refuseRest(reader, end);
  }

  /** For as many values there is room. */
  #readTo(reader: Reader, end: number, length: number): void {
    reader.pos = this.#width === 2 ? this.#readWide(reader, end, length) : this.#readNarrow(reader, end, length);
    this.#length = length;
  }

  #readWide(reader: Reader, end: number, length: number): number {
    const halves = this.#values as Int32Array;
    let pos = reader.pos;
    for (let at = this.#length * 2; at < length * 2; at += 2) pos = varintAt(reader.buf, pos, end, halves, at);
    return pos;
  }

  #readNarrow(reader: Reader, end: number, length: number): number {
    const isBool = this.#kind === "bool";
    let pos = reader.pos;
    const both = new Int32Array(2);
    for (let at = this.#length; at < length; at++) {
      const byte = pos < end ? reader.buf[pos]! : 0x80;
      if (byte < 0x80) {
        this.#values[at] = isBool && byte !== 0 ? 1 : byte;
        pos++;
        continue;
      }
      pos = varintAt(reader.buf, pos, end, both, 0);
      this.#values[at] = isBool ? Number((both[0]! | both[1]!) !== 0) : both[0]!;
    }
    return pos;
  }

  /** Of truth values. */
  takeFlags(): Uint8Array {
    return trimmed(this.#values as Uint8Array, this.#length);
  }

  take(): ScalarColumn {
    if (this.#kind === "bool") return { kind: "bool", values: this.takeFlags() };
    const values = trimmed(this.#values as Int32Array, this.#length * this.#width);
    if (this.#kind === "int32") return { kind: "int32", values };
    return { kind: "int64", values: new BigInt64Array(values.buffer as ArrayBuffer, 0, this.#length) };
  }
}

function varintsIn(bytes: Uint8Array, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; i++) if (bytes[i]! < 0x80) count++;
  return count;
}

function refuseRest({ pos }: Reader, end: number): void {
  if (pos !== end) throw new RangeError(`index out of range: ${pos} of ${end}`);
}

/** Where each cell of a column ends, by its number: the first offset is 0. */
export class Offsets {
  readonly #bound: Bound;
  #ends = new Uint32Array(1);
  #cells = 0;

  constructor(bound: Bound) {
    this.#bound = bound;
  }

  get cells(): number {
    return this.#cells;
  }

  get last(): number {
    return this.#ends[this.#cells]!;
  }

  add(end: number): Steps | undefined {
    refuseBeyond(this.#cells + 1, this.#bound);
    if (isDear(this.#ends, this.#cells + 1, this.#cells + 2)) return this.#addMuch(end);
    this.#ends = grown(this.#ends, this.#cells + 1, this.#cells + 2);
    this.#ends[++this.#cells] = end;
    return undefined;
  }

  *#addMuch(end: number): Steps {
    this.#ends = yield* grownInSteps(this.#ends, this.#cells + 1, this.#cells + 2);
    this.#ends[++this.#cells] = end;
  }

  take(): Uint32Array {
    return trimmed(this.#ends, this.#cells + 1);
  }
}

/** Texts and bytes, one after the other in one buffer. */
export class BytesList implements ValueList {
  readonly #kind: "varchar" | "json" | "sparseVector";
  readonly #offsets: Offsets;
  #bytes: Uint8Array;

  /** @param capacity bytes that are not exceeded mostly: those of the message that the values are in */
  constructor(kind: "varchar" | "json" | "sparseVector", capacity: number, bound = BOUNDLESS) {
    this.#kind = kind;
    this.#bytes = new Uint8Array(capacity);
    this.#offsets = new Offsets(bound);
  }

  get length(): number {
    return this.#offsets.cells;
  }

  read(reader: Reader, wireType: number): Steps | undefined {
    const end = enter(reader, wireType);
    const start = this.#offsets.last;
    const next = start + end - reader.pos;
    if (end - reader.pos > COPY_BYTES || isDear(this.#bytes, start, next)) return this.#readMuch(reader, end, next);
    this.#bytes = grown(this.#bytes, start, next);
    copyBytes(reader.buf, reader.pos, end, this.#bytes, start);
    reader.pos = end;
    return this.#offsets.add(next);
  }

  *#readMuch(reader: Reader, end: number, next: number): Steps {
    const start = this.#offsets.last;
    this.#bytes = yield* grownInSteps(this.#bytes, start, next);
    yield* copyInSteps(reader, end, this.#bytes, start);
    const steps = this.#offsets.add(next);
    if (steps !== undefined) yield* steps;
  }

  take(): ScalarColumn & { kind: "varchar" | "json" | "sparseVector" } {
    const used = this.#offsets.last;
    // A view would keep the slack alive as long as the column.
    const bytes = used * 2 < this.#bytes.length ? this.#bytes.slice(0, used) : this.#bytes.subarray(0, used);
    return { kind: this.#kind, offsets: this.#offsets.take(), bytes };
  }
}

/** Shorter ones are not worth a call out of JavaScript. */
const LOOP_BYTES_MAX = 32;

export function copyBytes(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start > LOOP_BYTES_MAX) to.set(from.subarray(start, end), at);
  else for (let i = start; i < end; i++) to[at++] = from[i]!;
}

/** What the reader stands before, up to `end`, where it then stands. */
function* copyInSteps(reader: Reader, end: number, to: Uint8Array, at: number): Steps {
  while (reader.pos < end) {
    const next = Math.min(end, reader.pos + COPY_BYTES);
    to.set(reader.buf.subarray(reader.pos, next), at);
    at += next - reader.pos;
    reader.pos = next;
    yield;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
