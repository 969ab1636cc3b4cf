/** The answers that a search must give, by looking at every row: what tests compare a database with. */
import type { Metric } from "../schema.ts";

/** As Milvus reports it: squared L2, inner product, cosine. In double precision. */
export function distanceOf(metric: Metric, a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [dot, squares, lengthA, lengthB] = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]!, b[i]!];
    dot += x * y;
    squares += (x - y) * (x - y);
    lengthA += x * x;
    lengthB += y * y;
  }
  if (metric === "L2") return squares;
  return metric === "IP" ? dot : dot / Math.sqrt(lengthA * lengthB);
}

/** The k best distances, best first. */
export function bestDistances(
  metric: Metric,
  query: ArrayLike<number>,
  vectors: Iterable<ArrayLike<number>>,
  k: number,
): number[] {
  const distances = Array.from(vectors, (vector) => distanceOf(metric, query, vector));
  return distances.sort((a, b) => (metric === "L2" ? a - b : b - a)).slice(0, k);
}
