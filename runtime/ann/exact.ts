/**
 * Exact search: scores rows against queries, one chunk of rows per call. Used for growing rows, for segments too small for an
 * index, and for the few rows that a narrow filter leaves.
 *
 * Distances are as Milvus reports them: squared L2, inner product, cosine (0 with a zero vector), bits that differ
 * (HAMMING), 1 - bits in both / bits in either (JACCARD; 1 with two empty vectors), 0 of rows that match and no hit of
 * others (SUBSTRUCTURE: every bit of the query is in the row; SUPERSTRUCTURE: every bit of the row is in the query). Sums are taken in double precision
 * and reported as float32.
 */
import type { Metric } from "../schema.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { TopK } from "../topk.ts";
import { type DistanceRange, isInRange } from "./distance-range.ts";
import { asFloat32, type DenseVectors, type DenseVectorType, decodeNumbers, vectorWidth } from "./packed-vectors.ts";

export interface ExactQueries {
  readonly metric: Metric;
  readonly vectorType: DenseVectorType;
  readonly nq: number;
  readonly dimension: number;
  /**
   * Row-major [nq, dimension]; of length 1 for COSINE; empty for binary vectors. In double precision, because V8 computes
   * in it anyway and would convert every number of a query again for every row: 265 ns a row of 256 became 218.
   */
  readonly values: Float64Array;
  /** Only for binary vectors: row-major, unchanged. */
  readonly bits: Uint8Array;
}

export interface ExactChunk {
  /** Row-major [rowCount, dimension], of the queries' vector type. */
  vectors: DenseVectors;
  rowCount: number;
  /** COSINE: from `rowNorms`; computed during the scan if absent, which doubles the work. */
  norms?: Float32Array;
  /** Row number of the chunk's first row, added to the rows pushed. */
  firstRow: number;
}

/** 16 M multiplications take about 12 ms of JavaScript: under the 20 ms that an event loop may be held. */
const SLICE_MULTIPLICATIONS_MAX = 16_777_216;

const NO_BITS = new Uint8Array(0);

/** Rows decoded at a time; whole words of a bitset. */
const TILE_ROWS = 64;

/** Prepares queries, row-major [nq, dimension], for any number of scans. */
export function prepareQueries(
  metric: Metric,
  queries: DenseVectors,
  dimension: number,
  vectorType: DenseVectorType = "FloatVector",
): ExactQueries {
  const nq = queries.length / vectorWidth(vectorType, dimension);
  if (vectorType === "BinaryVector") {
    return { metric, vectorType, nq, dimension, values: new Float64Array(0), bits: queries as Uint8Array };
  }
  const values = Float64Array.from(asFloat32(vectorType, queries));
  if (metric === "COSINE") {
    for (let start = 0; start < values.length; start += dimension) normalise(values, start, dimension);
  }
  return { metric, vectorType, nq, dimension, values, bits: NO_BITS };
}

/** Rows that one scan may take without holding the event loop; callers yield between scans. At least 1. */
export function scanRowsMax(nq: number, dimension: number): number {
  return Math.max(1, Math.floor(SLICE_MULTIPLICATIONS_MAX / (nq * dimension)));
}

/** Euclidean length of each row of row-major vectors [rows, dimension]. */
export function rowNorms(
  vectors: DenseVectors,
  dimension: number,
  vectorType: DenseVectorType = "FloatVector",
): Float32Array {
  const width = vectorWidth(vectorType, dimension);
  const norms = new Float32Array(vectors.length / width);
  if (vectors instanceof Float32Array) {
    for (let row = 0; row < norms.length; row++) norms[row] = norm(vectors, row * dimension, dimension);
    return norms;
  }
  const numbers = new Float32Array(dimension);
  for (let row = 0; row < norms.length; row++) {
    decodeNumbers(vectorType, vectors, row * width, numbers);
    norms[row] = norm(numbers, 0, dimension);
  }
  return norms;
}

/**
 * Offers every allowed row of a chunk to the top-k of every query. Synchronous: keep rowCount within `scanRowsMax`, for example
 * with chunks of 8,192 rows.
 * @param allow rows that may be found; null allows all
 * @param heaps one for each query, in the direction of the metric
 * @param range distances that may be found; null allows all
 */
export function scanExact(
  queries: ExactQueries,
  chunk: ExactChunk,
  allow: Bitset | null,
  heaps: readonly TopK[],
  range: DistanceRange | null = null,
): void {
  const { vectors } = chunk;
  if (vectors instanceof Float32Array) scanNumbers(queries, { ...chunk, vectors }, allow, heaps, range);
  else if (queries.vectorType === "BinaryVector") scanBits(queries, { ...chunk, vectors }, allow, heaps, range);
  else scanPacked(queries, { ...chunk, vectors }, allow, heaps, range);
}

interface NumbersChunk extends ExactChunk {
  vectors: Float32Array;
}

interface BytesChunk extends ExactChunk {
  vectors: Uint8Array;
}

/** Float16, bfloat16 and int8 rows, decoded a few at a time. */
function scanPacked(
  queries: ExactQueries,
  { vectors, rowCount, norms, firstRow }: BytesChunk,
  allow: Bitset | null,
  heaps: readonly TopK[],
  range: DistanceRange | null,
): void {
  const { dimension, vectorType } = queries;
  const width = vectorWidth(vectorType, dimension);
  const tile = new Float32Array(TILE_ROWS * dimension);
  for (let from = 0; from < rowCount; from += TILE_ROWS) {
    const count = Math.min(TILE_ROWS, rowCount - from);
    const tileAllow = allow === null ? null : allow.subarray(from >>> 5, (from + count + 31) >>> 5);
    if (tileAllow?.every((word) => word === 0) === true) continue;
    decodeNumbers(vectorType, vectors, from * width, tile.subarray(0, count * dimension));
    const decoded: NumbersChunk = { vectors: tile, rowCount: count, firstRow: firstRow + from };
    if (norms !== undefined) decoded.norms = norms.subarray(from, from + count);
    scanNumbers(queries, decoded, tileAllow, heaps, range);
  }
}

function scanBits(
  { metric, nq, dimension, bits }: ExactQueries,
  { vectors, rowCount, firstRow }: BytesChunk,
  allow: Bitset | null,
  heaps: readonly TopK[],
  range: DistanceRange | null,
): void {
  const width = dimension / 8;
  for (let row = 0; row < rowCount; row++) {
    if (allow !== null && ((allow[row >>> 5]! >>> (row & 31)) & 1) === 0) continue;
    for (let q = 0; q < nq; q++) {
      const distance = bitDistance(metric, bits, q * width, vectors, row * width, width);
      if (distance === NO_MATCH) continue;
      if (range === null || isInRange(range, distance)) heaps[q]!.push(distance, firstRow + row);
    }
  }
}

const NO_MATCH = Number.POSITIVE_INFINITY;

/** How many bits of a byte are set. */
const BYTE_BITS = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll("0", "").length);

function bitDistance(metric: Metric, x: Uint8Array, xAt: number, y: Uint8Array, yAt: number, width: number): number {
  if (metric === "SUBSTRUCTURE") return isSubset(x, xAt, y, yAt, width) ? 0 : NO_MATCH;
  if (metric === "SUPERSTRUCTURE") return isSubset(y, yAt, x, xAt, width) ? 0 : NO_MATCH;
  let differing = 0;
  let either = 0;
  for (let i = 0; i < width; i++) {
    const a = x[xAt + i]!;
    const b = y[yAt + i]!;
    differing += BYTE_BITS[a ^ b]!;
    either += BYTE_BITS[a | b]!;
  }
  if (metric === "HAMMING") return differing;
  return either === 0 ? 1 : differing / either;
}

/** Whether every bit of x is in y. */
function isSubset(x: Uint8Array, xAt: number, y: Uint8Array, yAt: number, width: number): boolean {
  for (let i = 0; i < width; i++) if ((x[xAt + i]! & ~y[yAt + i]!) !== 0) return false;
  return true;
}

function scanNumbers(
  queries: ExactQueries,
  chunk: NumbersChunk,
  allow: Bitset | null,
  heaps: readonly TopK[],
  range: DistanceRange | null,
): void {
  const { dimension, nq } = queries;
  // Four rows at a time: each number of the query is loaded once for four products (218 -> 171 ns a row of 256).
  const batch = new Int32Array(4);
  const scores = new Float64Array(4);
  let filled = 0;
  for (let row = 0; row < chunk.rowCount; row++) {
    if (allow !== null) {
      const word = allow[row >>> 5]!;
      if (word === 0) {
        row |= 31;
        continue;
      }
      if (((word >>> (row & 31)) & 1) === 0) continue;
    }
    batch[filled++] = row;
    if (filled < 4) continue;
    filled = 0;
    for (let q = 0; q < nq; q++) {
      scoreFour(queries, q * dimension, chunk, batch, scores);
      const heap = heaps[q]!;
      for (let i = 0; i < 4; i++) {
        if (range === null || isInRange(range, scores[i]!)) heap.push(scores[i]!, chunk.firstRow + batch[i]!);
      }
    }
  }
  for (let i = 0; i < filled; i++) {
    for (let q = 0; q < nq; q++) {
      const score = scoreOne(queries, q * dimension, chunk, batch[i]!);
      if (range === null || isInRange(range, score)) heaps[q]!.push(score, chunk.firstRow + batch[i]!);
    }
  }
}

function scoreFour(
  queries: ExactQueries,
  query: number,
  chunk: NumbersChunk,
  rows: Int32Array,
  scores: Float64Array,
): void {
  const { values, dimension, metric } = queries;
  const a = rows[0]! * dimension;
  const b = rows[1]! * dimension;
  const c = rows[2]! * dimension;
  const d = rows[3]! * dimension;
  if (metric === "L2") {
    squaredL2OfFour(values, query, chunk.vectors, a, b, c, d, dimension, scores);
    return;
  }
  innerProductOfFour(values, query, chunk.vectors, a, b, c, d, dimension, scores);
  if (metric === "IP") return;
  for (let i = 0; i < 4; i++) scores[i] = cosine(scores[i]!, chunk, rows[i]!, dimension);
}

function scoreOne(queries: ExactQueries, query: number, chunk: NumbersChunk, row: number): number {
  const { values, dimension, metric } = queries;
  const start = row * dimension;
  let sum = 0;
  if (metric === "L2") {
    for (let i = 0; i < dimension; i++) {
      const difference = values[query + i]! - chunk.vectors[start + i]!;
      sum += difference * difference;
    }
    return sum;
  }
  for (let i = 0; i < dimension; i++) sum += values[query + i]! * chunk.vectors[start + i]!;
  return metric === "IP" ? sum : cosine(sum, chunk, row, dimension);
}

function cosine(product: number, chunk: NumbersChunk, row: number, dimension: number): number {
  const length = chunk.norms === undefined ? norm(chunk.vectors, row * dimension, dimension) : chunk.norms[row]!;
  return length === 0 ? 0 : product / length;
}

function squaredL2OfFour(
  query: Float64Array,
  q: number,
  vectors: Float32Array,
  a: number,
  b: number,
  c: number,
  d: number,
  dimension: number,
  scores: Float64Array,
): void {
  let sumA = 0;
  let sumB = 0;
  let sumC = 0;
  let sumD = 0;
  for (let i = 0; i < dimension; i++) {
    const x = query[q + i]!;
    const fromA = x - vectors[a + i]!;
    const fromB = x - vectors[b + i]!;
    const fromC = x - vectors[c + i]!;
    const fromD = x - vectors[d + i]!;
    sumA += fromA * fromA;
    sumB += fromB * fromB;
    sumC += fromC * fromC;
    sumD += fromD * fromD;
  }
  scores[0] = sumA;
  scores[1] = sumB;
  scores[2] = sumC;
  scores[3] = sumD;
}

function innerProductOfFour(
  query: Float64Array,
  q: number,
  vectors: Float32Array,
  a: number,
  b: number,
  c: number,
  d: number,
  dimension: number,
  scores: Float64Array,
): void {
  let sumA = 0;
  let sumB = 0;
  let sumC = 0;
  let sumD = 0;
  for (let i = 0; i < dimension; i++) {
    const x = query[q + i]!;
    sumA += x * vectors[a + i]!;
    sumB += x * vectors[b + i]!;
    sumC += x * vectors[c + i]!;
    sumD += x * vectors[d + i]!;
  }
  scores[0] = sumA;
  scores[1] = sumB;
  scores[2] = sumC;
  scores[3] = sumD;
}

function norm(vectors: Float32Array, start: number, dimension: number): number {
  let sum = 0;
  for (let i = start; i < start + dimension; i++) sum += vectors[i]! * vectors[i]!;
  return Math.sqrt(sum);
}

function normalise(values: Float64Array, start: number, dimension: number): void {
  let sum = 0;
  for (let i = start; i < start + dimension; i++) sum += values[i]! * values[i]!;
  const scale = sum === 0 ? 0 : 1 / Math.sqrt(sum);
  for (let i = start; i < start + dimension; i++) values[i] = values[i]! * scale;
}
