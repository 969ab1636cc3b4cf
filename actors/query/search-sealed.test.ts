import { expect, test } from "vitest";
import type { SearchEngine } from "../../runtime/ann/engine.ts";
import type { EngineIndexType } from "../../runtime/ann/index-params.ts";
import { createTurnScanner } from "../../runtime/ann/turn-scanner.ts";
import type { VectorSearch } from "../../runtime/protocol/values.ts";
import { buildSegment, DIMENSION } from "../../runtime/search/segment-fixture.ts";
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
