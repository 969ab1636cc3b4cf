/**
 * Generated vectors that behave like real embeddings: points near a curved low-dimensional surface, in clusters of unequal
 * size. Uniform random vectors have no real near neighbours, and tight clusters alone are too easy.
 */
import { seeded } from "../../runtime/sim/seeded.ts";

export interface Shape {
  dimension: number;
  clusters: number;
  /** Dimensions in which points of one cluster differ: what makes neighbours hard to find. */
  latent: number;
  /** Relative to the spread of the cluster centres; 1 leaves hardly any clusters. */
  spread: number;
  /** Every vector has length 1. */
  normalised: boolean;
}

/** Row-major [rows, dimension]. Rows of two parts ("rows", "queries") of one seed come from the same clusters. */
export function generateVectors(shape: Shape, options: { rows: number; seed: number; part: string }): Float32Array {
  const { dimension, clusters, latent, spread, normalised } = shape;
  const { rows, seed, part } = options;
  const gaussian = gaussians(seed, "surface");
  const basis = Float32Array.from({ length: latent * dimension }, () => gaussian() / Math.sqrt(latent));
  const centres = Float32Array.from({ length: clusters * latent }, gaussian);
  const offsets = Float32Array.from({ length: dimension }, gaussian);
  const point = gaussians(seed, part);
  const choice = seeded(seed, `${part}/cluster`);
  const inside = new Float32Array(latent);
  const vectors = new Float32Array(rows * dimension);
  for (let row = 0; row < rows; row++) {
    // The square makes some clusters far larger than others.
    const centre = Math.floor(choice.next() ** 2 * clusters) * latent;
    for (let l = 0; l < latent; l++) inside[l] = centres[centre + l]! + spread * point();
    const vector = vectors.subarray(row * dimension, (row + 1) * dimension);
    for (let l = 0; l < latent; l++) addScaled(vector, basis, l * dimension, inside[l]!);
    // Bends the flat latent space, so that no linear projection undoes it.
    for (let i = 0; i < dimension; i++) vector[i] = Math.sin(vector[i]! + offsets[i]!);
    if (normalised) normalise(vector);
  }
  return vectors;
}

function addScaled(target: Float32Array, source: Float32Array, from: number, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i] = target[i]! + factor * source[from + i]!;
}

function normalise(vector: Float32Array): void {
  let squares = 0;
  for (let i = 0; i < vector.length; i++) squares += vector[i]! * vector[i]!;
  const scale = 1 / Math.sqrt(squares);
  for (let i = 0; i < vector.length; i++) vector[i] = vector[i]! * scale;
}

/** Box and Muller's transform. */
function gaussians(seed: number, name: string): () => number {
  const { next } = seeded(seed, name);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}
