/**
 * Checks a column that a client gives against its field: the same refusals as fill-column.ts has for cells, but typed arrays
 * are checked as a whole where possible. Values of the right kind are taken as they are.
 *
 * Arrays of another kind than the field's are converted if that loses nothing: whole numbers of another width, floats as
 * doubles.
 */
import { isUtf8 } from "node:buffer";
import { VdbError } from "../errors.ts";
import { type FieldSchema, isVectorType, type ScalarType, type VectorType } from "../schema.ts";
import {
  type ArrayColumn,
  type BytesColumn,
  type Column,
  type DenseVectorColumn,
  type Int64Column,
  type NumberColumn,
  PACKED_KINDS,
  rowWidth,
  type ScalarColumn,
} from "../segment/column.ts";
import { columnRows } from "../segment/gather.ts";
import { textReader } from "../segment/text-reader.ts";
import {
  JSON_BYTES_MAX,
  misshapen,
  notFinite,
  outOfBounds,
  outOfRange,
  type Place,
  tooLongJson,
  tooLongText,
  tooManyItems,
  wrongTime,
} from "./bad-cell.ts";
import { fillColumn, INTEGERS, TIME_MAX, TIME_MIN } from "./fill-column.ts";
import { checkIndex, weightOf } from "./fill-sparse-vectors.ts";
import { checkHalves, firstNotFinite } from "./fill-vectors.ts";
import { isTooDeep, JSON_DEPTH_MAX } from "./json-text.ts";

/**
 * @param column of sound structure, every cell a value
 * @param zone for times without an offset; UTC when absent
 * @throws VdbError invalid_insert_data, invalid_parameter: with row and field
 */
export function checkColumn(field: FieldSchema, column: Column, place: Place, zone?: string): Column {
  const { type } = field;
  if (type === "Array") return checkArrays(field, column, place);
  if (type === "Geometry") return fillTexts(field, asTexts("Geometry", column, place), place, zone);
  if (isVectorType(type)) return checkVectors(type, field.dimension ?? 0, column, place);
  if (type === "Timestamptz" && column.kind === "varchar") return fillTexts(field, column, place, zone);
  return checkScalars(type, field.maxLength ?? 0, column, place);
}

export function wrongKind({ field }: Place, expected: string, column: Column): VdbError {
  return new VdbError(
    "invalid_insert_data",
    `fail to deal the insert data, error: field ${field}: expected a column of ${expected}, got one of ${column.kind}`,
    { details: { field } },
  );
}

function checkScalars(type: ScalarType, maxLength: number, column: Column, place: Place): ScalarColumn {
  switch (type) {
    case "Bool":
      if (column.kind !== "bool") throw wrongKind(place, type, column);
      return column.values.every((value) => value <= 1)
        ? column
        : { kind: "bool", values: column.values.map((value) => (value === 0 ? 0 : 1)) };
    case "Int8":
    case "Int16":
    case "Int32":
      return checkIntegers(type, column, place);
    case "Int64":
      return asInt64(type, column, place);
    case "Float":
    case "Double":
      return checkFloats(type, column, place);
    case "VarChar":
      return checkTexts(asTexts(type, column, place), maxLength, place);
    case "JSON":
      return checkJson(column, place);
    case "Timestamptz":
      return checkTimes(asInt64(type, column, place), place);
  }
}

function isWhole(column: Column): column is NumberColumn | Int64Column {
  return column.kind === "int64" || column.kind === "int32" || column.kind === "int16" || column.kind === "int8";
}

function checkIntegers(type: keyof typeof INTEGERS, column: Column, place: Place): NumberColumn {
  if (!isWhole(column)) throw wrongKind(place, type, column);
  const { kind, min, max } = INTEGERS[type];
  if (column.kind === kind) return column;
  const values = new { int8: Int8Array, int16: Int16Array, int32: Int32Array }[kind](column.values.length);
  for (let i = 0; i < values.length; i++) {
    const value = column.values[i]!;
    if (value < min || value > max) throw outOfRange(place, i, String(value), INTEGERS[type]);
    values[i] = Number(value);
  }
  return { kind, values };
}

function asInt64(type: string, column: Column, place: Place): Int64Column {
  if (!isWhole(column)) throw wrongKind(place, type, column);
  if (column.kind === "int64") return column;
  return { kind: "int64", values: BigInt64Array.from(column.values as Int32Array, BigInt) };
}

function checkTimes(column: Int64Column, place: Place): Int64Column {
  const { values } = column;
  for (let i = 0; i < values.length; i++) {
    if (values[i]! < TIME_MIN || values[i]! > TIME_MAX) throw wrongTime(place, i, values[i]);
  }
  return column;
}

function checkFloats(type: "Float" | "Double", column: Column, place: Place): NumberColumn {
  if (column.kind !== "float" && column.kind !== "double") throw wrongKind(place, type, column);
  const given = column.values as Float32Array | Float64Array;
  let values = given;
  if (type === "Float" && column.kind === "double") values = Float32Array.from(given);
  if (type === "Double" && column.kind === "float") values = Float64Array.from(given);
  const bad = firstNotFinite(values, 0, values.length);
  if (bad >= 0) throw notFinite(place, bad, given[bad]);
  return values === given ? column : { kind: type === "Float" ? "float" : "double", values };
}

function asTexts(type: string, column: Column, place: Place): BytesColumn {
  if (column.kind !== "varchar") throw wrongKind(place, type, column);
  return column;
}

function checkTexts(column: BytesColumn, maxLength: number, place: Place): BytesColumn {
  const { offsets, bytes } = column;
  const rows = offsets.length - 1;
  for (let i = 0; i < rows; i++) {
    const length = offsets[i + 1]! - offsets[i]!;
    if (length > maxLength) throw tooLongText(place, i, length, maxLength);
  }
  checkUtf8(column, bytes, place);
  return column;
}

/** The bytes as a whole are text, and no cell begins inside a character. */
function checkUtf8({ offsets, kind }: BytesColumn, bytes: Uint8Array, place: Place): void {
  const refuse = (cell: number) =>
    misshapen(place, cell, `the ${kind === "json" ? "JSON" : "text"} is not valid UTF-8`);
  const rows = offsets.length - 1;
  if (!isUtf8(bytes)) {
    let cell = 0;
    while (cell < rows - 1 && isUtf8(bytes.subarray(offsets[cell], offsets[cell + 1]))) cell++;
    throw refuse(cell);
  }
  for (let i = 1; i < rows; i++) if ((bytes[offsets[i]!]! & 0xc0) === 0x80) throw refuse(i - 1);
}

/** Cell by cell: their texts must be parsed and written anew. */
function fillTexts(field: FieldSchema, column: BytesColumn, place: Place, zone?: string): Column {
  checkUtf8(column, column.bytes, place);
  const read = textReader(column);
  const cells = Array.from({ length: columnRows(column) }, (_, cell) => read(cell));
  return fillColumn(field, cells, zone, place.rowAt);
}

/**
 * Bytes of JSON text stay as they are.
 * @param look called with each value
 * @throws VdbError invalid_insert_data, invalid_parameter
 */
export function checkJson(column: Column, place: Place, look?: (value: unknown, cell: number) => void): BytesColumn {
  if (column.kind !== "json") throw wrongKind(place, "JSON", column);
  checkUtf8(column, column.bytes, place);
  const { offsets } = column;
  const read = textReader(column);
  for (let i = 0; i < offsets.length - 1; i++) {
    const length = offsets[i + 1]! - offsets[i]!;
    if (length > JSON_BYTES_MAX) throw tooLongJson(place, i, length);
    const value = parsedJson(read(i), i, place);
    look?.(value, i);
  }
  return column;
}

function parsedJson(text: string, cell: number, place: Place): unknown {
  if (isTooDeep(text)) {
    const problem = `the value is nested deeper than ${JSON_DEPTH_MAX} levels`;
    throw outOfBounds(place, cell, problem);
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw misshapen(place, cell, `invalid JSON: ${(error as Error).message}`);
  }
}

function checkArrays(field: FieldSchema, column: Column, place: Place): ArrayColumn {
  if (column.kind !== "array") throw wrongKind(place, "Array", column);
  const { offsets } = column;
  const capacity = field.maxCapacity!;
  for (let i = 0; i < offsets.length - 1; i++) {
    const length = offsets[i + 1]! - offsets[i]!;
    if (length > capacity) throw tooManyItems(place, i, length, capacity);
  }
  const type = field.elementType!;
  // Empty lists do not show their type.
  const items =
    columnRows(column.items) === 0
      ? (fillColumn({ ...field, type, nullable: false }, []) as ScalarColumn)
      : checkScalars(type, field.maxLength ?? 0, column.items, { ...place, offsets });
  return { kind: "array", offsets, items };
}

function checkVectors(type: VectorType, dimension: number, column: Column, place: Place): Column {
  if (type === "SparseFloatVector") {
    if (column.kind !== "sparseVector") throw wrongKind(place, type, column);
    return checkSparse(column, place);
  }
  const kind = type === "FloatVector" ? "floatVector" : PACKED_KINDS[type];
  if (column.kind !== kind) throw wrongKind(place, type, column);
  const vectors = { ...column, dimension } as DenseVectorColumn;
  const width = rowWidth(vectors);
  if (vectors.kind === "floatVector") {
    const bad = firstNotFinite(vectors.values, 0, vectors.values.length);
    if (bad >= 0) throw notFinite(place, Math.floor(bad / width), vectors.values[bad]);
  } else if (type === "Float16Vector" || type === "BFloat16Vector") {
    checkHalves(type, vectors.values, (at) => Math.floor(at / width), place);
  }
  return vectors;
}

const PAIR_BYTES = 8;

function checkSparse(column: BytesColumn, place: Place): BytesColumn {
  const { offsets, bytes } = column;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let cell = 0; cell < offsets.length - 1; cell++) {
    const length = offsets[cell + 1]! - offsets[cell]!;
    if (length % PAIR_BYTES !== 0) {
      throw misshapen(place, cell, `invalid data length in sparse float vector: ${length}`);
    }
    let previous = -1;
    for (let at = offsets[cell]!; at < offsets[cell + 1]!; at += PAIR_BYTES) {
      const index = view.getUint32(at, true);
      checkIndex(index, previous, cell, place);
      previous = index;
      weightOf(view.getFloat32(at + 4, true), cell, place);
    }
  }
  return column;
}
