/** What the native engine does beyond the others: filters, ranges, exact scans, mapped files, damaged files, threads. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Metric, NUMBER_METRICS } from "../schema.ts";
import { type Bitset, countBits, newBitset, setBit } from "../segment/bitset.ts";
import { systemClock } from "../system-clock.ts";
import { IndexFiles, loadInto } from "../testing/index-files.ts";
import { clusteredVectors, recall, seededNumbers } from "../testing/vectors.ts";
import type { ExactBlock, Neighbours, SearchEngine } from "./engine.ts";
import { rowNorms } from "./exact.ts";
import { loadNativeAddon, type NativeAddon, nativeAddonPath } from "./native-addon.ts";
import { createNativeEngine } from "./native-engine.ts";

const ROWS = 20_000;
const DIMENSION = 48;
const NQ = 40;
const K = 10;

const addon = loadNativeAddon();

let files: IndexFiles;
let engine: SearchEngine;
let mapped: SearchEngine;

function newEngine(overrides: { threads?: number; mapped?: boolean; queueMax?: number } = {}): SearchEngine {
  return createNativeEngine({ addon: addon as NativeAddon, clock: systemClock, threads: 2, ...overrides });
}

/** About `share` of the rows, at random. */
function randomRows(share: number, seed = 3): Bitset {
  const next = seededNumbers(seed);
  const bits = newBitset(ROWS);
  for (let row = 0; row < ROWS; row++) if (next() < share) setBit(bits, row);
  return bits;
}

/** The rows of one end of the space: a filter that goes with the vectors, and that most queries are far from. */
function rowsOfOneSide(atLeast: number): Bitset {
  const bits = newBitset(ROWS);
  for (let row = 0; row < ROWS; row++) if (files.vectors[row * DIMENSION]! > atLeast) setBit(bits, row);
  return bits;
}

describe.skipIf(addon instanceof Error)("native engine", () => {
  beforeAll(() => {
    files = new IndexFiles({ rows: ROWS, dimension: DIMENSION, nq: NQ });
    engine = newEngine();
    mapped = newEngine({ mapped: true });
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    await mapped[Symbol.asyncDispose]();
    files[Symbol.dispose]();
  });

  const HNSW = { M: 16, efConstruction: 100 };

  describe("filter", () => {
    function expectAllowed(found: Neighbours, allow: Bitset, k: number): void {
      const wanted = Math.min(k, countBits(allow));
      for (let q = 0; q < NQ; q++) {
        const rows = [...found.rows.subarray(q * k, (q + 1) * k)];
        expect(rows.filter((row) => row >= 0).length).toBe(wanted);
        expect(new Set(rows.slice(0, wanted)).size).toBe(wanted);
        for (const row of rows.slice(0, wanted)) expect((allow[row >>> 5]! >>> (row & 31)) & 1).toBe(1);
      }
    }

    it.each([0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 1])(
      "of %d of the rows keeps recall",
      async (share) => {
        const allow = randomRows(share);
        for (const [type, metric, params, effort, atLeast] of [
          ["HNSW", "L2", HNSW, { ef: 64 }, 0.95],
          ["HNSW", "COSINE", HNSW, { ef: 64 }, 0.95],
          ["IVF_FLAT", "L2", { nlist: 64 }, { nprobe: 16 }, 0.95],
          ["FLAT", "IP", {}, {}, 0.999],
        ] as const) {
          await loadInto(engine, "a", await files.build(type, metric, params));
          const found = await engine.search("a", files.queries, K, effort, { allow });
          expectAllowed(found, allow, K);
          expect(recall(found.rows, files.exact(metric, K, allow).rows, K), type).toBeGreaterThanOrEqual(atLeast);
        }
      },
    );

    it.each([0.05, 0.4, 0.8])("that goes with the vectors finds as much (from %d on)", async (atLeast) => {
      const allow = rowsOfOneSide(atLeast);
      for (const [type, params, effort] of [
        ["HNSW", HNSW, { ef: 64 }],
        ["IVF_FLAT", { nlist: 64 }, { nprobe: 16 }],
      ] as const) {
        await loadInto(engine, "a", await files.build(type, "L2", params));
        const found = await engine.search("a", files.queries, K, effort, { allow, allowedCount: countBits(allow) });
        expectAllowed(found, allow, K);
        expect(recall(found.rows, files.exact("L2", K, allow).rows, K), type).toBeGreaterThanOrEqual(0.95);
      }
    });

    it("of fewer rows than asked for gives them all, of none nothing", async () => {
      const few = newBitset(ROWS);
      for (const row of [0, 31, 32, 9999, ROWS - 1]) setBit(few, row);
      for (const [type, params] of [
        ["FLAT", {}],
        ["HNSW", HNSW],
        ["IVF_FLAT", { nlist: 64 }],
        ["IVF_SQ8", { nlist: 64 }],
        ["IVF_PQ", { nlist: 64, m: 8 }],
      ] as const) {
        await loadInto(engine, "a", await files.build(type, "L2", params));
        expectAllowed(await engine.search("a", files.queries, K, {}, { allow: few }), few, K);
        const none = await engine.search("a", files.queries, K, {}, { allow: newBitset(ROWS), allowedCount: 0 });
        expect(none.rows.every((row) => row === -1)).toBe(true);
      }
    });

    it("that leaves few rows has them compared exactly, for many queries in one pass as for each by itself", async () => {
      const allow = randomRows(0.01);
      for (const metric of ["L2", "COSINE"] as const) {
        await loadInto(engine, "a", await files.build("HNSW", metric, HNSW));
        const all = await engine.search("a", files.queries, K, { ef: 64 }, { allow });
        expect(recall(all.rows, files.exact(metric, K, allow).rows, K)).toBeGreaterThan(0.999);
        for (const q of [0, NQ - 1]) {
          const query = files.queries.subarray(q * DIMENSION, (q + 1) * DIMENSION);
          const one = await engine.search("a", query, K, { ef: 64 }, { allow });
          expect(all.rows.slice(q * K, (q + 1) * K)).toEqual(one.rows);
          expect(all.distances.slice(q * K, (q + 1) * K)).toEqual(one.distances);
        }
      }
    });

    it("refuses a bitset shorter than the rows", async () => {
      await loadInto(engine, "a", await files.build("FLAT", "L2"));
      await expect(engine.search("a", files.query(0), K, {}, { allow: new Uint32Array(3) })).rejects.toThrow("bitset");
    });
  });

  describe("range", () => {
    it.each(NUMBER_METRICS)("gives the best rows between its bounds (%s)", async (metric) => {
      const sign = metric === "L2" ? 1 : -1;
      const all = files.exact(metric, 400);
      // Bounds in the middle of the first query's neighbours, so that both cut something.
      const rangeFilter = all.distances[50]!;
      const radius = all.distances[300]!;
      for (const [type, params, effort] of [
        ["FLAT", {}, {}],
        ["HNSW", HNSW, { ef: 128 }],
        ["IVF_FLAT", { nlist: 64 }, { nprobe: 64 }],
      ] as const) {
        await loadInto(engine, "a", await files.build(type, metric, params));
        for (const options of [{ radius }, { rangeFilter }, { radius, rangeFilter }]) {
          const found = await engine.search("a", files.query(0), 20, effort, options);
          const isInside = (distance: number) =>
            (options.radius === undefined || sign * distance < sign * options.radius) &&
            (options.rangeFilter === undefined || sign * distance >= sign * options.rangeFilter);
          const truth = all.rows
            .subarray(0, 400)
            .filter((_, i) => isInside(all.distances[i]!))
            .subarray(0, 20);
          for (const [i, row] of found.rows.entries()) if (row >= 0) expect(isInside(found.distances[i]!)).toBe(true);
          expect(recall(found.rows, truth, 20), `${type} ${JSON.stringify(options)}`).toBeGreaterThanOrEqual(0.9);
        }
        // Nothing is nearer than this.
        const none = await engine.search("a", files.query(0), 5, effort, { radius: sign * -1e9 });
        expect([...none.rows]).toEqual([-1, -1, -1, -1, -1]);
      }
    });

    it("looks through more lists than it is told to until it has found enough, or two have nothing near", async () => {
      const all = files.exact("L2", 400);
      await loadInto(engine, "a", await files.build("IVF_FLAT", "L2", { nlist: 64 }));
      const wide = await engine.search("a", files.query(0), 300, { nprobe: 1 }, { radius: all.distances[350]! });
      expect(wide.rows.every((row) => row >= 0)).toBe(true);
      const far = { radius: all.distances[399]!, rangeFilter: all.distances[390]! };
      const band = await engine.search("a", files.query(0), 9, { nprobe: 1 }, far);
      expect(recall(band.rows, all.rows.slice(390, 399), 9)).toBeGreaterThan(0.5);
    });

    it("obeys a filter as well", async () => {
      const allow = randomRows(0.3);
      const all = files.exact("L2", 400, allow);
      await loadInto(engine, "a", await files.build("HNSW", "L2", HNSW));
      const options = { allow, radius: all.distances[200]!, rangeFilter: all.distances[20]! };
      const found = await engine.search("a", files.query(0), 20, { ef: 128 }, options);
      expect(recall(found.rows, all.rows.subarray(20, 40), 20)).toBeGreaterThanOrEqual(0.9);
    });
  });

  describe("mapped files", () => {
    it.each([
      ["FLAT", "L2", {}],
      ["HNSW", "COSINE", HNSW],
      ["IVF_FLAT", "IP", { nlist: 64 }],
      ["IVF_SQ8", "L2", { nlist: 64 }],
      ["IVF_PQ", "L2", { nlist: 64, m: 8 }],
    ] as const)("are searched like copies, and take no memory of their own: %s", async (type, metric, params) => {
      const file = await files.build(type, metric, params);
      const copied = await engine.load("a", file.file, file.index);
      const { memoryBytes } = await mapped.load("a", file.file, file.index);
      expect(memoryBytes).toBeLessThan(copied.memoryBytes / 5);
      for (const allow of [undefined, randomRows(0.4), randomRows(0.02)]) {
        const options = allow === undefined ? {} : { allow };
        const [a, b] = await Promise.all([engine, mapped].map((one) => one.search("a", files.queries, K, {}, options)));
        // Sums over padded rows are taken in another order: a last bit may differ, and so the order of equal rows.
        expect(recall(a!.rows, b!.rows, K)).toBeGreaterThan(0.999);
        for (const [i, distance] of a!.distances.entries()) expect(distance).toBeCloseTo(b!.distances[i]!, 4);
      }
    });
  });

  describe("exact scan", () => {
    /** The rows in blocks of uneven lengths. */
    function blocksOf(metric: Metric, allow: Bitset | null): ExactBlock[] {
      const blocks: ExactBlock[] = [];
      for (let firstRow = 0, size = 32; firstRow < ROWS; firstRow += size, size = Math.min(size * 3, 4096)) {
        const end = Math.min(ROWS, firstRow + size);
        const vectors = files.vectors.subarray(firstRow * DIMENSION, end * DIMENSION);
        const bits = allow === null ? null : allow.slice(firstRow >>> 5, (end + 31) >>> 5);
        const norms = metric === "COSINE" ? { norms: rowNorms(vectors, DIMENSION) } : {};
        blocks.push({ vectors, ...norms, allow: bits, firstRow });
      }
      return blocks;
    }

    it.each(NUMBER_METRICS)("of blocks that stay where they are equals the one in JavaScript (%s)", async (metric) => {
      for (const allow of [null, randomRows(0.3), randomRows(0.001)]) {
        const truth = files.exact(metric, K, allow);
        const blocks = blocksOf(metric, allow);
        const scan = { metric, dimension: DIMENSION, queries: files.queries, k: K, blocks };
        const found = await engine.scanExact(scan);
        expect(recall(found.rows, truth.rows, K)).toBeGreaterThan(0.999);
        for (const [i, distance] of found.distances.entries()) expect(distance).toBeCloseTo(truth.distances[i]!, 3);
      }
    });

    it("gives cosines without norms, 0 with a zero vector, and -1 where there are no more rows", async () => {
      const vectors = Float32Array.of(3, 4, 0, 0, -2, 0, 1, 1);
      const blocks = [{ vectors, allow: null, firstRow: 100 }];
      const scan = { metric: "COSINE" as const, dimension: 2, queries: Float32Array.of(10, 0), k: 6, blocks };
      const found = await engine.scanExact(scan);
      expect([...found.rows]).toEqual([103, 100, 101, 102, -1, -1]);
      const expected = [Math.SQRT1_2, 0.6, 0, -1];
      for (const [i, cosine] of expected.entries()) expect(found.distances[i]).toBeCloseTo(cosine, 6);
      const nothing = await engine.scanExact({ ...scan, blocks: [] });
      expect([...nothing.rows]).toEqual([-1, -1, -1, -1, -1, -1]);
    });

    it("counts what is not a number as the worst distance", async () => {
      const vectors = Float32Array.of(1e30, 1e30, NaN, 0, 1, 1);
      const blocks = [{ vectors, allow: null, firstRow: 0 }];
      const scan = { metric: "L2" as const, dimension: 2, queries: Float32Array.of(0, 0), k: 3, blocks };
      expect([...(await engine.scanExact(scan)).rows]).toEqual([2, 0, 1]);
    });

    it("cuts by a range", async () => {
      const vectors = Float32Array.of(1, 2, 3, 4, 5, 6);
      const blocks = [{ vectors, allow: null, firstRow: 0 }];
      const scan = { metric: "L2" as const, dimension: 1, queries: Float32Array.of(0), k: 6, blocks };
      const found = await engine.scanExact({ ...scan, rangeFilter: 4, radius: 25 });
      expect([...found.rows]).toEqual([1, 2, 3, -1, -1, -1]);
    });

    it("finds the same for many queries as for each", async () => {
      const queries = clusteredVectors(200, DIMENSION, 5);
      const blocks = blocksOf("L2", null);
      const scan = { metric: "L2" as const, dimension: DIMENSION, k: K, blocks };
      const all = await engine.scanExact({ ...scan, queries });
      for (const q of [0, 63, 64, 199]) {
        const one = await engine.scanExact({ ...scan, queries: queries.subarray(q * DIMENSION, (q + 1) * DIMENSION) });
        expect(all.rows.slice(q * K, (q + 1) * K)).toEqual(one.rows);
        expect(all.distances.slice(q * K, (q + 1) * K)).toEqual(one.distances);
      }
    });
  });

  describe("threads", () => {
    it("tell what waits when the engine goes, and refuse what comes after", async () => {
      const one = newEngine({ threads: 1 });
      await loadInto(one, "a", await files.build("FLAT", "L2"));
      const searches = Array.from({ length: 200 }, () =>
        one.search("a", files.queries, K, {}).catch((e: unknown) => e),
      );
      await one[Symbol.asyncDispose]();
      expect(await Promise.all(searches)).toContainEqual(expect.objectContaining({ kind: "canceled" }));
      await expect(one.search("a", files.queries, K, {})).rejects.toMatchObject({ kind: "canceled" });
      expect(one.observe()).toMatchObject({ queued: 0, inFlight: 0 });
    });

    it("never run a search whose deadline passed while it waited", async () => {
      const one = newEngine({ threads: 1 });
      await loadInto(one, "a", await files.build("FLAT", "L2"));
      const busy = Array.from({ length: 50 }, () => one.search("a", files.queries, K, {}));
      const late = one.search("a", files.query(0), K, {}, { deadline: systemClock.monotonic() + 0.01 });
      await expect(late).rejects.toMatchObject({ kind: "deadline_exceeded" });
      for (const { rows } of await Promise.all(busy)) expect(rows[0]).toBeGreaterThanOrEqual(0);
      await one[Symbol.asyncDispose]();
    });

    it("refuse more than a bounded queue", async () => {
      const one = newEngine({ threads: 1, queueMax: 100 });
      await loadInto(one, "a", await files.build("FLAT", "L2"));
      const searches = Array.from({ length: 5_000 }, () =>
        one.search("a", files.query(0), K, {}).catch((e: unknown) => e),
      );
      expect(await Promise.all(searches)).toContainEqual(expect.objectContaining({ kind: "overloaded" }));
      await one[Symbol.asyncDispose]();
    });

    it("finish a search of an index that is unloaded meanwhile", async () => {
      await loadInto(engine, "gone", await files.build("FLAT", "L2"));
      const searches = Array.from({ length: 20 }, () => engine.search("gone", files.queries, K, {}));
      engine.unload("gone");
      const truth = files.exact("L2", K).rows;
      for (const { rows } of await Promise.all(searches)) expect(recall(rows, truth, K)).toBeGreaterThan(0.999);
    });

    it("serve several worker threads of JavaScript, also one that ends in the middle", async () => {
      const { file } = await files.build("HNSW", "L2", HNSW);
      const code = `
        const { workerData, parentPort } = require("node:worker_threads");
        const addon = require(workerData.path);
        const ends = new Uint32Array(64);
        const pending = new Map();
        const engine = new addon.Engine(2, 4096, ends, (count) => {
          for (let i = 0; i < count; i++) pending.get(ends[2 * i])(ends[2 * i + 1]);
        });
        engine.open(workerData.file, false).then(async ({ handle }) => {
          const header = Float64Array.of(10, NaN, NaN, Infinity, handle, 64, 0, -1);
          for (let id = 0; ; id++) {
            const out = new ArrayBuffer(workerData.nq * 10 * 8);
            const ended = new Promise((resolve) => pending.set(id, resolve));
            engine.search(id, header, workerData.queries, null, out);
            if ((await ended) !== 0) throw new Error("a search failed");
            parentPort.postMessage(new Int32Array(out, 0, workerData.nq * 10));
          }
        });`;
      const path = nativeAddonPath();
      const truth = files.exact("L2", K).rows;
      const workers = Array.from({ length: 3 }, () => {
        const workerData = { path, file, nq: NQ, queries: files.queries };
        return new Worker(code, { eval: true, workerData });
      });
      await Promise.all(
        workers.map(async (worker) => {
          let answers = 0;
          await new Promise<void>((resolve, reject) => {
            worker.on("error", reject);
            worker.on("message", (rows: Int32Array) => {
              if (recall(rows, truth, K) < 0.9) reject(new Error("wrong rows"));
              if (++answers === 20) resolve();
            });
          });
          // While it searches.
          await worker.terminate();
        }),
      );
    });
  });

  describe("damaged files", () => {
    it.each([
      ["FLAT", {}],
      ["HNSW", HNSW],
      ["IVF_FLAT", { nlist: 64 }],
      ["IVF_SQ8", { nlist: 64 }],
      ["IVF_PQ", { nlist: 64, m: 8 }],
    ] as const)("are refused or searched, never fatal: %s", async (type, params) => {
      const good = await files.build(type, "L2", params);
      const bytes = await readFile(good.file);
      const damaged = join(files.dir, `damaged-${type}.faiss`);
      const next = seededNumbers(7);
      const outcomes = { refused: 0, opened: 0 };
      for (let round = 0; round < 60; round++) {
        let copy = Buffer.from(bytes);
        if (round % 4 === 0) copy = copy.subarray(0, Math.floor(next() * copy.length));
        // Where lengths and kinds are: at the start, and before the vectors at the end.
        else for (let i = 0; i < 3; i++) copy[placeToDamage(next, copy.length)] = Math.floor(next() * 256);
        await writeFile(damaged, copy);
        for (const one of [engine, mapped]) {
          try {
            await one.load("bad", damaged, good.index);
          } catch (error) {
            expect(error).toMatchObject({ kind: "corrupt" });
            outcomes.refused++;
            continue;
          }
          outcomes.opened++;
          const { rows } = await one.search("bad", files.queries, K, {}, { allow: randomRows(0.5) });
          for (const row of rows) expect(row).toBeLessThan(ROWS);
          one.unload("bad");
        }
      }
      expect(outcomes.refused).toBeGreaterThan(0);
    });

    function placeToDamage(next: () => number, length: number): number {
      const kind = next();
      if (kind < 0.4) return Math.floor(next() * 200);
      if (kind < 0.7) return Math.floor(next() * length);
      return Math.max(0, length - 1 - Math.floor(next() * 2000));
    }
  });
});
