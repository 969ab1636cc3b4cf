/** Vectors for tests of search: clustered, because uniform random vectors have no near neighbours worth the name. */

/** A small generator with a seed (mulberry32), so that a failure repeats. */
export function seededNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Row-major [rows, dimension]: points around `clusters` centres, lengths from about 0.5 to 2. */
export function clusteredVectors(rows: number, dimension: number, seed: number, clusters = 50): Float32Array {
  // The centres are the same for every seed, so that queries of another seed fall into the same clusters.
  const centreNumbers = seededNumbers(1);
  const centres = Float32Array.from({ length: clusters * dimension }, () => centreNumbers() - 0.5);
  const next = seededNumbers(seed);
  const vectors = new Float32Array(rows * dimension);
  for (let row = 0; row < rows; row++) {
    const centre = Math.floor(next() * clusters) * dimension;
    const length = 0.5 + 1.5 * next();
    for (let i = 0; i < dimension; i++) {
      vectors[row * dimension + i] = length * (centres[centre + i]! + 0.6 * (next() - 0.5));
    }
  }
  return vectors;
}

/** Share of the true neighbours found: row-major [nq, k] both; -1 is nothing. */
export function recall(found: Int32Array, truth: Int32Array, k: number): number {
  let hits = 0;
  let expected = 0;
  for (let start = 0; start < truth.length; start += k) {
    const wanted = new Set(truth.subarray(start, start + k).filter((row) => row !== -1));
    expected += wanted.size;
    for (const row of found.subarray(start, start + k)) if (wanted.has(row)) hits++;
  }
  return hits / expected;
}
