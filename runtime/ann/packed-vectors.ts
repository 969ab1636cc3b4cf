/**
 * Vectors of the types whose rows are packed bytes, for computing with them: how much of an array a row takes, and their
 * numbers as float32, which holds every float16, bfloat16 and int8 exactly.
 */
import { fromFloat16 } from "../half-floats.ts";
import { bytesOfVector, type VectorType } from "../schema.ts";

export type DenseVectorType = Exclude<VectorType, "SparseFloatVector">;

/** FloatVector: numbers; all others: the bytes of a column. Row-major. */
export type DenseVectors = Float32Array | Uint8Array;

/** Elements of an array that one vector takes: numbers of a FloatVector, else bytes. */
export function vectorWidth(type: DenseVectorType, dimension: number): number {
  return type === "FloatVector" ? dimension : bytesOfVector(type, dimension);
}

/** Bytes that one vector takes in a file or in memory. */
export function rowBytes(type: DenseVectorType, dimension: number): number {
  return type === "FloatVector" ? 4 * dimension : bytesOfVector(type, dimension);
}

/** A view of vectors that take `width` elements of an array each. */
function dimensionOfWidth(type: DenseVectorType, width: number): number {
  return type === "FloatVector" ? width : width / bytesOfVector(type, 1);
}

/** Row-major bytes of float16, bfloat16 or int8 vectors (at any alignment) as numbers; a FloatVector's array as it is. */
export function asFloat32(type: DenseVectorType, vectors: DenseVectors): Float32Array {
  if (vectors instanceof Float32Array) return vectors;
  const numbers = new Float32Array(dimensionOfWidth(type, vectors.length));
  decodeNumbers(type, vectors, 0, numbers);
  return numbers;
}

/** Fills `target` with the numbers of `bytes` from `start` on. @throws Error for types that have no numbers */
export function decodeNumbers(type: DenseVectorType, bytes: Uint8Array, start: number, target: Float32Array): void {
  if (type === "Int8Vector") {
    for (let i = 0; i < target.length; i++) target[i] = (bytes[start + i]! << 24) >> 24;
    return;
  }
  if (type === "BFloat16Vector") {
    const words = new Uint32Array(target.buffer, target.byteOffset, target.length);
    for (let i = 0, at = start; i < words.length; i++, at += 2) words[i] = (bytes[at]! << 16) | (bytes[at + 1]! << 24);
    return;
  }
  if (type !== "Float16Vector") throw new Error(`vectors of type ${type} are no packed numbers`);
  const numbers = halfNumbers();
  for (let i = 0, at = start; i < target.length; i++, at += 2) {
    target[i] = numbers[bytes[at]! | (bytes[at + 1]! << 8)]!;
  }
}

let everyHalf: Float32Array | undefined;

/** The value of each of the 65,536 float16: 256 KiB, made when the first is read. */
function halfNumbers(): Float32Array {
  everyHalf ??= Float32Array.from({ length: 65_536 }, (_, half) => fromFloat16(half));
  return everyHalf;
}

/** The type of a search's vectors; a sparse search has none of these. @throws Error for sparse ones */
export function searchedVectors({ vectorType = "FloatVector", queries, queryCount }: SearchedVectors): {
  vectorType: DenseVectorType;
  dimension: number;
} {
  if (vectorType === "SparseFloatVector") throw new Error("a sparse search has no dense vectors");
  return { vectorType, dimension: dimensionOfWidth(vectorType, queries.length / queryCount) };
}

interface SearchedVectors {
  vectorType?: VectorType | undefined;
  queries: DenseVectors;
  queryCount: number;
}
