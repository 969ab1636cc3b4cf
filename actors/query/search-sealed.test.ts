import { expect, test } from "vitest";
import type { SearchEngine } from "../../runtime/ann/engine.ts";
import type { EngineIndexType } from "../../runtime/ann/index-params.ts";
import { createTurnScanner } from "../../runtime/ann/turn-scanner.ts";
import type { VectorSearch } from "../../runtime/protocol/values.ts";
import { buildSegment, DIMENSION, groupFilter } from "../../runtime/search/segment-fixture.ts";
import { hasBit } from "../../runtime/segment/bitset.ts";
import { keyAt } from "../../runtime/segment/keys.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import type { LoadedSegment } from "./loaded-segments.ts";
import { searchSealed } from "./search-sealed.ts";

/** What an index says that is off by a little. */
const OFF = 0.25;

async function distancesOf(type: EngineIndexType, isExact: boolean): Promise<number[]> {
  const { segment, maxTs } = buildSegment({ rowCount: 50, keyKind: "int64", seed: 1, keyCount: 1_000 });
  const search: VectorSearch = {
    ...{ fieldId: 101, metric: "L2", queries: new Float32Array(DIMENSION), queryCount: 1, topK: 3, isExact },
  };
  const engine = createTurnScanner(systemClock) as unknown as SearchEngine;
  const index = {
    ...{ hasFilter: true, spec: { type, params: {} } },
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

/** An index that finds what is nearest, of rows equally far those written first. */
function nearestFirst(distances: Float32Array, type: EngineIndexType) {
  const order = Array.from(distances.keys()).sort((a, b) => distances[a]! - distances[b]!);
  return {
    ...{ hasFilter: true, spec: { type, params: {} } },
    search: (_: Float32Array, k: number, __: object, { allow }: { allow?: Uint32Array }) => {
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
