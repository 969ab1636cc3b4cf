/** Indexes over vectors of the packed types: built in the child, searched by the native engine, against exact scans. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { type Metric, NUMBER_METRICS } from "../schema.ts";
import { newBitset, setBit } from "../segment/bitset.ts";
import { systemClock } from "../system-clock.ts";
import { vectorsOfType } from "../testing/packed-vectors.ts";
import { recall } from "../testing/vectors.ts";
import { buildIndex } from "./build-index.ts";
import type { EngineChoice } from "./create-engine.ts";
import type { IndexToLoad, SearchEngine } from "./engine.ts";
import { createFaissEngine } from "./faiss-engine.ts";
import { inspectIndexFile } from "./index-file.ts";
import { checkIndexParams } from "./index-params.ts";
import { loadNativeAddon } from "./native-addon.ts";
import { createNativeEngine } from "./native-engine.ts";
import { type DenseVectors, type DenseVectorType, rowBytes } from "./packed-vectors.ts";

const ROWS = 3000;
const DIMENSION = 40;
const NQ = 12;
const K = 10;

const PACKED_NUMBERS = ["Float16Vector", "BFloat16Vector", "Int8Vector"] as const;
/** Effort that makes a list of this size find nearly everything. */
const EFFORT = { ef: 128, nprobe: 16 };

const addon = loadNativeAddon();
const dir = mkdtempSync(join(tmpdir(), "vdb-packed-index-"));
let engine: SearchEngine;
let mapped: SearchEngine;

interface Subject {
  type: DenseVectorType;
  metric: Metric;
  vectors: DenseVectors;
  queries: DenseVectors;
}

function subjectOf(type: DenseVectorType, metric: Metric): Subject {
  const vectors = vectorsOfType(type, ROWS, DIMENSION, 5);
  return { type, metric, vectors, queries: vectorsOfType(type, NQ, DIMENSION, 6) };
}

async function built(
  { type, metric, vectors }: Subject,
  indexType: string,
  params: Record<string, unknown>,
  choice: EngineChoice = "auto",
): Promise<{ file: string; index: IndexToLoad }> {
  const vectorsFile = join(dir, `${type}.vectors`);
  writeFileSync(vectorsFile, vectors);
  const file = join(dir, `${type}-${metric}-${indexType}-${choice}.faiss`);
  const spec = checkIndexParams(indexType, metric, DIMENSION, params, type);
  const about = { spec, metric, vectorType: type, dimension: DIMENSION, rows: ROWS };
  await buildIndex({ ...about, vectorsFile, outFile: file, threads: 1, engine: choice });
  return { file, index: { ...spec, metric, vectorType: type, dimension: DIMENSION, rows: ROWS } };
}

function exact({ type, metric, vectors, queries }: Subject, allow: Uint32Array | null = null, k = K) {
  const blocks = [{ vectors, allow, firstRow: 0 }];
  return engine.scanExact({ metric, vectorType: type, dimension: DIMENSION, queries, k, blocks });
}

describe.skipIf(addon instanceof Error)("indexes of packed vectors", () => {
  beforeAll(() => {
    if (addon instanceof Error) throw addon;
    engine = createNativeEngine({ addon, clock: systemClock, threads: 2 });
    mapped = createNativeEngine({ addon, clock: systemClock, threads: 2, mapped: true });
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    await mapped[Symbol.asyncDispose]();
    rmSync(dir, { recursive: true, force: true });
  });

  describe.each(PACKED_NUMBERS)("%s", (type) => {
    it.each(NUMBER_METRICS)("a graph finds the neighbours and gives their exact distances (%s)", async (metric) => {
      const subject = subjectOf(type, metric);
      const { file, index } = await built(subject, "HNSW", { M: 12, efConstruction: 80 });
      expect((await inspectIndexFile(file)).packed).toBe(type);
      const truth = await exact(subject);
      for (const searched of [engine, mapped]) {
        await searched.load("graph", file, index);
        const found = await searched.search("graph", subject.queries, K, EFFORT);
        expect(recall(found.rows, truth.rows, K)).toBeGreaterThan(0.95);
        const distanceOf = new Map(
          Array.from(truth.rows, (row, i) => [`${Math.floor(i / K)} ${row}`, truth.distances[i]!]),
        );
        for (const [i, row] of found.rows.entries()) {
          const expected = distanceOf.get(`${Math.floor(i / K)} ${row}`);
          if (expected !== undefined) expect(found.distances[i]! / expected).toBeCloseTo(1, 4);
        }
      }
    });

    it("a graph obeys filters and bands", async () => {
      const subject = subjectOf(type, "COSINE");
      const { file, index } = await built(subject, "HNSW", { M: 12, efConstruction: 80 });
      await engine.load("graph", file, index);
      const allow = newBitset(ROWS);
      for (let row = 0; row < ROWS; row += 3) setBit(allow, row);
      const truth = await exact(subject, allow, 200);
      const one = { ...subject, queries: subject.queries.subarray(0, subject.queries.length / NQ) };
      const options = { allow, radius: truth.distances[60]!, rangeFilter: truth.distances[20]! };
      const found = await engine.search("graph", one.queries, K, EFFORT, options);
      expect(recall(found.rows, truth.rows.slice(20, 20 + K), K)).toBeGreaterThan(0.8);
      for (const row of found.rows) expect(row % 3).toBe(0);
      for (const distance of found.distances) {
        expect(distance).toBeLessThanOrEqual(options.rangeFilter + 1e-5);
        expect(distance).toBeGreaterThan(options.radius - 1e-5);
      }
    });

    it("FLAT is exact", async () => {
      const subject = subjectOf(type, "COSINE");
      const { file, index } = await built(subject, "FLAT", {});
      const truth = await exact(subject);
      for (const searched of [engine, mapped]) {
        await searched.load("flat", file, index);
        const found = await searched.search("flat", subject.queries, K, {});
        expect(recall(found.rows, truth.rows, K)).toBeGreaterThan(0.99);
      }
    });

    it("memory and file hold rows of their own size", async () => {
      const { file, index } = await built(subjectOf(type, "L2"), "FLAT", {});
      const bytes = ROWS * rowBytes(type, DIMENSION);
      expect((await readFile(file)).length).toBeLessThan(bytes + 200);
      const { memoryBytes } = await engine.load("size", file, index);
      expect(memoryBytes).toBeLessThan(1.3 * bytes);
    });
  });

  it.each(["Float16Vector", "BFloat16Vector"] as const)("lists of %s find the neighbours", async (type) => {
    for (const [indexType, params, least] of [
      ["IVF_FLAT", { nlist: 16 }, 0.99],
      ["SCANN", { nlist: 16 }, 0.99],
      ["IVF_SQ8", { nlist: 16 }, 0.9],
      ["IVF_PQ", { nlist: 16, m: 20, nbits: 6 }, 0.4],
    ] as const) {
      const subject = subjectOf(type, "COSINE");
      const { file, index } = await built(subject, indexType, params);
      await engine.load("lists", file, index);
      const found = await engine.search("lists", subject.queries, K, EFFORT);
      expect(recall(found.rows, (await exact(subject)).rows, K), indexType).toBeGreaterThan(least);
    }
  });

  it("faiss-node builds and searches packed vectors as float32, and refuses by name what the addon keeps packed", async () => {
    const subject = subjectOf("Int8Vector", "L2");
    const faiss = await createFaissEngine({
      clock: systemClock,
      logger: createLogger({ level: "error" }),
      threads: 1,
      scratchDir: dir,
    });
    try {
      const asFloats = await built(subject, "HNSW", { M: 12, efConstruction: 80 }, "faiss");
      await faiss.load("floats", asFloats.file, asFloats.index);
      const found = await faiss.search("floats", subject.queries, K, EFFORT);
      expect(recall(found.rows, (await exact(subject)).rows, K)).toBeGreaterThan(0.95);
      // Either engine opens what the other has built so.
      await engine.load("floats", asFloats.file, asFloats.index);
      const same = await engine.search("floats", subject.queries, K, EFFORT);
      expect(recall(same.rows, found.rows, K)).toBeGreaterThan(0.95);

      const packed = await built(subject, "HNSW", { M: 12, efConstruction: 80 }, "native");
      const refusal = await faiss.load("packed", packed.file, packed.index).catch((error: unknown) => error);
      expect(isVdbError(refusal, "index_unsupported") && refusal.message).toContain("HNSW of Int8Vector");
    } finally {
      await faiss[Symbol.asyncDispose]();
    }
  });

  it("a file of binary vectors is FAISS's, and holds the rows", async () => {
    const subject = subjectOf("BinaryVector", "JACCARD");
    const { file } = await built(subject, "BIN_IVF_FLAT", { nlist: 16 });
    expect(await inspectIndexFile(file)).toMatchObject({ type: "BIN_FLAT", dimension: DIMENSION, rows: ROWS });
    const bytes = await readFile(file);
    expect(
      bytes.subarray(bytes.length - subject.vectors.length).equals(Buffer.from(subject.vectors as Uint8Array)),
    ).toBe(true);
  });

  it("a file of packed vectors that is cut short is refused", async () => {
    const { file, index } = await built(subjectOf("Float16Vector", "IP"), "HNSW", { M: 12, efConstruction: 80 });
    const bytes = await readFile(file);
    const cut = join(dir, "cut.faiss");
    for (const length of [bytes.length - 1, bytes.length - 2000, 100]) {
      writeFileSync(cut, bytes.subarray(0, length));
      await expect(engine.load("cut", cut, index)).rejects.toThrow(/damaged/);
      await expect(inspectIndexFile(cut)).rejects.toThrow(/damaged/);
    }
  });
});
