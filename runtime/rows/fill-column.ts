/**
 * Makes a column of the cells of one field: one pass, straight into typed arrays. One invalid cell refuses all of them. Null
 * cells (which the caller has allowed) become a zero or an empty slice.
 */
import type { VdbError } from "../errors.ts";
import { normalWkt, WKT_BYTES_MAX } from "../geo/wkt.ts";
import { type FieldSchema, isVectorType, type ScalarType } from "../schema.ts";
import type {
  ArrayColumn,
  BoolColumn,
  BytesColumn,
  Column,
  Int64Column,
  NumberColumn,
  ScalarColumn,
} from "../segment/column.ts";
import { parseTimestamptz } from "../timestamptz.ts";
import {
  JSON_BYTES_MAX,
  misshapen,
  notFinite,
  outOfBounds,
  outOfRange,
  type Place,
  shorten,
  tooLongJson,
  tooLongText,
  tooManyItems,
  wrongTime,
  wrongType,
} from "./bad-cell.ts";
import { ByteWriter } from "./byte-writer.ts";
import { fillVectors } from "./fill-vectors.ts";
import { isTooDeep, JSON_DEPTH_MAX, jsonTextOf } from "./json-text.ts";

const TOO_DEEP = Symbol("nested too deep");

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
/** Microseconds from the year 1 to the end of 9999, which have four digits. */
export const TIME_MIN = -62_135_596_800_000_000n;
export const TIME_MAX = 253_402_300_799_999_999n;
/** Longest int64 as text, with some leading zeros. */
const INT64_CHARS_MAX = 40;

export const INTEGERS = {
  Int8: { kind: "int8", min: -128, max: 127 },
  Int16: { kind: "int16", min: -32_768, max: 32_767 },
  Int32: { kind: "int32", min: -2_147_483_648, max: 2_147_483_647 },
} as const;

type Cells = readonly unknown[];

/**
 * @param zone for times without an offset; UTC when absent
 * @param rowAt the row of a cell, if rows without a value have no cell
 * @throws VdbError invalid_insert_data (a cell of another type or shape), invalid_parameter (a value out of bounds)
 */
export function fillColumn(field: FieldSchema, cells: Cells, zone?: string, rowAt?: Place["rowAt"]): Column {
  const place: Place = { field: field.name, rowAt };
  if (field.type === "Array") return fillArrays(field, cells, place);
  const { type } = field;
  if (type === "Geometry") return fillGeometries(cells, place);
  if (isVectorType(type)) return fillVectors(type, field.dimension ?? 0, cells, place);
  return fillScalars(type, field.maxLength ?? 0, cells, place, zone);
}

function fillScalars(type: ScalarType, maxLength: number, cells: Cells, place: Place, zone?: string): ScalarColumn {
  switch (type) {
    case "Bool":
      return fillBooleans(cells, place);
    case "Int8":
    case "Int16":
    case "Int32":
      return fillIntegers(type, cells, place);
    case "Int64":
      return fillInt64(cells, place);
    case "Float":
      return fillFloats({ kind: "float", values: new Float32Array(cells.length) }, cells, place);
    case "Double":
      return fillFloats({ kind: "double", values: new Float64Array(cells.length) }, cells, place);
    case "VarChar":
      return fillTexts(cells, maxLength, place);
    case "JSON":
      return fillJson(cells, place);
    case "Timestamptz":
      return fillTimes(cells, place, zone);
  }
}

function fillBooleans(cells: Cells, place: Place): BoolColumn {
  const values = new Uint8Array(cells.length);
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell === true) values[i] = 1;
    else if (cell !== false && cell !== null) throw wrongType(place, i, "Bool", cell);
  }
  return { kind: "bool", values };
}

function fillIntegers(type: keyof typeof INTEGERS, cells: Cells, place: Place): NumberColumn {
  const { kind, min, max } = INTEGERS[type];
  const values = new { int8: Int8Array, int16: Int16Array, int32: Int32Array }[kind](cells.length);
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell === null) continue;
    if (typeof cell !== "bigint" && !Number.isInteger(cell)) throw wrongType(place, i, type, cell);
    const value = cell as number;
    if (value < min || value > max) throw outOfRange(place, i, String(cell), INTEGERS[type]);
    values[i] = Number(value);
  }
  return { kind, values };
}

function fillInt64(cells: Cells, place: Place): Int64Column {
  const values = new BigInt64Array(cells.length);
  // Making a bigint a cell costs more than all else here: exact numbers are written as their two halves.
  const halves = new Int32Array(values.buffer);
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (typeof cell === "number" && Number.isSafeInteger(cell)) {
      halves[2 * i] = cell | 0;
      halves[2 * i + 1] = Math.floor(cell / 2 ** 32);
    } else if (cell !== null) {
      values[i] = int64Of(cell, i, place);
    }
  }
  return { kind: "int64", values };
}

function int64Of(cell: unknown, index: number, place: Place): bigint {
  const isText = typeof cell === "string" && /^[+-]?\d+$/.test(cell);
  // A text of millions of digits is not even read.
  if (isText && cell.length > INT64_CHARS_MAX) throw outOfInt64(place, index, cell);
  if (typeof cell === "number" && Number.isInteger(cell)) {
    if (Math.abs(cell) > INT64_MAX) throw outOfInt64(place, index, String(cell));
    throw outOfBounds(place, index, `integer ${cell} is not exact in JavaScript: give it as a bigint or as text`);
  }
  if (!isText && typeof cell !== "bigint") throw wrongType(place, index, "Int64", cell);
  const value = BigInt(cell as string | bigint);
  if (value >= INT64_MIN && value <= INT64_MAX) return value;
  throw outOfInt64(place, index, String(value));
}

/** ISO 8601 text, or whole microseconds since 1970. */
function fillTimes(cells: Cells, place: Place, zone?: string): Int64Column {
  const values = new BigInt64Array(cells.length);
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell === null) continue;
    const isNumber = typeof cell === "bigint" || Number.isSafeInteger(cell);
    if (!isNumber && typeof cell !== "string") throw wrongType(place, i, "Timestamptz as ISO 8601 text", cell);
    const micros = isNumber ? BigInt(cell as number | bigint) : parseTimestamptz(cell as string, zone);
    if (micros === undefined || micros < TIME_MIN || micros > TIME_MAX) throw wrongTime(place, i, cell);
    values[i] = micros;
  }
  return { kind: "int64", values };
}

function outOfInt64(place: Place, index: number, digits: string): VdbError {
  return outOfRange(place, index, shorten(digits), { min: INT64_MIN, max: INT64_MAX });
}

function fillFloats<T extends NumberColumn & { values: Float32Array | Float64Array }>(
  column: T,
  cells: Cells,
  place: Place,
): T {
  const { values } = column;
  const expected = column.kind === "float" ? "Float" : "Double";
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell === null) continue;
    if (typeof cell !== "number" && typeof cell !== "bigint") throw wrongType(place, i, expected, cell);
    const value = Number(cell);
    values[i] = value;
    if (!Number.isFinite(values[i])) throw notFinite(place, i, value);
  }
  return column;
}

function fillTexts(cells: Cells, maxLength: number, place: Place): BytesColumn {
  const offsets = new Uint32Array(cells.length + 1);
  const writer = new ByteWriter(cells.length * 16);
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell !== null) {
      if (typeof cell !== "string") throw wrongType(place, i, "VarChar", cell);
      const length = writer.write(cell);
      if (length > maxLength) throw tooLongText(place, i, length, maxLength);
    }
    offsets[i + 1] = writer.length;
  }
  return { kind: "varchar", offsets, bytes: writer.take() };
}

/** In canonical form, whatever the form of the text. */
function fillGeometries(cells: Cells, place: Place): BytesColumn {
  const offsets = new Uint32Array(cells.length + 1);
  const writer = new ByteWriter(cells.length * 32);
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i];
    if (cell !== null) {
      if (typeof cell !== "string") throw wrongType(place, i, "Geometry as well-known text", cell);
      const text = cell.length > WKT_BYTES_MAX ? cell : normalWkt(cell);
      if (text !== undefined && text.length > WKT_BYTES_MAX) {
        const problem = `the geometry is ${text.length} characters long, at most ${WKT_BYTES_MAX} are taken`;
        throw outOfBounds(place, i, problem);
      }
      if (text === undefined) throw outOfBounds(place, i, `invalid geometry WKT: ${shorten(cell)}`);
      writer.write(text);
    }
    offsets[i + 1] = writer.length;
  }
  return { kind: "varchar", offsets, bytes: writer.take() };
}

/** Cells are JSON values, or the text of one (json-text.ts). */
export function fillJson(cells: Cells, place: Place, textOf = jsonTextOf): BytesColumn {
  const offsets = new Uint32Array(cells.length + 1);
  const writer = new ByteWriter(cells.length * 32);
  for (let i = 0; i < cells.length; i++) {
    if (cells[i] !== null) {
      const text = shallowText(cells[i], textOf);
      if (text === undefined) throw wrongType(place, i, "a JSON value", cells[i]);
      if (text === TOO_DEEP) {
        throw outOfBounds(place, i, `the value is nested deeper than ${JSON_DEPTH_MAX} levels`);
      }
      const length = writer.write(text);
      if (length > JSON_BYTES_MAX) throw tooLongJson(place, i, length);
    }
    offsets[i + 1] = writer.length;
  }
  return { kind: "json", offsets, bytes: writer.take() };
}

function shallowText(cell: unknown, textOf: typeof jsonTextOf): string | undefined | typeof TOO_DEEP {
  try {
    const text = textOf(cell);
    // A text that is too long is refused for its length, without parsing it.
    return text !== undefined && text.length <= JSON_BYTES_MAX && isTooDeep(text) ? TOO_DEEP : text;
  } catch (error) {
    if (error instanceof RangeError) return TOO_DEEP;
    throw error;
  }
}

function fillArrays(field: FieldSchema, cells: Cells, place: Place): ArrayColumn {
  const offsets = new Uint32Array(cells.length + 1);
  const items: unknown[] = [];
  const capacity = field.maxCapacity!;
  for (let row = 0; row < cells.length; row++) {
    const cell = cells[row];
    if (cell !== null) {
      if (!Array.isArray(cell)) throw wrongType(place, row, "Array", cell);
      if (cell.length > capacity) throw tooManyItems(place, row, cell.length, capacity);
      for (const item of cell as unknown[]) {
        if (item === null || item === undefined) throw misshapen(place, row, "array elements can not be null");
        items.push(item);
      }
    }
    offsets[row + 1] = items.length;
  }
  const within: Place = { ...place, offsets };
  return { kind: "array", offsets, items: fillScalars(field.elementType!, field.maxLength ?? 0, items, within) };
}
