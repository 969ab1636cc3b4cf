/**
 * Vector cells to a column, of rows and of queries alike. The forms taken, by type:
 * - FloatVector: a list of numbers, Float32Array, Float64Array;
 * - Float16Vector, BFloat16Vector: the same (rounded), or the packed bytes: base64 text, Uint8Array, Uint16Array;
 * - Int8Vector: a list of whole numbers, Int8Array, or the bytes: base64 text, Uint8Array;
 * - BinaryVector: the bytes (dim / 8): base64 text, Uint8Array, a list of numbers from 0 to 255;
 * - SparseFloatVector: {"index": value}, {indices, values}, or pairs of uint32 and float32 as Uint8Array;
 * - null, which the caller has allowed: zeros, or no pairs, take its place.
 */
import { bfloat16Bits, float16Bits, isFiniteBfloat16, isFiniteFloat16 } from "../half-floats.ts";
import { bytesOfVector, type PackedVectorType, type VectorType } from "../schema.ts";
import { type FloatVectorColumn, PACKED_KINDS, type PackedVectorColumn, type VectorColumn } from "../segment/column.ts";
import { misshapen, notFinite, outOfBounds, type Place, show, wrongType } from "./bad-cell.ts";
import { fillSparseVectors } from "./fill-sparse-vectors.ts";

type Cells = readonly unknown[];

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * @param dimension of sparse vectors: 0
 * @throws VdbError invalid_insert_data (a cell of another type or shape), invalid_parameter (a value out of bounds)
 */
export function fillVectors(type: VectorType, dimension: number, cells: Cells, place: Place): VectorColumn {
  switch (type) {
    case "FloatVector":
      return fillFloatVectors(dimension, cells, place);
    case "SparseFloatVector":
      return fillSparseVectors(cells, place);
    default:
      return fillPackedVectors(type, dimension, cells, place);
  }
}

export function fillFloatVectors(dimension: number, cells: Cells, place: Place): FloatVectorColumn {
  const values = new Float32Array(cells.length * dimension);
  for (let row = 0; row < cells.length; row++) {
    if (cells[row] !== null) writeVector(values, row, cells[row], dimension, place);
  }
  return { kind: "floatVector", dimension, values };
}

function writeVector(values: Float32Array, row: number, cell: unknown, dimension: number, place: Place): void {
  const start = row * dimension;
  if (!isNumberList(cell)) throw wrongType(place, row, "FloatVector", cell);
  checkDimension(cell.length, dimension, row, place);
  if (Array.isArray(cell)) writeNumbers(values, start, cell as unknown[], row, place);
  else values.set(cell as Float32Array, start);
  const bad = firstNotFinite(values, start, start + dimension);
  if (bad >= 0) throw notFinite(place, row, cell[bad - start]);
}

/** The position of the first NaN or infinite number; -1: there is none. */
export function firstNotFinite(values: Float32Array | Float64Array, start: number, end: number): number {
  // NaN and infinities survive a multiplication with zero, as NaN; nothing else does.
  let poison = 0;
  for (let i = start; i < end; i++) poison += values[i]! * 0;
  if (!Number.isNaN(poison)) return -1;
  let at = start;
  while (Number.isFinite(values[at])) at++;
  return at;
}

function writeNumbers(values: Float32Array, start: number, cell: readonly unknown[], row: number, place: Place): void {
  for (let i = 0; i < cell.length; i++) {
    const value = cell[i];
    if (typeof value === "number") values[start + i] = value;
    else if (typeof value === "bigint") values[start + i] = Number(value);
    else throw wrongType(place, row, `a number at position ${i} of the vector`, value);
  }
}

function isNumberList(cell: unknown): cell is ArrayLike<unknown> {
  return Array.isArray(cell) || cell instanceof Float32Array || cell instanceof Float64Array;
}

function checkDimension(given: number, dimension: number, row: number, place: Place): void {
  if (given === dimension) return;
  throw misshapen(place, row, `expected a vector of dimension ${dimension}, got one of ${given}`);
}

function fillPackedVectors(type: PackedVectorType, dimension: number, cells: Cells, place: Place): PackedVectorColumn {
  const width = bytesOfVector(type, dimension);
  const values = new Uint8Array(cells.length * width);
  for (let row = 0; row < cells.length; row++) {
    const cell = cells[row];
    if (cell === null) continue;
    const target = values.subarray(row * width, (row + 1) * width);
    const packed = packedBytes(type, width, cell, row, place);
    if (packed !== undefined) writePacked(type, target, packed, row, place);
    else if (type === "Float16Vector" || type === "BFloat16Vector")
      writeHalves(type, target, dimension, cell, row, place);
    else writeBytes(type, target, cell, row, place);
  }
  return { kind: PACKED_KINDS[type], dimension, values };
}

/** The cell's bytes, if it comes packed. */
function packedBytes(
  type: PackedVectorType,
  width: number,
  cell: unknown,
  row: number,
  place: Place,
): Uint8Array | undefined {
  if (typeof cell === "string") {
    const chars = Math.ceil(width / 3) * 4;
    if (cell.length !== chars || !BASE64.test(cell)) {
      const problem = `expected a ${type} as base64 text of ${chars} characters, got ${show(cell)}`;
      throw misshapen(place, row, `${problem} of ${cell.length}`);
    }
    return Buffer.from(cell, "base64");
  }
  if (cell instanceof Uint8Array) return cell;
  const isHalves = type === "Float16Vector" || type === "BFloat16Vector";
  if ((cell instanceof Int8Array && type === "Int8Vector") || (cell instanceof Uint16Array && isHalves)) {
    return new Uint8Array(cell.buffer, cell.byteOffset, cell.byteLength);
  }
  return undefined;
}

function writePacked(type: PackedVectorType, target: Uint8Array, packed: Uint8Array, row: number, place: Place): void {
  if (packed.length !== target.length) {
    throw misshapen(place, row, `expected a vector of ${target.length} bytes, got ${packed.length}`);
  }
  target.set(packed);
  if (type === "Float16Vector" || type === "BFloat16Vector") checkHalves(type, target, () => row, place);
}

/** @param rowAt of the byte at a position @throws VdbError invalid_parameter */
export function checkHalves(
  type: "Float16Vector" | "BFloat16Vector",
  bytes: Uint8Array,
  rowAt: (position: number) => number,
  place: Place,
): void {
  const isNumber = type === "Float16Vector" ? isFiniteFloat16 : isFiniteBfloat16;
  for (let at = 0; at < bytes.length; at += 2) {
    const half = bytes[at]! | (bytes[at + 1]! << 8);
    if (isNumber(half)) continue;
    const isNotANumber = (half & (type === "Float16Vector" ? 0x3ff : 0x7f)) !== 0;
    throw notFinite(place, rowAt(at), isNotANumber ? Number.NaN : Number.POSITIVE_INFINITY);
  }
}

function writeHalves(
  type: "Float16Vector" | "BFloat16Vector",
  target: Uint8Array,
  dimension: number,
  cell: unknown,
  row: number,
  place: Place,
): void {
  if (!isNumberList(cell)) throw wrongType(place, row, type, cell);
  checkDimension(cell.length, dimension, row, place);
  const [bitsOf, isNumber] =
    type === "Float16Vector" ? [float16Bits, isFiniteFloat16] : [bfloat16Bits, isFiniteBfloat16];
  for (let i = 0; i < dimension; i++) {
    const value = cell[i];
    if (typeof value !== "number" && typeof value !== "bigint") {
      throw wrongType(place, row, `a number at position ${i} of the vector`, value);
    }
    const half = bitsOf(Number(value));
    if (!isNumber(half)) throw notFinite(place, row, Number(value));
    target[2 * i] = half & 0xff;
    target[2 * i + 1] = half >>> 8;
  }
}

function writeBytes(
  type: "Int8Vector" | "BinaryVector",
  target: Uint8Array,
  cell: unknown,
  row: number,
  place: Place,
): void {
  if (!Array.isArray(cell)) throw wrongType(place, row, type, cell);
  const [min, max] = type === "Int8Vector" ? [-128, 127] : [0, 255];
  if (type === "Int8Vector") checkDimension(cell.length, target.length, row, place);
  else if (cell.length !== target.length) {
    throw misshapen(place, row, `expected a vector of ${target.length} bytes, got ${cell.length}`);
  }
  for (let i = 0; i < target.length; i++) {
    const value = cell[i] as unknown;
    if (!Number.isInteger(value)) throw wrongType(place, row, `a whole number at position ${i} of the vector`, value);
    if ((value as number) < min || (value as number) > max) {
      throw outOfBounds(place, row, `the ${i}th element (${String(value)}) out of range: [${min}, ${max}]`);
    }
    target[i] = value as number;
  }
}
