/** The vector of each version of each row, made from its numbers, so that every distance a search reports can be checked. */
import type { Hit } from "../../../client/types.ts";
import { distanceOf } from "../exact-answers.ts";

const DIMENSION = 8;

/** Of the distances' own size, for single precision. */
const TOLERANCE = 1e-3;

export function vectorOf(key: number, version: number): Float32Array {
  const vector = new Float32Array(DIMENSION);
  for (let i = 0; i < DIMENSION; i++) {
    vector[i] = Math.sin((key % 9973) * (0.37 + i) + 0.11 * i) + 0.5 * Math.cos((version % 99_991) * (0.73 + i));
  }
  return vector;
}

const staticVectors: Float32Array[] = [];

function staticVector(key: number): Float32Array {
  staticVectors[key] ??= vectorOf(key, 0);
  return staticVectors[key];
}

/** Keys of the static rows, nearest first. */
export function exactNearest(query: Float32Array, staticRows: number, count: number): number[] {
  return Array.from({ length: staticRows }, (_, key) => ({ key, distance: distanceOf("L2", query, staticVector(key)) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, count)
    .map(({ key }) => key);
}

/** What is wrong with the answer to a search of static rows; null when nothing is. */
export function problemOfHits(
  query: Float32Array,
  hits: readonly Hit[],
  nearest: readonly number[],
  rightMin: number,
): string | null {
  if (hits.length !== nearest.length) return `${hits.length} hits instead of ${nearest.length}`;
  const keys = new Set(hits.map(({ id }) => Number(id)));
  if (keys.size !== hits.length) return `only ${keys.size} different keys in ${hits.length} hits`;
  const right = nearest.filter((key) => keys.has(key)).length;
  if (right < rightMin) return `${right} of the ${nearest.length} nearest rows, at least ${rightMin} were to be found`;
  return wrongDistance(query, hits);
}

/** A hit that is not as far from the query as it says, or not in order. */
export function wrongDistance(query: Float32Array, hits: readonly Hit[]): string | null {
  let before = Number.NEGATIVE_INFINITY;
  for (const { id, version, distance } of hits) {
    const truth = distanceOf("L2", query, vectorOf(Number(id), Number(version)));
    if (!(Math.abs(truth - distance) <= TOLERANCE * Math.max(1, truth))) {
      return `key ${String(id)} version ${String(version)} is ${truth} away, reported as ${distance}`;
    }
    if (distance < before) return `hits are not in order at key ${String(id)}`;
    before = distance;
  }
  return null;
}
