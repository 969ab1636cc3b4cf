/** Rows without a vector are found by no search, whatever else may be found. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { createTurnScanner } from "../ann/turn-scanner.ts";
import type { VectorSearch } from "../protocol/values.ts";
import { bitsetRows } from "../segment/bitset.ts";
import { keyAt, keysOf } from "../segment/keys.ts";
import { presentRows } from "../segment/present-rows.ts";
import { Segment } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf, KEY_FIELD } from "../testing/column-rows.ts";
import { allowedChunks, scanAllowed } from "./scan-segment.ts";
import { segmentRows } from "./segment-rows.ts";

const DIMENSION = 3;
const FIELDS = [
  KEY_FIELD,
  { fieldId: 101, name: "vec", type: "FloatVector", dimension: DIMENSION },
  { fieldId: 102, name: "bytes", type: "Int8Vector", dimension: DIMENSION },
] as const;

const TOOLS = { scanner: createTurnScanner(systemClock), clock: systemClock, deadline: Number.POSITIVE_INFINITY };
const READ = { readTs: 1n << 60n, filter: null, clock: systemClock };

const component = fc.integer({ min: -3, max: 3 });
const vector = fc.tuple(component, component, component);
const row = fc.record({
  vec: fc.option(vector, { freq: 2 }),
  bytes: fc.option(vector, { freq: 2 }),
  isDeleted: fc.boolean(),
});

function distance(metric: "L2" | "IP" | "COSINE", a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  if (metric === "L2") return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0);
  if (metric === "IP") return dot(a, b);
  const lengths = Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}

test("an exact search finds the nearest of the rows that have a vector and are there", async () => {
  // The second batch may lack the field, as rows do that are older than it.
  const batches = fc.array(fc.tuple(fc.array(row, { minLength: 1, maxLength: 40 }), fc.boolean()), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(
      batches,
      vector,
      fc.constantFrom("L2", "IP", "COSINE" as const),
      fc.constantFrom("vec", "bytes" as const),
      async (lists, query, metric, name) => {
        const segment = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
        const all: { vector: number[] | null; isDeleted: boolean }[] = [];
        for (const [i, [rows, lacksField]] of lists.entries()) {
          const cells = rows.map(({ vec, bytes }, at) => ({
            100: BigInt(all.length + at),
            101: vec,
            102: bytes?.map((value) => value & 0xff) ?? null,
          }));
          const batch = batchOf(FIELDS, cells);
          if (lacksField) delete batch.columns[name === "vec" ? 101 : 102];
          segment.append(batch, BigInt(i));
          all.push(...rows.map((one) => ({ vector: lacksField ? null : one[name], isDeleted: one.isDeleted })));
        }
        all.forEach(({ isDeleted }, key) => {
          if (isDeleted) segment.delete(keysOf("int64", [key]), 0, 1n << 40n);
        });
        const fieldId = name === "vec" ? 101 : 102;
        const search: VectorSearch = {
          ...{ fieldId, metric, queryCount: 1, topK: 12 },
          queries: name === "vec" ? Float32Array.from(query) : Uint8Array.from(query),
          ...(name === "vec" ? {} : { vectorType: "Int8Vector" as const }),
        };
        const hits = await scanAllowed(segment, search, TOOLS, await allowedChunks(segment, READ));
        const sign = metric === "L2" ? 1 : -1;
        const expected = all
          .flatMap(({ vector, isDeleted }) => (vector === null || isDeleted ? [] : [distance(metric, query, vector)]))
          .sort((a, b) => sign * (a - b))
          .slice(0, search.topK);
        expect(hits.distances.length).toBe(expected.length);
        hits.distances.forEach((found, i) => {
          expect(found).toBeCloseTo(expected[i]!, 4);
        });
        for (let i = 0; i < hits.distances.length; i++) expect(all[Number(keyAt(hits.keys, i))]!.vector).not.toBeNull();

        // An index of the field holds the rows that have one: what may be found of them is said in its own numbers.
        const present = presentRows(segment.chunks, fieldId);
        const withVector = all.filter((one) => one.vector !== null);
        expect(present?.count ?? all.length).toBe(withVector.length);
        if (present === undefined) return;
        const narrowed = await segmentRows(segment, READ, { fieldId, present });
        const expectedRows = withVector.flatMap(({ isDeleted }, at) => (isDeleted ? [] : [at]));
        const found = narrowed === null ? withVector.map((_, at) => at) : Array.from(bitsetRows(narrowed.bits));
        expect(found).toEqual(expectedRows);
        expect(narrowed?.count ?? found.length).toBe(found.length);
      },
    ),
    { numRuns: 120 },
  );
});
