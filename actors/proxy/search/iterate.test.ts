import fc from "fast-check";
import { expect, test } from "vitest";
import { endOfBatch } from "./iterate.ts";

const ROUNDING = 0.5;

/** Sorted distances, many of them equal or nearly so. */
const distances = fc
  .array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 60 })
  .map((tenths) => Float32Array.from(tenths.sort((a, b) => a - b).map((tenth) => tenth / 4)));

test("a batch ends where what follows it is known to be further", () => {
  fc.assert(
    fc.property(distances, fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 }), (all, batchSize, topK) => {
      const found = all.subarray(0, topK);
      const isCut = found.length === topK;
      const { end, isGap } = endOfBatch({ distances: found, isCut }, batchSize, () => ROUNDING);
      expect(end).toBeGreaterThan(0);
      if (!isCut && end === all.length) return;
      // All of it is equally far: a wider search must tell where that ends.
      if (isCut && end === found.length) expect(found[0]).toBe(found.at(-1));
      else if (isGap) expect(all[end]! - all[end - 1]!).toBeGreaterThan(ROUNDING);
      else expect(all[end]).toBeGreaterThan(all[end - 1]!);
      if (end > batchSize) expect(found[0]).toBe(found[end - 1]);
    }),
    { numRuns: 2_000 },
  );
});
