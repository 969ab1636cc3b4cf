/** Exact nearest neighbours by scanning every row, with and without a filter, and the share of them that a search found. */
import { normaliseRows } from "../../runtime/ann/normalise.ts";
import type { Metric } from "../../runtime/schema.ts";

/** Row-major vectors, the metric that ranks them, and a number a row that filters compare. */
export interface Rows {
  dimension: number;
  metric: Extract<Metric, "L2" | "COSINE">;
  vectors: Float32Array;
  buckets: Int32Array;
}

/** Rows compared with every query before the next ones: they stay in the processor's cache. */
const BLOCK_BYTES = 256 * 1024;

/**
 * The k nearest rows of each query among the rows whose bucket is below the bound, for each bound: row-major
 * [bounds, nq, k], best first, -1 where fewer match.
 */
export function exactNeighbours(rows: Rows, queries: Float32Array, k: number, bounds: readonly number[]): Int32Array {
  const { dimension, buckets } = rows;
  const vectors = rows.metric === "COSINE" ? normalised(rows.vectors, dimension) : rows.vectors;
  const nq = queries.length / dimension;
  const lists = bounds.map(() => Array.from({ length: nq }, () => new Nearest(k)));
  const block = Math.max(1, Math.floor(BLOCK_BYTES / (4 * dimension)));
  const distances = new Float64Array(block);
  const distance = rows.metric === "COSINE" ? minusDot : squaredL2;
  for (let first = 0; first < buckets.length; first += block) {
    const last = Math.min(buckets.length, first + block);
    for (let q = 0; q < nq; q++) {
      for (let row = first; row < last; row++) {
        distances[row - first] = distance(vectors, row * dimension, queries, q * dimension, dimension);
      }
      for (let b = 0; b < bounds.length; b++) offerBlock(lists[b]![q]!, distances, buckets, first, last, bounds[b]!);
    }
  }
  const truth = new Int32Array(bounds.length * nq * k);
  lists.flat().forEach((list, i) => {
    truth.set(list.rows, i * k);
  });
  return truth;
}

function offerBlock(
  nearest: Nearest,
  distances: Float64Array,
  buckets: Int32Array,
  first: number,
  last: number,
  bound: number,
): void {
  for (let row = first; row < last; row++) if (buckets[row]! < bound) nearest.offer(row, distances[row - first]!);
}

/** Share of the true neighbours (-1: there is none) that were found. */
export function recall(found: ArrayLike<number>, truth: Int32Array): number {
  const wanted = new Set(truth.filter((row) => row !== -1));
  if (wanted.size === 0) return 1;
  let hits = 0;
  for (let i = 0; i < found.length; i++) if (wanted.delete(found[i]!)) hits++;
  return hits / (hits + wanted.size);
}

/** The k smallest distances seen, in order; k is small, so shifting a list beats a heap. */
class Nearest {
  readonly rows: Int32Array;
  readonly #distances: Float64Array;

  constructor(k: number) {
    this.rows = new Int32Array(k).fill(-1);
    this.#distances = new Float64Array(k).fill(Number.POSITIVE_INFINITY);
  }

  offer(row: number, distance: number): void {
    const distances = this.#distances;
    let at = distances.length - 1;
    if (!(distance < distances[at]!)) return;
    for (; at > 0 && distance < distances[at - 1]!; at--) {
      distances[at] = distances[at - 1]!;
      this.rows[at] = this.rows[at - 1]!;
    }
    distances[at] = distance;
    this.rows[at] = row;
  }
}

function squaredL2(a: Float32Array, i: number, b: Float32Array, j: number, dimension: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let at = 0;
  for (; at + 4 <= dimension; at += 4) {
    const d0 = a[i + at]! - b[j + at]!;
    const d1 = a[i + at + 1]! - b[j + at + 1]!;
    const d2 = a[i + at + 2]! - b[j + at + 2]!;
    const d3 = a[i + at + 3]! - b[j + at + 3]!;
    s0 += d0 * d0;
    s1 += d1 * d1;
    s2 += d2 * d2;
    s3 += d3 * d3;
  }
  for (; at < dimension; at++) s0 += (a[i + at]! - b[j + at]!) ** 2;
  return s0 + s1 + s2 + s3;
}

function minusDot(a: Float32Array, i: number, b: Float32Array, j: number, dimension: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let at = 0;
  for (; at + 4 <= dimension; at += 4) {
    s0 += a[i + at]! * b[j + at]!;
    s1 += a[i + at + 1]! * b[j + at + 1]!;
    s2 += a[i + at + 2]! * b[j + at + 2]!;
    s3 += a[i + at + 3]! * b[j + at + 3]!;
  }
  for (; at < dimension; at++) s0 += a[i + at]! * b[j + at]!;
  return -(s0 + s1 + s2 + s3);
}

function normalised(vectors: Float32Array, dimension: number): Float32Array {
  const copy = new Float32Array(vectors.length);
  normaliseRows(vectors, copy, dimension);
  return copy;
}
