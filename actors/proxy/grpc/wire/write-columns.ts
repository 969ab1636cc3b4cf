/**
 * Columns of a reply as FieldData and IDs. What has a size in bytes is handed to the writer as bytes, and copied once: into
 * the message.
 *
 * A scalar that is null has a value nobody looks at, a vector that is null has none; `valid_data` says which are.
 */
import protobuf from "protobufjs/minimal.js";
import type { FieldType } from "../../../../runtime/schema.ts";
import { bitsetRows, hasBit } from "../../../../runtime/segment/bitset.ts";
import type {
  ArrayColumn,
  BytesColumn,
  Column,
  DenseVectorColumn,
  ScalarColumn,
} from "../../../../runtime/segment/column.ts";
import { columnRows, takeColumn } from "../../../../runtime/segment/gather.ts";
import type { KeyColumn } from "../../../../runtime/segment/keys.ts";
import type { ReplyColumn } from "../../reply-columns.ts";
import { DATA_TYPES, FIELDS, LENGTH, VARINT } from "./numbers.ts";
import { copyBytes } from "./value-lists.ts";

export type Writer = protobuf.Writer;

/** The message that `write` writes. */
export function encodeWith(write: (writer: Writer) => void): Buffer {
  const writer = protobuf.Writer.create();
  write(writer);
  const bytes = writer.finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function tag(field: number, wireType: number): number {
  return ((field << 3) | wireType) >>> 0;
}

export function writeMessage(writer: Writer, field: number, write: (writer: Writer) => void): void {
  writer.uint32(tag(field, LENGTH)).fork();
  write(writer);
  writer.ldelim();
}

export function writeText(writer: Writer, field: number, text: string): void {
  if (text !== "") writer.uint32(tag(field, LENGTH)).string(text);
}

/** An int64 or uint64. */
export function writeInteger(writer: Writer, field: number, value: number | bigint): void {
  if (value === 0 || value === 0n) return;
  writer.uint32(tag(field, VARINT));
  // What the writer takes for 64 bits is a number, or the two halves of one.
  if (typeof value === "number") writer.int64(value);
  else writer.int64({ low: Number(value & 0xffff_ffffn), high: Number((value >> 32n) & 0xffff_ffffn) } as never);
}

export function writeBytes(writer: Writer, field: number, bytes: Uint8Array): void {
  writer.uint32(tag(field, LENGTH)).bytes(bytes);
}

/** Packed. */
export function writeFloats(writer: Writer, field: number, values: Float32Array | Float64Array): void {
  if (values.length > 0) writeBytes(writer, field, bytesOf(values));
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

const VARINT_BYTES_MAX = 10;

/** Packed varints of 32-bit numbers, with their sign. */
export function packIntegers(values: ArrayLike<number>, start = 0, end = values.length): Uint8Array {
  const bytes = new Uint8Array((end - start) * VARINT_BYTES_MAX);
  let at = 0;
  for (let i = start; i < end; i++) at = putVarint(bytes, at, values[i]!, values[i]! < 0 ? -1 : 0);
  return bytes.subarray(0, at);
}

function packInt64(values: BigInt64Array, start: number, end: number): Uint8Array {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const bytes = new Uint8Array((end - start) * VARINT_BYTES_MAX);
  let at = 0;
  for (let i = 2 * start; i < 2 * end; i += 2) at = putVarint(bytes, at, halves[i]!, halves[i + 1]!);
  return bytes.subarray(0, at);
}

function putVarint(bytes: Uint8Array, at: number, low: number, high: number): number {
  while (high !== 0 || low >>> 0 > 0x7f) {
    bytes[at++] = (low & 0x7f) | 0x80;
    low = (low >>> 7) | (high << 25);
    high >>>= 7;
  }
  bytes[at++] = low;
  return at;
}

/** A repeated field of bytes or texts, as the content of the message that it is in. */
function packTexts({ offsets, bytes }: BytesColumn, field: number, start: number, end: number): Uint8Array {
  const packed = new Uint8Array(offsets[end]! - offsets[start]! + (end - start) * (1 + 5));
  const head = tag(field, LENGTH);
  let at = 0;
  for (let row = start; row < end; row++) {
    packed[at++] = head;
    const from = offsets[row]!;
    const to = offsets[row + 1]!;
    at = putVarint(packed, at, to - from, 0);
    copyBytes(bytes, from, to, packed, at);
    at += to - from;
  }
  return packed.subarray(0, at);
}

export function writeIds(writer: Writer, field: number, keys: KeyColumn): void {
  const F = FIELDS.IDs;
  writeMessage(writer, field, () => {
    writeBytes(writer, keys.kind === "int64" ? F.intId : F.strId, valuesMessage(keys, 0, columnRows(keys)));
  });
}

/** Field `field` of the message under way is this column. */
export function writeFieldData(
  writer: Writer,
  field: number,
  { name, fieldId, type, elementType, isDynamic, column }: ReplyColumn,
): void {
  const F = FIELDS.FieldData;
  writeMessage(writer, field, () => {
    writeInteger(writer, F.type, DATA_TYPES[type]);
    writeText(writer, F.fieldName, name);
    if ("dimension" in column || column.kind === "sparseVector") {
      writeMessage(writer, F.vectors, () => writeVectors(writer, presentVectors(column)));
    } else {
      writeMessage(writer, F.scalars, () => {
        if (column.kind === "array") writeArrays(writer, column, elementType ?? "Int64");
        else writeBytes(writer, listField(type, column), valuesMessage(column, 0, columnRows(column)));
      });
    }
    writeInteger(writer, F.fieldId, fieldId);
    if (isDynamic === true) writeInteger(writer, F.isDynamic, 1);
    const { valid } = column;
    if (valid !== undefined) {
      writeBytes(
        writer,
        F.validData,
        Uint8Array.from({ length: columnRows(column) }, (_, row) => Number(hasBit(valid, row))),
      );
    }
  });
}

/** The field of ScalarField that values of a type are in. */
function listField(type: FieldType, { kind }: ScalarColumn): number {
  const F = FIELDS.ScalarField;
  switch (kind) {
    case "bool":
      return F.boolData;
    case "int8":
    case "int16":
    case "int32":
      return F.intData;
    case "int64":
      return F.longData;
    case "float":
      return F.floatData;
    case "double":
      return F.doubleData;
    case "json":
      return F.jsonData;
    default:
      return type === "Geometry" ? F.geometryWktData : F.stringData;
  }
}

/** Values `start` to before `end`, as the message that has them in its field `data`. */
function valuesMessage(column: ScalarColumn, start: number, end: number): Uint8Array {
  switch (column.kind) {
    case "varchar":
    case "json":
    case "sparseVector":
      return packTexts(column, FIELDS.List.data, start, end);
    case "bool":
      return packed(column.values.subarray(start, end));
    case "int64":
      return packed(packInt64(column.values, start, end));
    case "float":
    case "double":
      return packed(bytesOf(column.values.subarray(start, end)));
    default:
      return packed(packIntegers(column.values, start, end));
  }
}

/** A packed field `data`, and nothing else. */
function packed(values: Uint8Array): Uint8Array {
  if (values.length === 0) return values;
  const head = new Uint8Array(1 + 5);
  head[0] = tag(FIELDS.List.data, LENGTH);
  const length = putVarint(head, 1, values.length, 0);
  const bytes = new Uint8Array(length + values.length);
  bytes.set(head.subarray(0, length));
  bytes.set(values, length);
  return bytes;
}

function writeArrays(writer: Writer, { offsets, items }: ArrayColumn, elementType: FieldType): void {
  const element = listField(elementType, items);
  writeMessage(writer, FIELDS.ScalarField.arrayData, () => {
    for (let row = 0; row < offsets.length - 1; row++) {
      const values = valuesMessage(items, offsets[row]!, offsets[row + 1]!);
      writeMessage(writer, FIELDS.ArrayArray.data, () => writeBytes(writer, element, values));
    }
    writeInteger(writer, FIELDS.ArrayArray.elementType, DATA_TYPES[elementType]);
  });
}

const VECTOR_FIELDS: Readonly<Record<Exclude<DenseVectorColumn["kind"], "floatVector">, number>> = {
  binaryVector: FIELDS.VectorField.binaryVector,
  float16Vector: FIELDS.VectorField.float16Vector,
  bfloat16Vector: FIELDS.VectorField.bfloat16Vector,
  int8Vector: FIELDS.VectorField.int8Vector,
};

function presentVectors<C extends Column>(column: C): C {
  if (column.valid === undefined) return column;
  return takeColumn(column, bitsetRows(column.valid));
}

function writeVectors(writer: Writer, column: Column): void {
  const F = FIELDS.VectorField;
  if (column.kind === "sparseVector") {
    const dimension = sparseDimension(column);
    writeInteger(writer, F.dim, dimension);
    writeMessage(writer, F.sparseFloatVector, () => {
      const { offsets, bytes } = column;
      for (let row = 0; row < offsets.length - 1; row++) {
        writeBytes(writer, FIELDS.SparseFloatArray.contents, bytes.subarray(offsets[row], offsets[row + 1]));
      }
      writeInteger(writer, FIELDS.SparseFloatArray.dim, dimension);
    });
    return;
  }
  const vectors = column as DenseVectorColumn;
  writeInteger(writer, F.dim, vectors.dimension);
  if (vectors.kind !== "floatVector") {
    writeBytes(writer, VECTOR_FIELDS[vectors.kind], vectors.values);
    return;
  }
  writeMessage(writer, F.floatVector, () => writeFloats(writer, FIELDS.List.data, vectors.values));
}

/** One more than the greatest index; the pairs of a row ascend. */
function sparseDimension({ offsets, bytes }: BytesColumn): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let dimension = 0;
  for (let row = 0; row < offsets.length - 1; row++) {
    if (offsets[row + 1]! > offsets[row]!)
      dimension = Math.max(dimension, view.getUint32(offsets[row + 1]! - 8, true) + 1);
  }
  return dimension;
}
