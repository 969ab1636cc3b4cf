/** Copies row-major vectors [count, dimension] scaled to length 1; a zero vector stays zero. `target` may be `source`. */
export function normaliseRows(source: Float32Array, target: Float32Array, dimension: number): void {
  for (let start = 0; start < source.length; start += dimension) {
    let sum = 0;
    for (let i = start; i < start + dimension; i++) sum += source[i]! * source[i]!;
    const scale = sum === 0 ? 0 : 1 / Math.sqrt(sum);
    for (let i = start; i < start + dimension; i++) target[i] = source[i]! * scale;
  }
}
