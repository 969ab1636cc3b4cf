/** Sparse search and statistics against looking at every row: random rows, deletes, filters, snapshots, growing and sealed. */
import { describe, expect, test } from "vitest";
import type { SearchHits, VectorSearch } from "../protocol/values.ts";
import type { AllowedChunk } from "../search/scan-segment.ts";
import { type Bitset, newBitset, setBit } from "../segment/bitset.ts";
import { keyAt, keysOf } from "../segment/keys.ts";
import { Segment, type Snapshot } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { seededNumbers } from "../testing/vectors.ts";
import { placeOf, sparseColumnOf } from "./sparse-rows.ts";
import { SparseSegment } from "./sparse-segment.ts";

const FIELD = 101;
const TOOLS = { clock: systemClock, deadline: Number.POSITIVE_INFINITY };

type Pairs = Map<number, number>;

interface Row {
  key: bigint;
  pairs: Pairs;
  ts: bigint;
  goneAt: bigint | null;
}

interface Fixture {
  segment: Segment;
  rows: Row[];
  maxTs: bigint;
  below: (limit: number) => number;
}

/** Terms are drawn unevenly: some are in nearly every row, some in none. */
function pairsFrom(below: (limit: number) => number, termCount: number, most: number): Pairs {
  const pairs: Pairs = new Map();
  for (let i = below(most + 1); i > 0; i--) {
    const term = below(1 + below(termCount));
    // Ids of words are hashes: they use all 32 bits.
    pairs.set((term * 0x9e3779b1) >>> 0, 1 + below(4));
  }
  return pairs;
}

const ascending = (pairs: Pairs) => [...pairs].sort(([a], [b]) => a - b);

const columnsOf = (pairs: Pairs) => {
  const sorted = ascending(pairs);
  return { terms: sorted.map(([term]) => term), values: sorted.map(([, value]) => value) };
};

function buildFixture(options: {
  rowCount: number;
  seed: number;
  keyCount?: number;
  deletes?: number;
  isShuffled?: boolean;
}): Fixture {
  const { rowCount, seed, keyCount, deletes = 6, isShuffled = false } = options;
  const next = seededNumbers(seed);
  const below = (limit: number) => Math.floor(next() * limit);
  const segment = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
  // A prime that does not divide: every key once, in no order.
  const keyOf = (row: number) => (isShuffled ? (row * 7_919) % rowCount : row);
  const rows: Row[] = [];
  const byKey = new Map<bigint, Row[]>();
  let ts = 0n;
  while (rows.length < rowCount) {
    ts++;
    const batch = Array.from({ length: Math.min(rowCount - rows.length, 1 + below(rowCount / 3)) }, (_, i): Row => {
      const key = BigInt(keyCount === undefined ? keyOf(rows.length + i) : below(keyCount));
      return { key, pairs: pairsFrom(below, 300, 12), ts, goneAt: null };
    });
    const columns = {
      100: keysOf(
        "int64",
        batch.map(({ key }) => key),
      ),
      [FIELD]: sparseColumnOf(batch.map(({ pairs }) => columnsOf(pairs))),
    };
    segment.append({ rowCount: batch.length, columns }, ts);
    rows.push(...batch);
    for (const row of batch) byKey.set(row.key, [...(byKey.get(row.key) ?? []), row]);
    ts++;
    for (let i = below(rowCount / deletes); i > 0; i--) {
      const { key } = rows[below(rows.length)]!;
      segment.delete(keysOf("int64", [key]), 0, ts);
      for (const row of byKey.get(key)!) row.goneAt ??= ts;
    }
  }
  return { segment, rows, maxTs: ts, below };
}

const isVisible = (row: Row, { readTs, expiredTs = 0n }: Snapshot) =>
  row.ts <= readTs && row.ts >= expiredTs && (row.goneAt === null || row.goneAt > readTs);

function allowedOf({ segment, rows }: Fixture, snapshot: Snapshot, isWanted: (row: number) => boolean): AllowedChunk[] {
  return segment.chunks.map((chunk) => {
    const bits: Bitset = newBitset(chunk.batch.rowCount);
    for (let i = 0; i < chunk.batch.rowCount; i++) {
      const row = chunk.firstRow + i;
      if (isVisible(rows[row]!, snapshot) && isWanted(row)) setBit(bits, i);
    }
    return { chunk, allow: bits };
  });
}

function searchFor(queries: readonly Pairs[], rest: Partial<VectorSearch>): VectorSearch {
  const sorted = queries.map(ascending);
  const offsets = new Uint32Array(queries.length + 1);
  for (let i = 0; i < sorted.length; i++) offsets[i + 1] = offsets[i]! + sorted[i]!.length;
  const flat = sorted.flat();
  const terms = Uint32Array.from(flat, ([term]) => term);
  const values = Float32Array.from(flat, ([, value]) => value);
  return {
    ...{ fieldId: FIELD, metric: "IP", queries: new Float32Array(0), queryCount: queries.length, topK: 10 },
    ...{ sparse: { offsets, terms, values } },
    ...rest,
  };
}

function scoreOf(query: Pairs, { pairs }: Row, bm25: VectorSearch["bm25"]): number {
  const length = [...pairs.values()].reduce((sum, value) => sum + value, 0);
  let score = 0;
  for (const [term, weight] of query) {
    const value = pairs.get(term) ?? 0;
    if (value === 0) continue;
    if (bm25 === undefined) score += weight * value;
    else {
      const { k1, b, averageLength } = bm25;
      score += (weight * value * (k1 + 1)) / (value + k1 * (1 - b + (b * length) / averageLength));
    }
  }
  return score;
}

/** Best first: of all rows that may be found, one a key. */
function naive(rows: readonly Row[], query: Pairs, search: VectorSearch, isAllowed: (row: number) => boolean) {
  const best = new Map<bigint, { row: number; score: number }>();
  for (let row = 0; row < rows.length; row++) {
    if (!isAllowed(row)) continue;
    const score = Math.fround(scoreOf(query, rows[row]!, search.bm25));
    const before = best.get(rows[row]!.key);
    if (score > 0 && (before === undefined || score >= before.score)) best.set(rows[row]!.key, { row, score });
  }
  return [...best.values()].sort((a, b) => b.score - a.score || a.row - b.row).slice(0, search.topK);
}

function check(
  hits: SearchHits,
  rows: readonly Row[],
  queries: readonly Pairs[],
  search: VectorSearch,
  isAllowed: (row: number) => boolean,
) {
  let at = 0;
  queries.forEach((query, q) => {
    const wanted = naive(rows, query, search, isAllowed);
    const count = hits.counts[q]!;
    const found = Array.from({ length: count }, (_, i) => ({
      row: hits.refs.row[at + i]!,
      score: hits.distances[at + i]!,
    }));
    expect(found.map(({ score }) => score)).toEqual(wanted.map(({ score }) => score));
    for (const { row, score } of found) {
      expect(isAllowed(row)).toBe(true);
      expect(Math.fround(scoreOf(query, rows[row]!, search.bm25))).toBe(score);
    }
    const keys = found.map((_, i) => keyAt(hits.keys, at + i));
    expect(new Set(keys).size).toBe(count);
    if (rows.every((row, i) => row.key === BigInt(i))) expect(found).toEqual(wanted);
    at += count;
  });
  expect(at).toBe(hits.distances.length);
}

const BM25 = { k1: 1.2, b: 0.75, averageLength: 11.5 };

const SHAPES = [
  { what: "fresh rows", rowCount: 700, isSealed: false },
  { what: "a growing segment of several chunks", rowCount: 17_000, isSealed: false },
  { what: "a sealed segment", rowCount: 9_000, isSealed: true },
  { what: "a segment with repeated keys", rowCount: 9_000, keyCount: 800, isSealed: true },
];

describe.each(SHAPES)("$what", ({ isSealed, ...shape }) => {
  test.each([
    { metric: "IP" as const, bm25: undefined },
    { metric: "BM25" as const, bm25: BM25 },
    { metric: "BM25" as const, bm25: { k1: 0, b: 0, averageLength: 3 } },
    { metric: "BM25" as const, bm25: { k1: 3, b: 1, averageLength: 40 } },
  ])("the best rows by $metric $bm25 are those that looking at every row finds", async ({ metric, bm25 }) => {
    const fixture = buildFixture({ ...shape, seed: 11 });
    const { segment, rows, maxTs, below } = fixture;
    const sparse = new SparseSegment(segment);
    if (isSealed) await sparse.indexWhole(FIELD, systemClock);
    for (let round = 0; round < 5; round++) {
      const snapshot = { readTs: maxTs - BigInt(round % 3), expiredTs: round === 4 ? 2n : 0n };
      const every = [1, 1, 3, 1, 700][round % 5]!;
      const isWanted = (row: number) => row % every === 0;
      const allowed = allowedOf(fixture, snapshot, isWanted);
      if (!isSealed && round > 2) await sparse.indexFullChunks(FIELD, systemClock);
      const queries = Array.from({ length: 2 }, () => pairsFrom(below, 300, 1 + round * 4));
      const search = searchFor(queries, { metric, bm25, topK: [1, 10, 100, 1000][round % 4]! });
      const hits = await sparse.search(search, allowed, TOOLS);
      check(hits, rows, queries, search, (row) => isVisible(rows[row]!, snapshot) && isWanted(row));
    }
  });

  test("the statistics are those of the rows that the read sees, in whatever order reads come", async () => {
    const fixture = buildFixture({ ...shape, seed: 12, deletes: 3 });
    const { segment, rows, maxTs, below } = fixture;
    const sparse = new SparseSegment(segment);
    if (isSealed) await sparse.indexWhole(FIELD, systemClock);
    const checks: Promise<void>[] = [];
    for (let round = 0; round < 6; round++) {
      if (!isSealed && round === 2) await sparse.indexFullChunks(FIELD, systemClock);
      const snapshot = { readTs: maxTs - BigInt(below(5)), expiredTs: round === 3 ? 3n : 0n };
      const terms = Uint32Array.from(ascending(pairsFrom(below, 300, 20)), ([term]) => term);
      const visible = rows.filter((row) => isVisible(row, snapshot));
      const wanted = {
        rowCount: visible.length,
        totalLength: visible.reduce((sum, { pairs }) => sum + [...pairs.values()].reduce((a, b) => a + b, 0), 0),
        counts: Float64Array.from(terms, (term) => visible.filter(({ pairs }) => pairs.has(term)).length),
      };
      const check = sparse.statistics(FIELD, terms, snapshot, TOOLS).then((found) => expect(found).toEqual(wanted));
      checks.push(check);
      if (round % 2 === 0) await check;
    }
    await Promise.all(checks);
  });
});

test("rows that come while a read is under way are not in it", async () => {
  const { segment, rows, below } = buildFixture({ rowCount: 8_000, seed: 3, deletes: 1e9 });
  const sparse = new SparseSegment(segment);
  const before = segment.chunks.map((chunk) => ({ chunk, allow: null }));
  const late = Array.from({ length: 1_000 }, () => pairsFrom(below, 300, 12));
  const keys = keysOf(
    "int64",
    late.map((_, i) => BigInt(8_000 + i)),
  );
  segment.append({ rowCount: 1_000, columns: { 100: keys, [FIELD]: sparseColumnOf(late.map(columnsOf)) } }, 1_000n);
  await sparse.indexFullChunks(FIELD, systemClock);
  const queries = [pairsFrom(below, 300, 30)];
  const search = searchFor(queries, { topK: 100 });
  check(await sparse.search(search, before, TOOLS), rows, queries, search, () => true);
});

test("a read at an earlier time and then one at a later time count what each sees", async () => {
  const { segment, rows, maxTs } = buildFixture({ rowCount: 3_000, seed: 4, deletes: 1e9 });
  const sparse = new SparseSegment(segment);
  await sparse.indexWhole(FIELD, systemClock);
  for (const readTs of [1n, maxTs, 3n, maxTs]) {
    const visible = rows.filter((row) => isVisible(row, { readTs }));
    const { rowCount, counts } = await sparse.statistics(FIELD, Uint32Array.of(0), { readTs }, TOOLS);
    expect({ rowCount, count: counts[0] }).toEqual({
      rowCount: visible.length,
      count: visible.filter(({ pairs }) => pairs.has(0)).length,
    });
  }
});

test.each([
  { what: "IP", bm25: undefined },
  { what: "BM25", bm25: BM25 },
])("of rows that differ by little in $what none is left out for another", async ({ bm25 }) => {
  const segment = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
  // The best rows are a hair better than all others, and are seen last.
  const rows = Array.from({ length: 9_000 }, (_, i): Row => {
    const isBetter = i % 900 === 899;
    const [value, rest] = bm25 === undefined ? [isBetter ? 2.001 : 2, 1] : [2, isBetter ? 9.99 : 10];
    return {
      key: BigInt(i),
      pairs: new Map([
        [1, Math.fround(value)],
        [2, 1],
        [3, Math.fround(rest)],
      ]),
      ts: 1n,
      goneAt: null,
    };
  });
  const columns = {
    100: keysOf(
      "int64",
      rows.map(({ key }) => key),
    ),
    [FIELD]: sparseColumnOf(rows.map(({ pairs }) => columnsOf(pairs))),
  };
  segment.append({ rowCount: rows.length, columns }, 1n);
  const sparse = new SparseSegment(segment);
  await sparse.indexWhole(FIELD, systemClock);
  const allowed = segment.chunks.map((chunk) => ({ chunk, allow: null }));
  const queries: Pairs[] = [
    new Map([[1, 1]]),
    new Map([
      [1, 1],
      [2, 0.5],
    ]),
  ];
  const search = searchFor(queries, { metric: bm25 === undefined ? "IP" : "BM25", bm25 });
  check(await sparse.search(search, allowed, TOOLS), rows, queries, search, () => true);
});

test.each([
  { where: "in fresh rows", rowCount: 3_000, isSealed: false },
  { where: "in a sealed segment", rowCount: 9_000, isSealed: true },
])("of rows with equal scores those with the smaller keys are found, $where", async ({ rowCount, isSealed }) => {
  const { segment, rows } = buildFixture({ rowCount, seed: 8, isShuffled: true, deletes: 1e9 });
  const sparse = new SparseSegment(segment);
  if (isSealed) await sparse.indexWhole(FIELD, systemClock);
  const allowed = segment.chunks.map((chunk) => ({ chunk, allow: null }));
  for (const topK of [1, 7, 50, 400]) {
    const query: Pairs = new Map([[0, 1]]);
    const hits = await sparse.search(searchFor([query], { topK }), allowed, TOOLS);
    const wanted = rows
      .map((row) => ({ key: row.key, score: scoreOf(query, row, undefined) }))
      .filter(({ score }) => score > 0)
      .sort((a, b) => b.score - a.score || Number(a.key - b.key))
      .slice(0, topK);
    expect(Array.from(hits.distances, (_, i) => keyAt(hits.keys, i))).toEqual(wanted.map(({ key }) => Number(key)));
  }
});

test("the smallest values of a query are left out, as many as the ratio says", async () => {
  const fixture = buildFixture({ rowCount: 2_000, seed: 5 });
  const sparse = new SparseSegment(fixture.segment);
  const terms = [0, 1, 2, 3].map((term) => (term * 0x9e3779b1) >>> 0);
  const query: Pairs = new Map([
    [terms[0]!, 0.1],
    [terms[1]!, 5],
    [terms[2]!, 0.2],
    [terms[3]!, 4],
  ]);
  const kept: Pairs = new Map([
    [terms[1]!, 5],
    [terms[3]!, 4],
  ]);
  const snapshot = { readTs: fixture.maxTs };
  const allowed = allowedOf(fixture, snapshot, () => true);
  const hits = await sparse.search(searchFor([query], { dropRatio: 0.5 }), allowed, TOOLS);
  check(hits, fixture.rows, [kept], searchFor([kept], {}), (row) => isVisible(fixture.rows[row]!, snapshot));
});

test("a query without terms, or of terms that no row has, finds nothing", async () => {
  const fixture = buildFixture({ rowCount: 9_000, seed: 6 });
  const sparse = new SparseSegment(fixture.segment);
  await sparse.indexFullChunks(FIELD, systemClock);
  const allowed = allowedOf(fixture, { readTs: fixture.maxTs }, () => true);
  const hits = await sparse.search(searchFor([new Map(), new Map([[4_000_000_001, 2]])], {}), allowed, TOOLS);
  expect(Array.from(hits.counts)).toEqual([0, 0]);
});

test("a search ends at its deadline", async () => {
  const fixture = buildFixture({ rowCount: 9_000, seed: 7 });
  const sparse = new SparseSegment(fixture.segment);
  const allowed = allowedOf(fixture, { readTs: fixture.maxTs }, () => true);
  const search = searchFor([pairsFrom(fixture.below, 300, 10)], {});
  const over = { clock: systemClock, deadline: systemClock.monotonic() - 1 };
  await expect(sparse.search(search, allowed, over)).rejects.toMatchObject({ kind: "deadline_exceeded" });
});

test("finds no rows whose score is less than a float32 can say", async () => {
  const segment = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
  const tiny = { terms: [7], values: [1e-30] };
  const columns = {
    100: keysOf("int64", [1n, 2n, 3n]),
    [FIELD]: sparseColumnOf([tiny, { terms: [8], values: [1] }, tiny]),
  };
  segment.append({ rowCount: 3, columns }, 1n);
  const sparse = new SparseSegment(segment);
  const search: VectorSearch = {
    ...{ fieldId: FIELD, metric: "IP", queries: new Float32Array(0), queryCount: 1, topK: 1 },
    sparse: { offsets: Uint32Array.of(0, 1), terms: Uint32Array.of(7), values: Float32Array.of(1e-30) },
  };
  const chunks = segment.chunks.map((chunk) => ({ chunk, allow: null }));
  for (const range of [{}, { radius: -1 }]) {
    expect((await sparse.search({ ...search, ...range }, chunks, TOOLS)).counts).toEqual(Uint32Array.of(0));
  }
  await sparse.indexWhole(FIELD, systemClock);
  for (const range of [{}, { radius: -1 }]) {
    expect((await sparse.search({ ...search, ...range }, chunks, TOOLS)).counts).toEqual(Uint32Array.of(0));
  }
});

test("finds the place of a term among many", () => {
  const terms = Uint32Array.from({ length: 100 }, (_, i) => 3 * i);
  for (let from = 0; from < 100; from += 7) {
    for (let term = 0; term < 310; term++) {
      expect(placeOf(terms, term, from)).toBe(Math.max(from, Math.min(100, Math.ceil(term / 3))));
    }
  }
});
