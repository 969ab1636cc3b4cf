/** Exact scans of every vector type and metric, by the native engine and in JavaScript, against the definition. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isDescending, isMatching, type Metric, NUMBER_METRICS } from "../schema.ts";
import { hasBit, newBitset, setBit } from "../segment/bitset.ts";
import { systemClock } from "../system-clock.ts";
import { definedDistance, vectorsOfType } from "../testing/packed-vectors.ts";
import type { ExactBlock, ExactScanner, Neighbours } from "./engine.ts";
import { rowNorms } from "./exact.ts";
import { loadNativeAddon, nativeAddonPath } from "./native-addon.ts";
import { createNativeEngine } from "./native-engine.ts";
import { type DenseVectors, type DenseVectorType, vectorWidth } from "./packed-vectors.ts";
import { createTurnScanner } from "./turn-scanner.ts";

const NUMBER_TYPES = ["FloatVector", "Float16Vector", "BFloat16Vector", "Int8Vector"] as const;

const addon = loadNativeAddon();
const native =
  addon instanceof Error ? undefined : createNativeEngine({ addon, clock: systemClock, threads: 2, queueMax: 64 });
const scanners: [string, ExactScanner][] = [["JavaScript", createTurnScanner(systemClock)]];
if (native !== undefined) scanners.push(["native engine", native]);

afterAll(() => native?.[Symbol.asyncDispose]());

const subjects = fc.oneof(
  fc.record({
    type: fc.constantFrom<DenseVectorType>(...NUMBER_TYPES),
    metric: fc.constantFrom<Metric>(...NUMBER_METRICS),
    dimension: fc.integer({ min: 2, max: 70 }),
  }),
  fc.record({
    type: fc.constant<DenseVectorType>("BinaryVector"),
    metric: fc.constantFrom<Metric>("HAMMING", "JACCARD", "SUBSTRUCTURE", "SUPERSTRUCTURE"),
    dimension: fc.integer({ min: 1, max: 80 }).map((bytes) => 8 * bytes),
  }),
);

const cases = fc.record({
  subject: subjects,
  rows: fc.integer({ min: 0, max: 150 }),
  nq: fc.integer({ min: 1, max: 3 }),
  k: fc.integer({ min: 1, max: 20 }),
  allowed: fc.option(fc.array(fc.nat(149), { maxLength: 150 })),
  withNorms: fc.boolean(),
  /** Bounds of the band: places among the first query's sorted distances. */
  band: fc.record({ near: fc.option(fc.nat(149)), far: fc.option(fc.nat(149)) }),
  seed: fc.integer(),
});

describe.each(scanners)("%s", (_name, scanner) => {
  it("finds what the definition finds: every type and metric, filtered or not, in a band or not", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ subject, rows, nq, k, allowed, withNorms, band, seed }) => {
        const { type, metric, dimension } = subject;
        const vectors = vectorsOfType(type, rows, dimension, seed);
        const width = vectorWidth(type, dimension);
        // One without length, and one at an address that nothing is aligned to.
        if (rows > 1) vectors.fill(0, width, 2 * width);
        const queries = atOddAddress(vectorsOfType(type, nq, dimension, seed + 1));
        if (isMatching(metric)) mixIn(queries.subarray(0, width), vectors);
        const allow = allowed === null ? null : newBitset(rows);
        for (const row of allowed ?? []) if (row < rows) setBit(allow!, row);

        const rowAt = (row: number) => vectors.subarray(row * width, (row + 1) * width);
        const distancesOf = (q: number) => {
          const query = queries.subarray(q * width, (q + 1) * width);
          return Array.from({ length: rows }, (_, row) => definedDistance(metric, type, query, rowAt(row)));
        };
        const sign = isDescending(metric) ? -1 : 1;
        const sorted = distancesOf(0).filter(Number.isFinite);
        sorted.sort((a, b) => sign * (a - b));
        // Between two distances, so that no rounding decides what is in the band.
        const between = (at: number | null) =>
          at === null || at + 1 >= sorted.length || Math.abs(sorted[at]! - sorted[at + 1]!) < 1e-3
            ? undefined
            : (sorted[at]! + sorted[at + 1]!) / 2;
        const rangeFilter = between(band.near);
        const radius = between(band.far);
        const range = {
          ...(radius === undefined ? {} : { radius }),
          ...(rangeFilter === undefined ? {} : { rangeFilter }),
        };
        const isInBand = (d: number) =>
          (rangeFilter === undefined || sign * d >= sign * rangeFilter) &&
          (radius === undefined || sign * d < sign * radius);

        const blocks = blocksOf(vectors, { type, dimension, rows }, allow, metric === "COSINE" && withNorms);
        const found = await scanner.scanExact({ metric, vectorType: type, dimension, queries, k, blocks, ...range });
        for (let q = 0; q < nq; q++) {
          const all = distancesOf(q);
          const near = all.filter((d) => radius !== undefined && Math.abs(d - radius) < 1e-3);
          near.push(...all.filter((d) => rangeFilter !== undefined && Math.abs(d - rangeFilter) < 1e-3));
          // Of other queries a distance may lie on a bound.
          if (near.length > 0) continue;
          const isWanted = (d: number, row: number) => (allow === null || hasBit(allow, row)) && isInBand(d);
          const wanted = all.filter((d, row) => Number.isFinite(d) && isWanted(d, row));
          wanted.sort((a, b) => sign * (a - b));
          expectSame(found, q, k, wanted, all);
        }
      }),
      { numRuns: 80 },
    );
  });
});

describe.skipIf(addon instanceof Error)("kernels", () => {
  it("of every kind that this CPU has find the same", () => {
    const script = fileURLToPath(new URL("../testing/scan-with-kernels.mjs", import.meta.url));
    const [best, ...others] = ["", "avx2", "baseline"].map((kernels) => {
      const env = { ...process.env, ...(kernels === "" ? {} : { VDB_KERNELS: kernels }) };
      return JSON.parse(execFileSync(process.execPath, [script, nativeAddonPath()], { env, encoding: "utf8" })) as {
        kernels: string;
        found: number[][][];
      };
    });
    expect(others.at(-1)!.kernels).toBe("baseline");
    for (const { kernels, found } of others) expect(found, kernels).toEqual(best!.found);
    // Whole numbers and their squares, so that there is something to compare.
    expect(best!.found.flat(2).some((value) => value > 1000)).toBe(true);
  });
});

/** Of every three rows of bits one gets those of the query as well, and one keeps no others. */
function mixIn(query: DenseVectors, vectors: DenseVectors): void {
  for (let at = 0; at < vectors.length; at++) {
    const row = Math.floor(at / query.length);
    if (row % 3 === 0) vectors[at]! |= query[at % query.length]!;
    else if (row % 3 === 1) vectors[at]! &= query[at % query.length]!;
  }
}

/** A whole number of words of a bitset each. */
function blocksOf(
  vectors: DenseVectors,
  { type, dimension, rows }: { type: DenseVectorType; dimension: number; rows: number },
  allow: Uint32Array | null,
  withNorms: boolean,
): ExactBlock[] {
  const width = vectorWidth(type, dimension);
  const blocks: ExactBlock[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += 64) {
    const end = Math.min(rows, firstRow + 64);
    const part = atOddAddress(vectors.slice(firstRow * width, end * width));
    const block: ExactBlock = { vectors: part, allow: null, firstRow };
    if (allow !== null) block.allow = allow.slice(firstRow >>> 5, (end + 31) >>> 5);
    if (withNorms) block.norms = rowNorms(part, dimension, type);
    blocks.push(block);
  }
  return blocks;
}

function atOddAddress(vectors: DenseVectors): DenseVectors {
  if (vectors instanceof Float32Array) return vectors;
  const room = new Uint8Array(vectors.length + 1);
  room.set(vectors, 1);
  return room.subarray(1);
}

function expectSame(found: Neighbours, q: number, k: number, wanted: readonly number[], all: readonly number[]): void {
  for (let i = 0; i < k; i++) {
    const row = found.rows[q * k + i]!;
    if (i >= wanted.length) {
      expect(row).toBe(-1);
      continue;
    }
    const distance = found.distances[q * k + i]!;
    const tolerance = 1e-5 * Math.max(1, Math.abs(wanted[i]!));
    expect(Math.abs(distance - wanted[i]!)).toBeLessThan(tolerance);
    expect(Math.abs(distance - all[row]!)).toBeLessThan(tolerance);
  }
}
