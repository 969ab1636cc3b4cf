/** The index over growing rows: searched while rows come, and against exact search. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { NUMBER_METRICS } from "../schema.ts";
import { type Bitset, countBits, hasBit, newBitset, setBit } from "../segment/bitset.ts";
import { systemClock } from "../system-clock.ts";
import { IndexFiles } from "../testing/index-files.ts";
import { recall, seededNumbers } from "../testing/vectors.ts";
import type { SearchEngine } from "./engine.ts";
import type { GrowingIndex, GrowingIndexOptions } from "./growing-index.ts";
import { loadNativeAddon, type NativeAddon } from "./native-addon.ts";
import { createNativeEngine } from "./native-engine.ts";

const ROWS = 8000;
const DIMENSION = 32;
const NQ = 20;
const K = 10;

const addon = loadNativeAddon();

/** The first `rows` rows, or about `share` of them. */
function rowsBelow(rows: number, share = 1): Bitset {
  const next = seededNumbers(rows);
  const bits = newBitset(ROWS);
  for (let row = 0; row < rows; row++) if (next() < share) setBit(bits, row);
  return bits;
}

describe.skipIf(addon instanceof Error)("growing index", () => {
  let data: IndexFiles;
  let engine: SearchEngine;
  let growing: GrowingIndex;

  beforeAll(() => {
    data = new IndexFiles({ rows: ROWS, dimension: DIMENSION, nq: NQ });
    engine = createNativeEngine({ addon: addon as NativeAddon, clock: systemClock, threads: 2 });
  });
  afterEach(() => growing.close());
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    data[Symbol.dispose]();
  });

  function open(options: Partial<GrowingIndexOptions> = {}): GrowingIndex {
    const given = { metric: "L2" as const, dimension: DIMENSION, capacity: ROWS, efConstruction: 60, ...options };
    growing = engine.createGrowingIndex!(given);
    return growing;
  }

  const vectorsOf = (from: number, to: number) => data.vectors.subarray(from * DIMENSION, to * DIMENSION);
  const allIndexed = () => expect.poll(() => growing.indexedRows, { interval: 5 }).toBe(growing.rows);

  it("is searched while rows come, each search over the rows that it names", async () => {
    open();
    const recalls: number[] = [];
    for (let from = 0; from < ROWS; from += 500) {
      expect(growing.add(vectorsOf(from, from + 500))).toBe(500);
      const rows = growing.indexedRows;
      if (rows === 0) continue;
      // Also some time ago: what a read at an older timestamp sees.
      for (const first of [rows, Math.ceil(rows * 0.9), Math.ceil(rows / 2)]) {
        const found = await growing.search({ rows: first, queries: data.queries, k: K, ef: 64 });
        expect(Math.max(...found.rows)).toBeLessThan(first);
        recalls.push(recall(found.rows, data.exact("L2", K, rowsBelow(first)).rows, K));
      }
    }
    await allIndexed();
    const found = await growing.search({ rows: ROWS, queries: data.queries, k: K, ef: 64 });
    recalls.push(recall(found.rows, data.exact("L2", K).rows, K));
    expect(Math.min(...recalls)).toBeGreaterThan(0.9);
  });

  it.each(NUMBER_METRICS)("gives the distances of %s", async (metric) => {
    open({ metric });
    growing.add(data.vectors);
    await allIndexed();
    const found = await growing.search({ rows: ROWS, queries: data.queries, k: K, ef: 128 });
    const truth = data.exact(metric, K);
    expect(recall(found.rows, truth.rows, K)).toBeGreaterThan(0.9);
    const distanceOf = new Map(
      Array.from(truth.rows, (row, i) => [`${Math.floor(i / K)}/${row}`, truth.distances[i]!]),
    );
    for (const [i, row] of found.rows.entries()) {
      const expected = distanceOf.get(`${Math.floor(i / K)}/${row}`);
      if (expected !== undefined) expect(found.distances[i]).toBeCloseTo(expected, 3);
    }
  });

  it.each([0.002, 0.05, 0.5, 0.99])("finds k allowed rows where a filter leaves %d", async (share) => {
    open();
    growing.add(data.vectors);
    await allIndexed();
    const allow = rowsBelow(ROWS, share);
    const found = await growing.search({ rows: ROWS, queries: data.queries, k: K, ef: 64, allow });
    for (const row of found.rows) expect(hasBit(allow, row)).toBe(true);
    expect(countBits(allow)).toBeGreaterThan(K);
    expect(recall(found.rows, data.exact("L2", K, allow).rows, K)).toBeGreaterThan(0.95);
  });

  it("takes rows up to its capacity, and counts memory by the rows", async () => {
    open({ capacity: 1000 });
    expect(growing.memoryBytes).toBe(0);
    expect(growing.add(vectorsOf(0, 700))).toBe(700);
    expect(growing.add(vectorsOf(700, 1400))).toBe(300);
    expect(growing.rows).toBe(1000);
    await allIndexed();
    // The vector, 32 links, and a little for the levels above.
    const rowBytes = growing.memoryBytes / 1000;
    expect(rowBytes).toBeGreaterThan(DIMENSION * 4 + 128);
    expect(rowBytes).toBeLessThan(DIMENSION * 4 + 128 + 20);
  });

  it("keeps the vectors as they were added", async () => {
    open();
    const mine = data.vectors.slice(0, 200 * DIMENSION);
    growing.add(mine);
    mine.fill(0);
    await allIndexed();
    const queries = vectorsOf(17, 18);
    const found = await growing.search({ rows: 200, queries, k: 1 });
    expect([found.rows[0], found.distances[0]]).toEqual([17, 0]);
  });

  it("ends searches that are under way when it is closed, and takes no more", async () => {
    open();
    growing.add(data.vectors);
    await expect.poll(() => growing.indexedRows).toBeGreaterThan(100);
    const searches = Array.from({ length: 20 }, () => growing.search({ rows: 100, queries: data.queries, k: K }));
    growing.close();
    for (const { rows } of await Promise.all(searches)) expect(Math.min(...rows)).toBeGreaterThanOrEqual(0);
    expect([growing.rows, growing.indexedRows, growing.memoryBytes]).toEqual([0, 0, 0]);
    expect(() => growing.add(data.vectors)).toThrow("closed");
    await expect(growing.search({ rows: 0, queries: data.queries, k: K })).rejects.toThrow("closed");
  });

  it("refuses what does not fit", async () => {
    open();
    expect(() => growing.add(new Float32Array(DIMENSION + 1))).toThrow("whole rows");
    await expect(growing.search({ rows: 1, queries: data.queries, k: K })).rejects.toThrow("not in the growing index");
    expect(() => engine.createGrowingIndex!({ metric: "L2", dimension: 0, capacity: 1 })).toThrow("dimension");
    expect(() => engine.createGrowingIndex!({ metric: "L2", dimension: 8, capacity: 2 ** 30 * 2 })).toThrow("capacity");
  });
});
