/** What every search engine does, with files that FAISS wrote. 5,000 rows: enough for recall to mean something. */
import { writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLogger } from "../logger.ts";
import { isDescending, NUMBER_METRICS } from "../schema.ts";
import { systemClock } from "../system-clock.ts";
import { IndexFiles, loadInto } from "../testing/index-files.ts";
import { recall } from "../testing/vectors.ts";
import { buildIndex } from "./build-index.ts";
import { createSearchEngine } from "./create-engine.ts";
import type { SearchEngine } from "./engine.ts";
import { checkIndexParams } from "./index-params.ts";
import { loadNativeAddon } from "./native-addon.ts";

const DIMENSION = 64;
const NQ = 100;
const K = 10;

const kinds = [
  { engine: "faiss", mapped: false, name: "faiss-node" },
  { engine: "native", mapped: false, name: "native" },
  { engine: "native", mapped: true, name: "native, mapped" },
] as const;
const hasNative = !(loadNativeAddon() instanceof Error);

let files: IndexFiles;
beforeAll(() => {
  files = new IndexFiles({ rows: 5000, dimension: DIMENSION, nq: NQ });
});
afterAll(() => files[Symbol.dispose]());

describe.each(kinds.filter(({ engine }) => engine === "faiss" || hasNative))("$name", ({ engine: choice, mapped }) => {
  const logger = createLogger({ level: "silent" });
  let engine: SearchEngine;
  beforeAll(async () => {
    engine = await createSearchEngine({
      engine: choice,
      mapped,
      clock: systemClock,
      logger,
      threads: 2,
      scratchDir: files.dir,
    });
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  it.each(NUMBER_METRICS)("gives the exact neighbours and distances of %s from FLAT", async (metric) => {
    await loadInto(engine, "a", await files.build("FLAT", metric));
    const truth = files.exact(metric, K);
    const found = await engine.search("a", files.queries, K, {});
    expect(recall(found.rows, truth.rows, K)).toBeGreaterThan(0.999);
    for (const [i, distance] of found.distances.entries()) expect(distance).toBeCloseTo(truth.distances[i]!, 3);
  });

  it.each([
    ["HNSW", "L2", { M: 16, efConstruction: 100 }, { ef: 64 }, 0.95],
    ["HNSW", "IP", { M: 16, efConstruction: 100 }, { ef: 64 }, 0.9],
    ["HNSW", "COSINE", { M: 16, efConstruction: 100 }, { ef: 64 }, 0.95],
    ["AUTOINDEX", "COSINE", {}, {}, 0.95],
    ["IVF_FLAT", "L2", { nlist: 32 }, { nprobe: 16 }, 0.95],
    ["IVF_FLAT", "IP", { nlist: 32 }, { nprobe: 16 }, 0.9],
    ["IVF_SQ8", "L2", { nlist: 32 }, { nprobe: 16 }, 0.95],
    ["IVF_SQ8", "COSINE", { nlist: 32 }, { nprobe: 16 }, 0.9],
    ["IVF_PQ", "L2", { nlist: 32, m: 16 }, { nprobe: 16 }, 0.5],
    ["IVF_PQ", "COSINE", { nlist: 32, m: 16 }, { nprobe: 16 }, 0.4],
    ["IVF_PQ", "L2", { nlist: 32, m: 16, nbits: 5 }, { nprobe: 16 }, 0.25],
  ] as const)("finds most true neighbours with %s, %s, %j", async (type, metric, params, searchParams, atLeast) => {
    await loadInto(engine, "a", await files.build(type, metric, params));
    const found = await engine.search("a", files.queries, K, searchParams);
    const truth = files.exact(metric, K);
    expect(recall(found.rows, truth.rows, K)).toBeGreaterThanOrEqual(atLeast);
    for (let q = 0; q < NQ; q++) {
      const distances = [...found.distances.subarray(q * K, (q + 1) * K)];
      expect(distances).toEqual(distances.toSorted((a, b) => (isDescending(metric) ? b - a : a - b)));
    }
    if (type === "IVF_PQ") return;
    // Where the same row was found, its distance is that of the row (8-bit codes: about that).
    for (const [i, row] of found.rows.entries()) {
      if (row === truth.rows[i]) expect(Math.abs(found.distances[i]! - truth.distances[i]!)).toBeLessThan(0.1);
    }
  });

  it("finds more with a larger efConstruction than FAISS's 40", async () => {
    const truth = files.exact("L2", K).rows;
    const found: number[] = [];
    for (const efConstruction of [40, 360]) {
      await loadInto(engine, "a", await files.build("HNSW", "L2", { M: 8, efConstruction }));
      found.push(recall((await engine.search("a", files.queries, K, { ef: 16 })).rows, truth, K));
    }
    expect(found[1]).toBeGreaterThan(found[0]! + 0.01);
  });

  it("finds more with more effort, and leaves the index file as it was", async () => {
    const hnsw = await files.build("HNSW", "L2", { M: 4, efConstruction: 40 });
    const ivf = await files.build("IVF_FLAT", "L2", { nlist: 32 });
    const before = [await readFile(hnsw.file), await readFile(ivf.file)];
    await loadInto(engine, "hnsw", hnsw);
    await loadInto(engine, "ivf", ivf);
    const truth = files.exact("L2", K).rows;
    const recallOf = async (key: string, params: { ef?: number; nprobe?: number }) =>
      recall((await engine.search(key, files.queries, K, params)).rows, truth, K);
    const efs = [
      await recallOf("hnsw", { ef: 16 }),
      await recallOf("hnsw", { ef: 64 }),
      await recallOf("hnsw", { ef: 256 }),
    ];
    expect(efs[1]).toBeGreaterThan(efs[0]!);
    expect(efs[2]).toBeGreaterThan(efs[1]!);
    // faiss-node may answer by a larger variant that is open anyway.
    expect(await recallOf("hnsw", { ef: 16 })).toBeGreaterThanOrEqual(efs[0]!);
    expect(await recallOf("ivf", { nprobe: 32 })).toBeGreaterThan(0.999);
    expect(await recallOf("ivf", { nprobe: 1 })).toBeLessThan(0.999);
    expect(before[0]!.equals(await readFile(hnsw.file))).toBe(true);
    expect(before[1]!.equals(await readFile(ivf.file))).toBe(true);
  });

  it("answers many concurrent searches of different indexes, k and effort, each with its own", async () => {
    await loadInto(engine, "flat", await files.build("FLAT", "L2"));
    await loadInto(engine, "ip", await files.build("FLAT", "IP"));
    const truths = { flat: files.exact("L2", 20).rows, ip: files.exact("IP", 20).rows };
    const { searches: before } = engine.observe();
    const searches = Array.from({ length: 300 }, async (_, i) => {
      const key = i % 3 === 0 ? ("ip" as const) : ("flat" as const);
      const k = 1 + (i % 20);
      const found = await engine.search(key, files.query(i % NQ), k, {});
      const truth = truths[key].subarray((i % NQ) * 20, (i % NQ) * 20 + k);
      expect(recall(found.rows, truth, k)).toBeGreaterThan(0.9);
    });
    await Promise.all(searches);
    expect(engine.observe()).toMatchObject({ searches: before + 300, queued: 0, inFlight: 0 });
  });

  it("fills with -1 where k is more than there are rows", async () => {
    const few = join(files.dir, "few.f32");
    writeFileSync(few, files.vectors.subarray(0, 3 * DIMENSION));
    for (const type of ["FLAT", "HNSW", "IVF_FLAT"]) {
      const file = join(files.dir, `few-${type}.faiss`);
      const spec = checkIndexParams(type, "L2", DIMENSION, {});
      const what = { ...spec, metric: "L2" as const, dimension: DIMENSION, rows: 3 };
      await buildIndex({ spec: what, ...what, vectorsFile: few, outFile: file, threads: 1 });
      await engine.load(type, file, what);
      const found = await engine.search(type, files.queries, 5, {});
      expect(found.rows.length).toBe(NQ * 5);
      for (let q = 0; q < NQ; q++) {
        expect(found.rows.slice(q * 5, q * 5 + 3).sort()).toEqual(Int32Array.of(0, 1, 2));
        expect(found.rows.slice(q * 5 + 3, q * 5 + 5)).toEqual(Int32Array.of(-1, -1));
      }
    }
  });

  it("refuses an index that is not loaded, and a deadline that has passed", async () => {
    await loadInto(engine, "a", await files.build("FLAT", "L2"));
    const query = files.query(0);
    await expect(engine.search("b", query, K, {})).rejects.toMatchObject({ kind: "segment_not_loaded" });
    const deadline = systemClock.monotonic() - 1;
    await expect(engine.search("a", query, K, {}, { deadline })).rejects.toMatchObject({ kind: "deadline_exceeded" });
    engine.unload("a");
    await expect(engine.search("a", query, K, {})).rejects.toMatchObject({ kind: "segment_not_loaded" });
  });

  it("refuses a damaged file and one that is not what it is said to be, and goes on", async () => {
    const good = await files.build("HNSW", "L2", { M: 16, efConstruction: 100 });
    await loadInto(engine, "good", good);
    const damaged = join(files.dir, "damaged.faiss");
    await writeFile(damaged, (await readFile(good.file)).subarray(0, 100_000));
    await expect(engine.load("bad", damaged, good.index)).rejects.toMatchObject({ kind: "corrupt" });
    await expect(engine.load("bad", join(files.dir, "absent"), good.index)).rejects.toMatchObject({ kind: "corrupt" });
    await expect(engine.load("bad", good.file, { ...good.index, rows: 4999 })).rejects.toThrow(
      "must hold HNSW L2 of 4999 x 64, it holds HNSW L2 of 5000 x 64",
    );
    expect((await engine.search("good", files.query(0), K, {})).rows[0]).toBeGreaterThanOrEqual(0);
  });

  it("refuses a file of the right structure with an impossible length of codes", async () => {
    const good = await files.build("IVF_SQ8", "COSINE", { nlist: 32 });
    const bytes = await readFile(good.file);
    // The size of a code, said again right before by_residual and the lists: it must be that of the lists.
    bytes.writeBigUInt64LE(1n, bytes.indexOf("ilar") - 9);
    const damaged = join(files.dir, "refused.faiss");
    await writeFile(damaged, bytes);
    await expect(engine.load("bad", damaged, good.index)).rejects.toMatchObject({ kind: "corrupt" });
  });

  it("replaces an index under its key, and counts what is loaded", async () => {
    for (const key of ["a", "b", "flat", "ip", "hnsw", "ivf", "good", "FLAT", "HNSW", "IVF_FLAT"]) engine.unload(key);
    expect(engine.observe().indexes).toBe(0);
    await loadInto(engine, "a", await files.build("FLAT", "L2"));
    await loadInto(engine, "a", await files.build("FLAT", "IP"));
    expect(engine.observe().indexes).toBe(1);
    const found = await engine.search("a", files.queries, K, {});
    expect(recall(found.rows, files.exact("IP", K).rows, K)).toBeGreaterThan(0.999);
  });
});
