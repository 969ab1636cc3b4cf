/** Search of a large growing segment: in the index and beyond it, every row in exactly one of the two. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { SearchEngine } from "../../runtime/ann/engine.ts";
import type { GrowingIndex } from "../../runtime/ann/growing-index.ts";
import { loadNativeAddon } from "../../runtime/ann/native-addon.ts";
import { createNativeEngine } from "../../runtime/ann/native-engine.ts";
import { createTurnScanner } from "../../runtime/ann/turn-scanner.ts";
import { createLogger } from "../../runtime/logger.ts";
import type { VectorSearch } from "../../runtime/protocol/values.ts";
import { type Metric, NUMBER_METRICS, type PackedVectorType } from "../../runtime/schema.ts";
import { allowedChunks, scanAllowed } from "../../runtime/search/scan-segment.ts";
import { newBitset, setBit } from "../../runtime/segment/bitset.ts";
import { type Column, PACKED_KINDS } from "../../runtime/segment/column.ts";
import { keysOf } from "../../runtime/segment/keys.ts";
import { CHUNK_ROWS, Segment } from "../../runtime/segment/segment.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { vectorsOfType } from "../../runtime/testing/packed-vectors.ts";
import { GrowingIndexes } from "./growing-indexes.ts";

const logger = createLogger({ level: "silent" });
const DIMENSION = 8;
const KEY = 100;
const VECTOR = 101;
const DEADLINE = Number.POSITIVE_INFINITY;

const addon = loadNativeAddon();
let engine: SearchEngine;
let indexes: GrowingIndexes;
let random: () => number;
beforeEach(() => {
  if (addon instanceof Error) throw addon;
  engine = createNativeEngine({ addon, clock: systemClock, threads: 2 });
  indexes = new GrowingIndexes(engine, { sealRows: 50_000, sealBytes: 1 << 27 }, logger);
  let state = 1;
  random = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
});
afterEach(async () => {
  indexes.keepOnly(new Set());
  await engine[Symbol.asyncDispose]();
});

function newSegment(): Segment {
  return new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: KEY, keyKind: "int64" });
}

/** Keys count up from 0; row i has timestamp i / 1000. */
function append(segment: Segment, rows: number, keyOf = (row: number) => row): void {
  const first = segment.rowCount;
  const values = Float32Array.from({ length: rows * DIMENSION }, random);
  const keys = BigInt64Array.from({ length: rows }, (_, i) => BigInt(keyOf(first + i)));
  const columns = {
    [KEY]: { kind: "int64" as const, values: keys },
    [VECTOR]: { kind: "floatVector" as const, dimension: DIMENSION, values },
  };
  segment.append({ rowCount: rows, columns }, BigInt(Math.floor(first / 1000)));
}

function newSearch(metric: Metric, queryCount = 20): VectorSearch {
  const queries = Float32Array.from({ length: queryCount * DIMENSION }, random);
  return { fieldId: VECTOR, metric, queries, queryCount, topK: 10 };
}

/** Until the index covers every chunk that is full. */
async function untilIndexed(segment: Segment, search: VectorSearch): Promise<void> {
  const options = { filter: null, readTs: 1n << 60n, clock: systemClock, deadline: DEADLINE, mayApproximate: true };
  const one = {
    ...search,
    queries: search.queries.subarray(0, search.queries.length / search.queryCount),
    queryCount: 1,
  };
  let memory = -1;
  await expect
    .poll(async () => {
      await indexes.search(segment, one, options);
      const before = memory;
      memory = indexes.memoryBytes();
      return before === memory && memory > segment.rowCount * DIMENSION * 2;
    })
    .toBe(true);
}

/** As `append`, of a packed type. */
function appendPacked(segment: Segment, type: PackedVectorType, rows: number): void {
  const keys = BigInt64Array.from({ length: rows }, (_, i) => BigInt(segment.rowCount + i));
  const values = vectorsOfType(type, rows, DIMENSION, segment.rowCount + 1) as Uint8Array;
  const columns = {
    [KEY]: { kind: "int64" as const, values: keys },
    [VECTOR]: { kind: PACKED_KINDS[type], dimension: DIMENSION, values },
  };
  segment.append({ rowCount: rows, columns }, 0n);
}

/** Share of the rows found by an exact scan that were found here; everything found must be allowed. */
async function recall(segment: Segment, search: VectorSearch, readTs: bigint): Promise<number> {
  const read = { filter: null, readTs, clock: systemClock, deadline: DEADLINE };
  const allowed = await allowedChunks(segment, read);
  const exact = await scanAllowed(segment, search, { ...read, scanner: createTurnScanner(systemClock) }, allowed);
  const found = await indexes.search(segment, search, { ...read, mayApproximate: true });
  const isBand = search.radius !== undefined || search.rangeFilter !== undefined;
  if (!isBand) expect([...found.counts]).toEqual([...exact.counts]);
  let hits = 0;
  let at = 0;
  let foundAt = 0;
  for (const [query, count] of exact.counts.entries()) {
    const truth = new Set(exact.refs.row.subarray(at, at + count));
    const foundEnd = foundAt + found.counts[query]!;
    for (const row of found.refs.row.subarray(foundAt, foundEnd)) if (truth.has(row)) hits++;
    at += count;
    foundAt = foundEnd;
  }
  // A graph may miss a row, but gives none that is not there.
  expect(foundAt).toBeLessThanOrEqual(at);
  return hits / at;
}

describe.each(NUMBER_METRICS)("with %s", (metric) => {
  test("finds what a scan finds: while rows come, under deletes, at an earlier time", async () => {
    const segment = newSegment();
    const search = newSearch(metric);
    append(segment, 3 * CHUNK_ROWS + 77);
    expect(await recall(segment, search, 1n << 60n)).toBeGreaterThan(0.95);
    await untilIndexed(segment, search);
    expect(indexes.memoryBytes()).toBeGreaterThan(0);
    expect(await recall(segment, search, 1n << 60n)).toBeGreaterThan(0.95);
    append(segment, CHUNK_ROWS);
    expect(await recall(segment, search, 1n << 60n)).toBeGreaterThan(0.95);
    for (let key = 0; key < segment.rowCount; key += 2) segment.delete(keysOf("int64", [BigInt(key)]), 0, 1n << 40n);
    expect(await recall(segment, search, 1n << 60n)).toBeGreaterThan(0.95);
    // Between two appends, so in the middle of a word; before the index begins to count, and after.
    for (const readTs of [5n, 20n, 25n]) expect(await recall(segment, search, readTs)).toBeGreaterThan(0.95);
  });
});

test.each(NUMBER_METRICS)("finds the rows of a band (%s)", async (metric) => {
  const segment = newSegment();
  append(segment, 3 * CHUNK_ROWS + 77);
  const search = newSearch(metric);
  await untilIndexed(segment, search);
  const read = { filter: null, readTs: 1n << 60n, clock: systemClock, deadline: DEADLINE };
  const scanner = createTurnScanner(systemClock);
  const all = await scanAllowed(
    segment,
    { ...search, topK: 50 },
    { ...read, scanner },
    await allowedChunks(segment, read),
  );
  // Of the first query's neighbours the tenth, and one that many queries find less than ten before.
  const rangeFilter = all.distances[10]!;
  const radius = all.distances[30]!;
  for (const band of [{ radius }, { radius, rangeFilter }]) {
    expect(await recall(segment, { ...search, ...band }, 1n << 60n)).toBeGreaterThan(0.9);
    expect(await recall(segment, { ...search, ...band }, 20n)).toBeGreaterThan(0.9);
  }
});

test.each(["Float16Vector", "BFloat16Vector", "Int8Vector"] as const)("finds rows of %s", async (vectorType) => {
  const segment = newSegment();
  appendPacked(segment, vectorType, 3 * CHUNK_ROWS + 77);
  const queries = vectorsOfType(vectorType, 20, DIMENSION, 7);
  const search: VectorSearch = { fieldId: VECTOR, metric: "COSINE", vectorType, queries, queryCount: 20, topK: 10 };
  await untilIndexed(segment, search);
  appendPacked(segment, vectorType, 100);
  expect(await recall(segment, search, 1n << 60n)).toBeGreaterThan(0.95);
});

test("scans bits: counting them is faster than a graph", async () => {
  const segment = newSegment();
  appendPacked(segment, "BinaryVector", 3 * CHUNK_ROWS);
  const queries = vectorsOfType("BinaryVector", 5, DIMENSION, 7);
  const about = { fieldId: VECTOR, metric: "HAMMING", vectorType: "BinaryVector", queryCount: 5, topK: 10 } as const;
  expect(await recall(segment, { ...about, queries }, 1n << 60n)).toBe(1);
  expect(indexes.memoryBytes()).toBe(0);
});

test("gives one row a key", async () => {
  const segment = newSegment();
  append(segment, 3 * CHUNK_ROWS, (row) => row % 5);
  const search = newSearch("L2", 3);
  await untilIndexed(segment, search);
  expect(await recall(segment, search, 1n << 60n)).toBe(1);
});

test("has no index of small segments, of FLAT, and of segments that are gone", async () => {
  const small = newSegment();
  append(small, CHUNK_ROWS);
  const large = newSegment();
  append(large, 3 * CHUNK_ROWS);
  const search = newSearch("L2");
  const options = { filter: null, readTs: 1n << 60n, clock: systemClock, deadline: DEADLINE, mayApproximate: true };
  await indexes.search(small, search, options);
  await indexes.search(large, search, { ...options, mayApproximate: false });
  expect(indexes.memoryBytes()).toBe(0);
  await untilIndexed(large, search);
  const underWay = indexes.search(large, search, options);
  indexes.keepOnly(new Set([small]));
  expect([...(await underWay).counts]).toEqual(Array(20).fill(10));
  // A search that had begun may have made another one; that goes with the next look.
  indexes.keepOnly(new Set([small]));
  expect(indexes.memoryBytes()).toBe(0);
  expect([...(await indexes.search(large, search, options)).counts]).toEqual(Array(20).fill(10));
});

test.each(["FloatVector", "Int8Vector"] as const)("rows without a vector are not found (%s)", async (vectorType) => {
  const segment = newSegment();
  const isNull = (row: number) => row >= CHUNK_ROWS && (row < 2 * CHUNK_ROWS || row % 3 === 0);
  const search: VectorSearch =
    vectorType === "FloatVector"
      ? newSearch("L2")
      : {
          ...{ fieldId: VECTOR, metric: "L2", vectorType, queryCount: 20, topK: 10 },
          queries: vectorsOfType(vectorType, 20, DIMENSION, 7),
        };
  const grow = (rows: number) => {
    const first = segment.rowCount;
    const values = vectorsOfType(vectorType, rows, DIMENSION, first + 1);
    const valid = newBitset(rows);
    for (let row = 0; row < rows; row++) {
      if (!isNull(first + row)) setBit(valid, row);
      else values.fill(0, row * DIMENSION, (row + 1) * DIMENSION);
    }
    const kind = vectorType === "FloatVector" ? "floatVector" : PACKED_KINDS[vectorType];
    const keys = BigInt64Array.from({ length: rows }, (_, i) => BigInt(first + i));
    const columns = {
      [KEY]: { kind: "int64" as const, values: keys },
      [VECTOR]: { kind, dimension: DIMENSION, values, valid } as Column,
    };
    segment.append({ rowCount: rows, columns }, 0n);
  };
  grow(4 * CHUNK_ROWS + 50);
  const options = { filter: null, readTs: 1n << 60n, clock: systemClock, deadline: DEADLINE, mayApproximate: true };
  const find = async () => {
    const found = await indexes.search(segment, { ...search, queries: search.queries.slice() }, options);
    for (const row of found.refs.row) expect(isNull(row)).toBe(false);
    return await recall(segment, search, 1n << 60n);
  };
  const made: GrowingIndex[] = [];
  const create = engine.createGrowingIndex!.bind(engine);
  engine.createGrowingIndex = (of) => {
    made.push(create(of));
    return made[0]!;
  };
  await find();
  const withVector = Array.from({ length: 4 * CHUNK_ROWS }, (_, row) => row).filter((row) => !isNull(row));
  await expect.poll(() => made[0]!.indexedRows).toBe(withVector.length);
  expect(await find()).toBeGreaterThan(0.95);
  grow(100);
  for (let key = 0; key < segment.rowCount; key += 2) segment.delete(keysOf("int64", [BigInt(key)]), 0, 1n << 40n);
  expect(await find()).toBeGreaterThan(0.95);
});

test("a field that came later is not searched in the rows before it", async () => {
  const segment = newSegment();
  const rows = 3 * CHUNK_ROWS;
  const keys = { kind: "int64" as const, values: BigInt64Array.from({ length: rows }, (_, row) => BigInt(row)) };
  segment.append({ rowCount: rows, columns: { [KEY]: keys } }, 0n);
  const search = newSearch("L2", 3);
  const options = { filter: null, readTs: 1n << 60n, clock: systemClock, deadline: DEADLINE, mayApproximate: true };
  expect([...(await indexes.search(segment, search, options)).counts]).toEqual([0, 0, 0]);
  append(segment, 5);
  expect([...(await indexes.search(segment, search, options)).counts]).toEqual([5, 5, 5]);
  append(segment, CHUNK_ROWS);
  expect(await recall(segment, search, 1n << 60n)).toBeGreaterThan(0.95);
});

test("scans a segment whose index there is no room for", async () => {
  const large = newSegment();
  append(large, 3 * CHUNK_ROWS);
  const boundless = new GrowingIndexes(engine, { sealRows: 2 ** 31, sealBytes: 2 ** 50 }, logger);
  const options = { filter: null, readTs: 1n << 60n, clock: systemClock, deadline: DEADLINE, mayApproximate: true };
  const { counts } = await boundless.search(large, newSearch("L2"), options);
  expect([...counts]).toEqual(Array(20).fill(10));
  expect(boundless.memoryBytes()).toBe(0);
});
