/**
 * Primary keys inside columns: hashing, comparing and moving them without a JavaScript object a row.
 */
import type { FieldSchema } from "../schema.ts";
import type { BytesColumn, Int64Column, PrimaryKey } from "./column.ts";

export type KeyColumn = Int64Column | BytesColumn;

/** A key may begin with U+FEFF, which is kept: otherwise two keys would become one. */
const textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Views of int64 columns as 32-bit halves, little-endian (as Arrow, MessagePack extensions and every supported CPU have them). */
const halves = new WeakMap<BigInt64Array, Int32Array>();

function halvesOf(values: BigInt64Array): Int32Array {
  let view = halves.get(values);
  if (view === undefined) {
    view = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
    halves.set(values, view);
  }
  return view;
}

/** The finaliser of MurmurHash3 (public domain, A. Appleby): every input bit reaches every output bit. */
export function mix32(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 32-bit hash of a key: FNV-1a over the bytes of a VarChar, both halves of an Int64. Stored nowhere but in shard routing: changing it breaks clusters. */
export function hashKey(column: KeyColumn, row: number): number {
  if (column.kind === "int64") {
    const view = halvesOf(column.values);
    return mix32(view[2 * row]! ^ Math.imul(view[2 * row + 1]!, 0x9e3779b1));
  }
  const end = column.offsets[row + 1]!;
  let h = 0x811c9dc5;
  for (let i = column.offsets[row]!; i < end; i++) h = Math.imul(h ^ column.bytes[i]!, 0x01000193);
  return mix32(h);
}

/** Which of a collection's shards a key lives on. */
export function shardOfKey(column: KeyColumn, row: number, shardCount: number): number {
  return shardCount === 1 ? 0 : hashKey(column, row) % shardCount;
}

export function keysEqual(a: KeyColumn, rowA: number, b: KeyColumn, rowB: number): boolean {
  if (a.kind === "int64") {
    const x = halvesOf(a.values);
    const y = halvesOf((b as Int64Column).values);
    return x[2 * rowA] === y[2 * rowB] && x[2 * rowA + 1] === y[2 * rowB + 1];
  }
  const c = b as BytesColumn;
  const startA = a.offsets[rowA]!;
  const startB = c.offsets[rowB]!;
  const length = a.offsets[rowA + 1]! - startA;
  if (length !== c.offsets[rowB + 1]! - startB) return false;
  for (let i = 0; i < length; i++) if (a.bytes[startA + i] !== c.bytes[startB + i]) return false;
  return true;
}

/** Order of keys in place: numeric for Int64, by UTF-8 byte for VarChar. */
export function compareKeyRows(a: KeyColumn, rowA: number, b: KeyColumn, rowB: number): number {
  if (a.kind === "int64") {
    const x = halvesOf(a.values);
    const y = halvesOf((b as Int64Column).values);
    const high = x[2 * rowA + 1]! - y[2 * rowB + 1]!;
    return high !== 0 ? high : (x[2 * rowA]! >>> 0) - (y[2 * rowB]! >>> 0);
  }
  const c = b as BytesColumn;
  const startA = a.offsets[rowA]!;
  const startB = c.offsets[rowB]!;
  const lengthA = a.offsets[rowA + 1]! - startA;
  const lengthB = c.offsets[rowB + 1]! - startB;
  const length = Math.min(lengthA, lengthB);
  for (let i = 0; i < length; i++) {
    const difference = a.bytes[startA + i]! - c.bytes[startB + i]!;
    if (difference !== 0) return difference;
  }
  return lengthA - lengthB;
}

export function keyAt(column: KeyColumn, row: number): PrimaryKey {
  if (column.kind === "int64") return normalInt64(column.values[row]!);
  return textDecoder.decode(column.bytes.subarray(column.offsets[row]!, column.offsets[row + 1]!));
}

export function normalInt64(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Order of keys: numeric for Int64, by code point (= by UTF-8 byte) for VarChar. */
export function compareKeys(a: PrimaryKey, b: PrimaryKey): number {
  if (typeof a === "string") return compareText(a, b as string);
  return a < (b as number | bigint) ? -1 : a > (b as number | bigint) ? 1 : 0;
}

/** JavaScript orders strings by UTF-16 unit; surrogates (astral characters) would sort before U+E000. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a.charCodeAt(i) !== b.charCodeAt(i)) return a.codePointAt(i)! < b.codePointAt(i)! ? -1 : 1;
  }
  return a.length - b.length;
}

/** The kind of key column that a primary field has. */
export function keyKindOf(field: FieldSchema): KeyColumn["kind"] {
  return field.type === "Int64" ? "int64" : "varchar";
}

export function keysOf(kind: KeyColumn["kind"], keys: readonly PrimaryKey[]): KeyColumn {
  return kind === "int64" ? int64Column(keys as (number | bigint)[]) : varcharColumn(keys as string[]);
}

function int64Column(keys: readonly (number | bigint)[]): Int64Column {
  return { kind: "int64", values: BigInt64Array.from(keys, BigInt) };
}

export function varcharColumn(texts: readonly string[]): BytesColumn {
  // No text has more bytes; a new array for each would cost more than the encoding.
  const room = Buffer.allocUnsafe(texts.reduce((sum, { length }) => sum + 3 * length, 0));
  const offsets = new Uint32Array(texts.length + 1);
  for (let i = 0; i < texts.length; i++) offsets[i + 1] = offsets[i]! + room.write(texts[i]!, offsets[i]!);
  return { kind: "varchar", offsets, bytes: new Uint8Array(room.subarray(0, offsets[texts.length]!)) };
}
