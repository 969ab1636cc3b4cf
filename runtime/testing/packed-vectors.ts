/** Vectors of the packed types for tests, and the distances that they have by definition. */
import type { DenseVectors, DenseVectorType } from "../ann/packed-vectors.ts";
import { bfloat16Bits, float16Bits, fromBfloat16, fromFloat16 } from "../half-floats.ts";
import type { Metric } from "../schema.ts";
import { clusteredVectors, seededNumbers } from "./vectors.ts";

/** Bytes of numbers as a column of the type has them: rounded, for int8 to the whole numbers of 50 times as much. */
function packNumbers(type: DenseVectorType, numbers: Float32Array): DenseVectors {
  if (type === "FloatVector") return numbers;
  if (type === "Int8Vector") {
    const whole = Int8Array.from(numbers, (x) => Math.max(-128, Math.min(127, Math.round(50 * x))));
    return new Uint8Array(whole.buffer);
  }
  const bits = type === "Float16Vector" ? float16Bits : bfloat16Bits;
  return new Uint8Array(Uint16Array.from(numbers, bits).buffer);
}

/** Row-major [rows, dimension] of a type, clustered; bits are set by chance around a few patterns. */
export function vectorsOfType(type: DenseVectorType, rows: number, dimension: number, seed: number): DenseVectors {
  if (type !== "BinaryVector") return packNumbers(type, clusteredVectors(rows, dimension, seed, 8));
  const width = dimension / 8;
  const patternNumbers = seededNumbers(1);
  const patterns = Array.from({ length: 8 * dimension }, () => patternNumbers() < 0.4);
  const next = seededNumbers(seed);
  const bytes = new Uint8Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const pattern = Math.floor(next() * 8) * dimension;
    for (let bit = 0; bit < dimension; bit++) {
      const isSet = next() < 0.2 ? next() < 0.5 : patterns[pattern + bit]!;
      if (isSet) bytes[row * width + (bit >>> 3)]! |= 1 << (bit & 7);
    }
  }
  return bytes;
}

/** Of a query and a row, by the definition of the metric; infinite where it says that the row does not match. */
export function definedDistance(metric: Metric, type: DenseVectorType, a: DenseVectors, b: DenseVectors): number {
  const x = componentsOf(type, a);
  const y = componentsOf(type, b);
  const sum = (term: (x: number, y: number) => number) => x.reduce((total, value, i) => total + term(value, y[i]!), 0);
  const dot = sum((p, q) => p * q);
  switch (metric) {
    case "L2":
      return sum((p, q) => (p - q) ** 2);
    case "IP":
      return dot;
    case "COSINE": {
      const lengths = Math.sqrt(sum((p) => p * p) * sum((_, q) => q * q));
      return lengths === 0 ? 0 : dot / lengths;
    }
    case "SUBSTRUCTURE":
      return sum((p, q) => (p > q ? 1 : 0)) === 0 ? 0 : Number.POSITIVE_INFINITY;
    case "SUPERSTRUCTURE":
      return sum((p, q) => (q > p ? 1 : 0)) === 0 ? 0 : Number.POSITIVE_INFINITY;
    case "HAMMING":
      return sum((p, q) => (p === q ? 0 : 1));
    default: {
      const either = sum((p, q) => (p + q > 0 ? 1 : 0));
      return either === 0 ? 1 : 1 - dot / either;
    }
  }
}

/** Numbers, or 0 and 1 for bits. */
function componentsOf(type: DenseVectorType, vector: DenseVectors): number[] {
  if (type === "FloatVector") return [...vector];
  if (type === "BinaryVector")
    return [...vector].flatMap((byte) => Array.from({ length: 8 }, (_, bit) => (byte >> bit) & 1));
  if (type === "Int8Vector") return [...vector].map((byte) => (byte > 127 ? byte - 256 : byte));
  const decode = type === "Float16Vector" ? fromFloat16 : fromBfloat16;
  return Array.from({ length: vector.length / 2 }, (_, i) => decode(vector[2 * i]! | (vector[2 * i + 1]! << 8)));
}
