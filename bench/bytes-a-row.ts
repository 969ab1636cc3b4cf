/**
 * `node dist/bench/bytes-a-row.js`: the bytes per row of an index on a query node, by index type and dimension: of the file
 * (object store, disk cache), as the engine counts against `query.memoryBytes`, and by which the process really grows when the
 * index is loaded and searched. It measures the native engine, which runs in this process.
 */
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildIndex } from "../runtime/ann/build-index.ts";
import type { IndexSpec } from "../runtime/ann/index-params.ts";
import { loadNativeAddon } from "../runtime/ann/native-addon.ts";
import { createNativeEngine } from "../runtime/ann/native-engine.ts";
import { systemClock } from "../runtime/system-clock.ts";

const SHAPES = [
  { dimension: 128, rows: 50_000 },
  { dimension: 768, rows: 10_000 },
];
const NLIST = 128;
const specsOf = (dimension: number): IndexSpec[] => [
  { type: "FLAT", params: {} },
  { type: "HNSW", params: { M: 16, efConstruction: 60 } },
  { type: "HNSW", params: { M: 30, efConstruction: 60 } },
  { type: "IVF_FLAT", params: { nlist: NLIST } },
  { type: "IVF_SQ8", params: { nlist: NLIST } },
  { type: "IVF_PQ", params: { nlist: NLIST, m: dimension / 8, nbits: 8 } },
];
/** Searches, so that memory that a search keeps is counted and pages that are only read are present. */
const SEARCHES = 200;

const addon = loadNativeAddon();
if (addon instanceof Error) throw addon;
const folder = await mkdtemp(join(tmpdir(), "vdb-bytes-"));
try {
  for (const { dimension, rows } of SHAPES) {
    const vectorsFile = join(folder, "vectors");
    const vectors = new Float32Array(rows * dimension);
    // Slightly clustered, as real ones are; the figures do not depend on it.
    for (let i = 0; i < vectors.length; i++) vectors[i] = Math.random() + (((i / dimension) % 10) | 0);
    await using file = await open(vectorsFile, "w");
    await file.write(new Uint8Array(vectors.buffer));
    for (const spec of specsOf(dimension)) {
      const outFile = join(folder, "index");
      const { bytes } = await buildIndex({ spec, metric: "L2", dimension, rows, vectorsFile, outFile, threads: 2 });
      await using engine = createNativeEngine({ addon, clock: systemClock, threads: 1 });
      const before = process.memoryUsage.rss();
      const { memoryBytes } = await engine.load("i", outFile, { ...spec, metric: "L2", dimension, rows });
      for (let i = 0; i < SEARCHES; i++) {
        const row = ((i * 7_919) % rows) * dimension;
        await engine.search("i", vectors.slice(row, row + dimension), 10, {});
      }
      const grown = process.memoryUsage.rss() - before;
      const perRow = (count: number) => (count / rows).toFixed(0);
      console.log(
        `${dimension}-d ${spec.type} ${JSON.stringify(spec.params)}: file ${perRow(bytes)}, counted ${perRow(memoryBytes)}, ` +
          `process ${perRow(grown)} bytes a row`,
      );
      engine.unload("i");
    }
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.exit();
