/**
 * `node native/soak.mjs index-file dimension [searches]`: searches an index again and again, opens and forgets it now and
 * then, and prints the memory of the process: it must not grow. Also says what a call costs JavaScript's thread.
 */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { nativeAddonPath } from "../scripts/setup/native.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const addon = createRequire(import.meta.url)(nativeAddonPath(root));
const [file, dimensionText, searchesText = "1000000"] = process.argv.slice(2);
const dimension = Number(dimensionText);
const searches = Number(searchesText);
const IN_FLIGHT = 16;
const K = 10;

const ends = new Uint32Array(512);
const waiting = new Map();
const engine = new addon.Engine(2, 4096, ends, (count) => {
  for (let i = 0; i < count; i++) {
    const { resolve } = waiting.get(ends[2 * i]);
    waiting.delete(ends[2 * i]);
    resolve(ends[2 * i + 1]);
  }
});
let { handle, rows } = await engine.open(file, false);
const allow = new Uint32Array(Math.ceil(rows / 32)).map(() => Math.random() * 2 ** 32);
const scanned = new Float32Array(1000 * dimension).map(Math.random);

let id = 0;
async function search() {
  const query = new Float32Array(dimension).map(Math.random);
  const out = new ArrayBuffer(K * 8);
  id = (id + 1) >>> 0;
  // What the addon reads and writes must stay referenced.
  const ended = new Promise((resolve) => waiting.set(id, { resolve, query, out }));
  if (id % 4 === 0) {
    const header = Float64Array.of(K, NaN, NaN, Infinity, 2, dimension, 1, 0, -1);
    engine.scan(id, header, query, [scanned, null, null], out);
  } else {
    const header = Float64Array.of(K, NaN, NaN, Infinity, handle, 16, 0, -1);
    engine.search(id, header, query, id % 4 === 1 ? allow : null, out);
  }
  if ((await ended) !== 0) throw new Error("a search failed");
}

const started = performance.now();
const step = Math.ceil(searches / 10);
let left = searches;
async function reopen() {
  const fresh = await engine.open(file, false);
  engine.forget(handle);
  handle = fresh.handle;
  global.gc?.();
  console.log(`${searches - left} searches  ${(process.memoryUsage().rss / 2 ** 20).toFixed(1)} MiB`);
}
async function client() {
  while (left > 0) {
    if (left-- % step === 0) await reopen();
    await search();
  }
}
await Promise.all(Array.from({ length: IN_FLIGHT }, client));
console.log(`${(searches / ((performance.now() - started) / 1000)).toFixed(0)} searches/s`);
engine.close();
