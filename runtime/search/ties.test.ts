import fc from "fast-check";
import { expect, test } from "vitest";
import { createTurnScanner } from "../ann/turn-scanner.ts";
import type { VectorSearch } from "../protocol/values.ts";
import { keyAt } from "../segment/keys.ts";
import { Segment } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf } from "../testing/column-rows.ts";
import { allowedChunks, scanAllowed } from "./scan-segment.ts";
import { buildSegment } from "./segment-fixture.ts";

const TOOLS = { scanner: createTurnScanner(systemClock), clock: systemClock, deadline: Number.POSITIVE_INFINITY };

test("of rows equally far those of the smallest keys are found, wherever the limit cuts", async () => {
  const { schema } = buildSegment({ rowCount: 1, keyKind: "int64", seed: 1, keyCount: 1 });
  const keys = fc.uniqueArray(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(
      keys,
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 4 }),
      async (ids, topK, rings) => {
        const segment = new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
        const rows = ids.map((id, i) => ({ id, ring: i % rings }));
        const cells = rows.map(({ id, ring }) => ({ 100: BigInt(id), 101: [ring, 0, 0, 0, 0], 102: 0 }));
        segment.append(batchOf(schema.fields, cells), 1n);
        const search: VectorSearch = {
          ...{ fieldId: 101, metric: "L2", queries: new Float32Array(5), queryCount: 1, topK },
        };
        const allowed = await allowedChunks(segment, { readTs: 1n, filter: null, clock: systemClock });
        const hits = await scanAllowed(segment, search, TOOLS, allowed);
        const wanted = rows.sort((a, b) => a.ring - b.ring || a.id - b.id).slice(0, topK);
        expect(Array.from(hits.distances.keys(), (i) => Number(keyAt(hits.keys, i)))).toEqual(
          wanted.map(({ id }) => id),
        );
      },
    ),
    { numRuns: 100 },
  );
});
