/** The graphs that the addon builds, against those of FAISS: in quality, and in what reads them. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLogger } from "../logger.ts";
import type { Metric } from "../schema.ts";
import { systemClock } from "../system-clock.ts";
import { IndexFiles } from "../testing/index-files.ts";
import { recall } from "../testing/vectors.ts";
import { buildIndex } from "./build-index.ts";
import { createSearchEngine } from "./create-engine.ts";
import type { SearchEngine } from "./engine.ts";
import { checkIndexParams } from "./index-params.ts";
import { loadNativeAddon } from "./native-addon.ts";

const ROWS = 4000;
const DIMENSION = 48;
const NQ = 100;
const K = 10;
const PARAMS = { M: 8, efConstruction: 60 };

describe.skipIf(loadNativeAddon() instanceof Error)("an index built by the addon", () => {
  let data: IndexFiles;
  let vectorsFile: string;
  let engines: SearchEngine[];

  beforeAll(async () => {
    data = new IndexFiles({ rows: ROWS, dimension: DIMENSION, nq: NQ });
    vectorsFile = join(data.dir, "all.f32");
    await writeFile(vectorsFile, data.vectors);
    const common = { clock: systemClock, logger: createLogger({ level: "silent" }), threads: 1, scratchDir: data.dir };
    engines = [
      await createSearchEngine({ ...common, engine: "faiss" }),
      await createSearchEngine({ ...common, engine: "native" }),
    ];
  });
  afterAll(async () => {
    for (const engine of engines) await engine[Symbol.asyncDispose]();
    data[Symbol.dispose]();
  });

  type Overrides = { metric?: Metric; engine?: "native" | "faiss"; threads?: number; type?: string };

  async function build(name: string, overrides: Overrides & { rows?: number; vectorsFile?: string } = {}) {
    const { metric = "L2", type = "HNSW", rows = ROWS, ...others } = overrides;
    const spec = checkIndexParams(type, metric, DIMENSION, type === "HNSW" ? PARAMS : {});
    const index = { ...spec, metric, dimension: DIMENSION, rows };
    const outFile = join(data.dir, name);
    await buildIndex({ spec, ...index, vectorsFile, outFile, threads: 1, engine: "native", ...others });
    return { file: outFile, index };
  }

  async function recallOf(engine: SearchEngine, { file, index }: Awaited<ReturnType<typeof build>>): Promise<number> {
    await engine.load("x", file, index);
    const found = await engine.search("x", data.queries, K, index.type === "HNSW" ? { ef: 24 } : {});
    return recall(found.rows, data.exact(index.metric, K).rows, K);
  }

  it.each(["L2", "COSINE"] as const)("is searched by FAISS and by us with no less recall (%s)", async (metric) => {
    const ours = await build("ours", { metric });
    const theirs = await build("theirs", { metric, engine: "faiss" });
    for (const engine of engines) {
      const [ourRecall, theirRecall] = [await recallOf(engine, ours), await recallOf(engine, theirs)];
      expect(ourRecall).toBeGreaterThan(theirRecall - 0.01);
      expect(ourRecall).toBeGreaterThan(0.85);
    }
  });

  it("is as good when several threads build it", async () => {
    expect(await recallOf(engines[1]!, await build("threads", { threads: 4 }))).toBeGreaterThan(0.9);
  });

  it("is the same file each time, built by one thread", async () => {
    const [one, other] = [await build("one"), await build("other")];
    expect((await readFile(one.file)).equals(await readFile(other.file))).toBe(true);
  });

  it("is FAISS's own file, byte for byte, where it is FLAT", async () => {
    const metric = "COSINE";
    const ours = await build("flat", { metric, type: "FLAT" });
    const theirs = await build("flat-faiss", { metric, type: "FLAT", engine: "faiss" });
    expect((await readFile(ours.file)).equals(await readFile(theirs.file))).toBe(true);
  });

  it("has every row of a few, and of many that are all the same", async () => {
    for (const rows of [1, 3, 600]) {
      const file = join(data.dir, "few.f32");
      await writeFile(
        file,
        rows === 600 ? new Float32Array(rows * DIMENSION).fill(0.5) : data.vectors.subarray(0, rows * DIMENSION),
      );
      const built = await build("few", { rows, vectorsFile: file, threads: 2 });
      for (const engine of engines) {
        await engine.load("few", built.file, built.index);
        const { rows: found } = await engine.search("few", data.query(0), 3, { ef: 16 });
        expect(new Set(found.filter((row) => row >= 0)).size).toBe(Math.min(rows, 3));
      }
    }
  });

  it("is built from vectors that lie in parts between other bytes", async () => {
    const half = (ROWS / 2) * DIMENSION * 4;
    const bytes = new Uint8Array(data.vectors.buffer);
    const file = join(data.dir, "parts");
    await writeFile(
      file,
      Buffer.concat([Buffer.alloc(13), bytes.subarray(0, half), Buffer.alloc(5), bytes.subarray(half)]),
    );
    const vectorParts = [
      { offset: 13, bytes: half },
      { offset: 13 + half + 5, bytes: half },
    ];
    for (const [engine, type] of [
      ["native", "HNSW"],
      ["faiss", "FLAT"],
    ] as const) {
      const spec = checkIndexParams(type, "L2", DIMENSION, type === "HNSW" ? PARAMS : {});
      const whole = await build("whole", { type, engine });
      const outFile = join(data.dir, "from-parts");
      const shape = { metric: "L2" as const, dimension: DIMENSION, rows: ROWS };
      await buildIndex({ spec, ...shape, vectorsFile: file, vectorParts, outFile, threads: 1, engine });
      expect((await readFile(outFile)).equals(await readFile(whole.file))).toBe(true);
    }
  });
});
