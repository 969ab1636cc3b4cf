/** Makes a column of sparse vectors: pairs by ascending index. */
import type { SparseVectorColumn } from "../segment/column.ts";
import { misshapen, notFinite, outOfBounds, type Place, wrongType } from "./bad-cell.ts";

/** Indices are below it. */
const INDEX_END = 2 ** 32 - 1;

const PAIR_BYTES = 8;

interface Pairs {
  indices: ArrayLike<unknown>;
  values: ArrayLike<unknown>;
}

/** @throws VdbError invalid_insert_data, invalid_parameter */
export function fillSparseVectors(cells: readonly unknown[], place: Place): SparseVectorColumn {
  const rows = cells.map((cell, row) => pairsOf(cell, row, place));
  const offsets = new Uint32Array(cells.length + 1);
  for (let row = 0; row < rows.length; row++) {
    offsets[row + 1] = offsets[row]! + rows[row]!.indices.length * PAIR_BYTES;
  }
  const bytes = new Uint8Array(offsets[rows.length]!);
  const view = new DataView(bytes.buffer);
  for (let row = 0; row < rows.length; row++) writePairs(view, offsets[row]!, rows[row]!, row, place);
  return { kind: "sparseVector", offsets, bytes };
}

function pairsOf(cell: unknown, row: number, place: Place): Pairs {
  if (cell === null) return { indices: [], values: [] };
  if (cell instanceof Uint8Array) return pairsOfBytes(cell, row, place);
  if (typeof cell !== "object" || Array.isArray(cell) || ArrayBuffer.isView(cell)) {
    throw wrongType(place, row, "SparseFloatVector", cell);
  }
  const { indices, values } = cell as Partial<Pairs>;
  if (indices === undefined && values === undefined) return pairsOfMap(cell, row, place);
  if (!isList(indices) || !isList(values) || indices.length !== values.length) {
    throw misshapen(place, row, "a sparse vector needs indices and values, lists of one length");
  }
  return { indices: Array.from(indices, asNumber), values };
}

/** Large whole numbers come as bigints, which do not sort among numbers. An index that is too large stays too large. */
function asNumber(index: unknown): unknown {
  return typeof index === "bigint" ? Number(index) : index;
}

function isList(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

/** Looks the values up one by one: to list the values of an object with scattered indices, V8 would sort the keys again. */
function pairsOfMap(cell: object, row: number, place: Place): Pairs {
  const map = cell as Record<string, unknown>;
  const keys = Object.keys(map);
  const indices = new Float64Array(keys.length);
  const values = new Array<unknown>(keys.length);
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    const index = indexOf(key);
    if (index < 0) throw misshapen(place, row, `"${key}" is no index of a sparse vector`);
    indices[i] = index;
    values[i] = map[key];
  }
  return { indices, values };
}

const INDEX_DIGITS_MAX = 10;

/** -1: the text is not an index. A row may have hundreds of thousands, for which a regular expression is too slow. */
function indexOf(key: string): number {
  if (key.length === 0 || key.length > INDEX_DIGITS_MAX) return -1;
  let index = 0;
  for (let at = 0; at < key.length; at++) {
    const digit = key.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    index = 10 * index + digit;
  }
  return index;
}

function pairsOfBytes(bytes: Uint8Array, row: number, place: Place): Pairs {
  if (bytes.length % PAIR_BYTES !== 0) {
    throw misshapen(place, row, `invalid data length in sparse float vector: ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const count = bytes.length / PAIR_BYTES;
  return {
    indices: Array.from({ length: count }, (_, i) => view.getUint32(i * PAIR_BYTES, true)),
    values: Array.from({ length: count }, (_, i) => view.getFloat32(i * PAIR_BYTES + 4, true)),
  };
}

function writePairs(view: DataView, start: number, { indices, values }: Pairs, row: number, place: Place): void {
  const order = ascendingOrder(indices);
  let previous = -1;
  let at = start;
  for (let n = 0; n < indices.length; n++, at += PAIR_BYTES) {
    const i = order === undefined ? n : order[n]!;
    const index = indices[i];
    if (typeof index !== "number" || !Number.isInteger(index) || index < 0) {
      throw wrongType(place, row, "a whole number as index of a sparse vector", index);
    }
    checkIndex(index, previous, row, place);
    previous = index;
    view.setUint32(at, index, true);
    view.setFloat32(at + 4, weightOf(values[i], row, place), true);
  }
}

/** @param previous index of the row, -1: none @throws VdbError invalid_parameter */
export function checkIndex(index: number, previous: number, row: number, place: Place): void {
  if (index >= INDEX_END) {
    throw outOfBounds(place, row, "invalid index in sparse float vector: must be less than 2^32-1");
  }
  if (index <= previous) throw outOfBounds(place, row, "unsorted or same indices in sparse float vector");
}

/** @throws VdbError invalid_insert_data, invalid_parameter */
export function weightOf(given: unknown, row: number, place: Place): number {
  if (typeof given !== "number" && typeof given !== "bigint") {
    throw wrongType(place, row, "a number as value of a sparse vector", given);
  }
  const value = Math.fround(Number(given));
  if (!Number.isFinite(value)) throw notFinite(place, row, Number(given));
  if (value < 0) throw outOfBounds(place, row, "negative value in sparse float vector");
  return value;
}

/** Undefined when the indices ascend already, as those of an object always do. */
function ascendingOrder(indices: ArrayLike<unknown>): Uint32Array | undefined {
  let isAscending = true;
  for (let i = 1; i < indices.length && isAscending; i++)
    isAscending = (indices[i - 1] as number) < (indices[i] as number);
  if (isAscending) return undefined;
  const order = Uint32Array.from({ length: indices.length }, (_, i) => i);
  return order.sort((a, b) => (indices[a] as number) - (indices[b] as number));
}
