/**
 * `node scan-with-kernels.mjs addon`: scans small rows of every kind with the kernels that VDB_KERNELS asks for, and writes
 * what they are and what they found as JSON. Numbers are small and whole: every sum is exact, in whatever order it is taken.
 */
import { createRequire } from "node:module";

const { Engine, kernels } = createRequire(import.meta.url)(process.argv[2]);
const ROWS = 23;
const QUERIES = 2;
const K = 5;
const IP = 0;
const L2 = 1;
const HAMMING = 3;
const JACCARD = 4;
const number = new Float32Array(1);
const bits = new Uint32Array(number.buffer);

/** The bytes of a whole number in the form of each element: float32, float16, bfloat16, int8. */
const ENCODERS = [
  (x) => [...new Uint8Array(Float32Array.of(x).buffer)],
  (x) => {
    number[0] = x;
    const half = x === 0 ? 0 : ((bits[0] >>> 16) & 0x8000) | (((bits[0] & 0x7fffffff) - 0x38000000) >>> 13);
    return [half & 255, half >>> 8];
  },
  (x) => [...new Uint8Array(Float32Array.of(x).buffer)].slice(2),
  (x) => [x & 255],
];

const ends = new Uint32Array(2);
let onEnd = () => undefined;
const engine = new Engine(1, 10, ends, () => onEnd());

function scan(code, dimension, queries, vectors) {
  const header = Float64Array.of(K, Number.NaN, Number.NaN, Number.POSITIVE_INFINITY, code, dimension, 1, 0, -1);
  const out = new ArrayBuffer(QUERIES * K * 8);
  return new Promise((resolve) => {
    onEnd = () => resolve([[...new Int32Array(out, 0, QUERIES * K)], [...new Float32Array(out, QUERIES * K * 4)]]);
    engine.scan(1, header, queries, [vectors, null, null], out);
  });
}

const valueAt = (i) => ((i * 7919) % 31) - 15;
const found = [];
for (const dimension of [1, 7, 8, 9, 16, 31, 33, 64, 77]) {
  const queries = Float32Array.from({ length: QUERIES * dimension }, (_, i) => valueAt(i + 5));
  const rows = Array.from({ length: ROWS * dimension }, (_, i) => valueAt(i));
  for (const [element, encode] of ENCODERS.entries()) {
    const bytes = Uint8Array.from(rows.flatMap(encode));
    const vectors = element === 0 ? new Float32Array(bytes.buffer) : bytes;
    for (const metric of [IP, L2]) found.push(await scan(metric + 16 * element, dimension, queries, vectors));
  }
  const bytes = Uint8Array.from(rows, (x) => x * x);
  for (const metric of [HAMMING, JACCARD]) {
    found.push(await scan(metric + 16 * 4, 8 * dimension, bytes.slice(3, 3 + QUERIES * dimension), bytes));
  }
}
engine.close();
process.stdout.write(JSON.stringify({ kernels, found }));
