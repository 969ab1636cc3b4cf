import { expect, test } from "vitest";
import type { ExactScan, SearchEngine } from "../../runtime/ann/engine.ts";
import type { EngineIndexType } from "../../runtime/ann/index-params.ts";
import { createTurnScanner } from "../../runtime/ann/turn-scanner.ts";
import type { VectorSearch } from "../../runtime/protocol/values.ts";
import { buildSegment, DIMENSION, groupFilter } from "../../runtime/search/segment-fixture.ts";
import { hasBit, newBitset, setBit } from "../../runtime/segment/bitset.ts";
import type { DenseVectorColumn } from "../../runtime/segment/column.ts";
import { keyAt } from "../../runtime/segment/keys.ts";
import { presentRows } from "../../runtime/segment/present-rows.ts";
import { Segment } from "../../runtime/segment/segment.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import type { Engines } from "./loaded-index.ts";
import type { LoadedSegment } from "./loaded-segments.ts";
import { searchSealed } from "./search-sealed.ts";

/** What an index says that is off by a little. */
const OFF = 0.25;

async function distancesOf(type: EngineIndexType, isExact: boolean, metric = "L2"): Promise<number[]> {
  const { segment, maxTs } = buildSegment({ rowCount: 50, keyKind: "int64", seed: 1, keyCount: 1_000 });
  const search: VectorSearch = {
    ...{ fieldId: 101, metric: "L2", queries: new Float32Array(DIMENSION), queryCount: 1, topK: 3, isExact },
  };
  const engine = createTurnScanner(systemClock) as unknown as SearchEngine;
  const index = {
    ...{ hasFilter: true, metric, spec: { type, params: {} }, rowCount: segment.rowCount },
    search: (_: Float32Array, k: number) =>
      Promise.resolve({ rows: Int32Array.from({ length: k }, (_, i) => i), distances: new Float32Array(k).fill(OFF) }),
  };
  const loaded = { segment, indexes: new Map([[101, index]]), vectors: new Map() } as unknown as LoadedSegment;
  const tools = { engine, clock: systemClock, deadline: Number.POSITIVE_INFINITY };
  const { distances } = await searchSealed(tools, loaded, { search, filter: null, readTs: maxTs });
  return Array.from(distances);
}

test.each(["IVF_SQ8", "IVF_PQ"] as const)("exact distances are not those of an index of %s", async (type) => {
  expect(await distancesOf(type, false)).toEqual([OFF, OFF, OFF]);
  for (const distance of await distancesOf(type, true)) expect(distance % 1).toBe(0);
});

test.each(["HNSW", "IVF_FLAT"] as const)("an index of %s has the vectors as they are", async (type) => {
  expect(await distancesOf(type, true)).toEqual([OFF, OFF, OFF]);
});

test("an index of another metric is not searched", async () => {
  for (const distance of await distancesOf("HNSW", false, "COSINE")) expect(distance % 1).toBe(0);
});

/** An index that finds what is nearest, of rows equally far those written first. */
function nearestFirst(distances: Float32Array, type: EngineIndexType) {
  const order = Array.from(distances.keys()).sort((a, b) => distances[a]! - distances[b]!);
  return {
    ...{ hasFilter: true, metric: "L2", spec: { type, params: {} }, rowCount: distances.length },
    search: (_: Float32Array, k: number, __: object, { allow }: { allow?: Uint32Array } = {}) => {
      const found = order.filter((row) => allow === undefined || hasBit(allow, row)).slice(0, k);
      const rows = new Int32Array(k).fill(-1);
      rows.set(found);
      return Promise.resolve({ rows, distances: Float32Array.from(rows, (row) => distances[row] ?? 0) });
    },
  };
}

test.each(["FLAT", "HNSW"] as const)(
  "of rows equally far an index of %s gives those of the smallest keys, as a scan does",
  async (type) => {
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const fixture = buildSegment({ rowCount: 40, keyKind: "int64", seed, keyCount: seed % 2 === 0 ? 30 : 100_000 });
      const { segment, rows, maxTs } = fixture;
      const distances = Float32Array.from(rows, ({ vector }) => vector.reduce((sum, x) => sum + x * x, 0));
      const engine = createTurnScanner(systemClock) as unknown as SearchEngine;
      const tools = { engine, clock: systemClock, deadline: Number.POSITIVE_INFINITY };
      for (let topK = 1; topK <= 12; topK++) {
        for (const filter of [null, groupFilter(fixture, [1, 3, 5, 7])]) {
          const search: VectorSearch = {
            ...{ fieldId: 101, metric: "L2", queries: new Float32Array(DIMENSION), queryCount: 1, topK },
          };
          const found: unknown[] = [];
          for (const indexes of [new Map(), new Map([[101, nearestFirst(distances, type)]])]) {
            const loaded = { segment, indexes, vectors: new Map() } as unknown as LoadedSegment;
            const hits = await searchSealed(tools, loaded, { search, filter, readTs: maxTs });
            found.push(Array.from(hits.distances, (distance, i) => [distance, keyAt(hits.keys, i)]));
          }
          expect(found[1]).toEqual(found[0]);
        }
      }
    }
  },
);

test.each([true, false])(
  "an index of the rows that have a vector gives what a scan gives (the engine has filters: %s)",
  async (hasFilter) => {
    for (const seed of [1, 2, 3, 4]) {
      const fixture = buildSegment({ rowCount: 200, keyKind: "int64", seed, keyCount: seed % 2 === 0 ? 50 : 100_000 });
      const { rows, maxTs } = fixture;
      const segment = withNulls(fixture.segment, (row) => row % 3 === seed % 3);
      const indexed = { fieldId: 101, present: presentRows(segment.chunks, 101)! };
      const inIndex = rows.filter((_, row) => row % 3 !== seed % 3);
      const distances = Float32Array.from(inIndex, ({ vector }) => vector.reduce((sum, x) => sum + x * x, 0));
      const index = { ...nearestFirst(distances, "HNSW"), hasFilter, indexed };
      const engine = createTurnScanner(systemClock) as unknown as SearchEngine;
      const tools = { engine, clock: systemClock, deadline: Number.POSITIVE_INFINITY };
      for (const topK of [1, 5, 40, 200]) {
        for (const filter of [null, groupFilter(fixture, [1, 3, 5, 7]), groupFilter(fixture, [2])]) {
          const search: VectorSearch = {
            ...{ fieldId: 101, metric: "L2", queries: new Float32Array(DIMENSION), queryCount: 1, topK },
          };
          const found: unknown[] = [];
          for (const indexes of [new Map(), new Map([[101, index]])]) {
            const loaded = { segment, indexes, vectors: new Map() } as unknown as LoadedSegment;
            const hits = await searchSealed(tools, loaded, { search, filter, readTs: maxTs });
            for (const row of hits.refs.row) expect(row % 3).not.toBe(seed % 3);
            found.push(Array.from(hits.distances));
          }
          expect(found[1]).toEqual(found[0]);
        }
      }
    }
  },
);

test("vectors that move to memory while a search looks for its rows are read by who may read the mapped ones", async () => {
  const { segment, maxTs } = buildSegment({ rowCount: 20, keyKind: "int64", seed: 1, keyCount: 1_000 });
  const scanner = createTurnScanner(systemClock);
  const asked: string[] = [];
  const engineOf = (name: string) => ({
    scanExact(scan: ExactScan) {
      asked.push(name);
      return scanner.scanExact(scan);
    },
  });
  const engines = { engine: engineOf("memory"), mappedEngine: engineOf("mapped") } as unknown as Engines;
  const tools = { ...engines, clock: systemClock, deadline: Number.POSITIVE_INFINITY };
  const vectors = { isMapped: true };
  const loaded = { segment, indexes: new Map(), vectors: new Map([[101, vectors]]) } as unknown as LoadedSegment;
  const search: VectorSearch = {
    ...{ fieldId: 101, metric: "L2", queries: new Float32Array(DIMENSION), queryCount: 1, topK: 3 },
  };
  const found = searchSealed(tools, loaded, { search, filter: null, readTs: maxTs });
  vectors.isMapped = false;
  await found;
  expect(new Set(asked)).toEqual(new Set(["mapped"]));
});

/** The same rows and deletes, without the vectors of some. */
function withNulls(segment: Segment, isNull: (row: number) => boolean): Segment {
  const copy = new Segment({ ...segment, rowsExpected: segment.rowCount });
  for (const { batch, timestamps, firstRow } of segment.chunks) {
    const column = batch.columns[101] as DenseVectorColumn;
    const valid = newBitset(batch.rowCount);
    for (let row = 0; row < batch.rowCount; row++) if (!isNull(firstRow + row)) setBit(valid, row);
    copy.appendChunk({ ...batch, columns: { ...batch.columns, 101: { ...column, valid } } }, timestamps);
  }
  const { rows, timestamps } = segment.deletedRows();
  rows.forEach((row, i) => {
    copy.deleteRow(row, timestamps[i]!);
  });
  return copy;
}
