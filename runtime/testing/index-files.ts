/**
 * Index files for tests of search engines, each built once a test file, with the exact neighbours to compare with.
 * Built with one thread, because the order in which threads add rows changes the graph.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildIndex } from "../ann/build-index.ts";
import type { IndexToLoad, Neighbours, SearchEngine } from "../ann/engine.ts";
import { prepareQueries, scanExact } from "../ann/exact.ts";
import { checkIndexParams } from "../ann/index-params.ts";
import { isDescending, type Metric } from "../schema.ts";
import type { Bitset } from "../segment/bitset.ts";
import { TopK } from "../topk.ts";
import { clusteredVectors } from "./vectors.ts";

export interface BuiltIndexFile {
  file: string;
  index: IndexToLoad;
}

export class IndexFiles implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), "vdb-index-files-"));
  readonly rows: number;
  readonly dimension: number;
  readonly nq: number;
  readonly vectors: Float32Array;
  readonly queries: Float32Array;
  readonly #vectorsFile: string;
  readonly #built = new Map<string, Promise<BuiltIndexFile>>();

  constructor({ rows, dimension, nq }: { rows: number; dimension: number; nq: number }) {
    this.rows = rows;
    this.dimension = dimension;
    this.nq = nq;
    this.vectors = clusteredVectors(rows, dimension, 11);
    this.queries = clusteredVectors(nq, dimension, 12);
    this.#vectorsFile = join(this.dir, "vectors.f32");
    writeFileSync(this.#vectorsFile, this.vectors);
  }

  build(type: string, metric: Metric, params: Record<string, unknown> = {}): Promise<BuiltIndexFile> {
    const name = `${type}-${metric}-${JSON.stringify(params).replaceAll(/\W/g, "_")}`;
    let building = this.#built.get(name);
    if (building === undefined) {
      building = this.#build(name, type, metric, params);
      this.#built.set(name, building);
    }
    return building;
  }

  async #build(name: string, type: string, metric: Metric, params: Record<string, unknown>): Promise<BuiltIndexFile> {
    const { dimension, rows } = this;
    const file = join(this.dir, `${name}.faiss`);
    const spec = checkIndexParams(type, metric, dimension, params);
    await buildIndex({ spec, metric, dimension, rows, vectorsFile: this.#vectorsFile, outFile: file, threads: 1 });
    return { file, index: { ...spec, metric, dimension, rows } };
  }

  query(q: number): Float32Array {
    return this.queries.subarray(q * this.dimension, (q + 1) * this.dimension);
  }

  /** Row-major [nq, k]; -1 where fewer rows are allowed. */
  exact(metric: Metric, k: number, allow: Bitset | null = null): Neighbours {
    const { nq, rows: rowCount, dimension, vectors } = this;
    const heaps = Array.from({ length: nq }, () => new TopK(k, isDescending(metric)));
    scanExact(prepareQueries(metric, this.queries, dimension), { vectors, rowCount, firstRow: 0 }, allow, heaps);
    const rows = new Int32Array(nq * k).fill(-1);
    const distances = new Float32Array(nq * k);
    for (const [q, heap] of heaps.entries()) {
      const top = heap.drain();
      rows.set(top.rows, q * k);
      distances.set(top.distances, q * k);
    }
    return { rows, distances };
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function loadInto(engine: SearchEngine, key: string, { file, index }: BuiltIndexFile): Promise<void> {
  await engine.load(key, file, index);
}
