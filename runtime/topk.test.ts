import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TopK } from "./topk.ts";

/** What TopK must equal: sort everything, keep k. */
function bySorting(pairs: readonly [number, number][], k: number, descending: boolean): [number, number][] {
  const float32 = pairs.map(([distance, row]) => [Math.fround(distance), row] as [number, number]);
  float32.sort((a, b) => (descending ? b[0] - a[0] : a[0] - b[0]) || a[1] - b[1]);
  return float32.slice(0, k);
}

function drainPairs(top: TopK): [number, number][] {
  const { rows, distances } = top.drain();
  return Array.from(rows, (row, i) => [distances[i]!, row] as [number, number]);
}

describe("TopK", () => {
  // Few distinct distances, so that ties are the rule.
  const pairs = fc.uniqueArray(fc.nat(500), { maxLength: 200 }).chain((rows) =>
    fc.tuple(
      ...rows.map((row) =>
        fc.tuple(
          fc.integer({ min: -6, max: 6 }).map((x) => x / 3),
          fc.constant(row),
        ),
      ),
    ),
  );

  it("keeps what sorting everything would keep, ties by row, in both directions", () => {
    fc.assert(
      fc.property(pairs, fc.integer({ min: 1, max: 40 }), fc.boolean(), (all, k, descending) => {
        const top = new TopK(k, descending);
        for (const [distance, row] of all) top.push(distance, row);
        expect(drainPairs(top)).toEqual(bySorting(all, k, descending).map(([d, r]) => [d + 0, r]));
      }),
    );
  });

  it("says the distance to beat: none while it is not full, then that of its worst row", () => {
    fc.assert(
      fc.property(pairs, fc.integer({ min: 1, max: 40 }), fc.boolean(), (all, k, descending) => {
        const top = new TopK(k, descending);
        for (const [i, [distance, row]] of all.entries()) {
          top.push(distance, row);
          const kept = bySorting(all.slice(0, i + 1), k, descending);
          if (kept.length < k) expect(top.worst()).toBe(descending ? -Infinity : Infinity);
          else expect(top.worst()).toBeCloseTo(kept[k - 1]![0], 6);
        }
      }),
    );
  });

  it("is empty and usable again after drain", () => {
    const top = new TopK(2, false);
    top.push(3, 1);
    top.drain();
    expect(top.size).toBe(0);
    top.push(5, 7);
    expect(drainPairs(top)).toEqual([[5, 7]]);
  });

  it("ranks an overflowed (NaN) distance last, in both directions", () => {
    for (const descending of [false, true]) {
      const top = new TopK(2, descending);
      for (const [distance, row] of [
        [Number.NaN, 0],
        [1, 1],
        [2, 2],
      ] as const)
        top.push(distance, row);
      expect(top.drain().rows.sort()).toEqual(Int32Array.of(1, 2));
    }
  });

  it("keeps nothing when k is zero", () => {
    const top = new TopK(0, false);
    top.push(1, 1);
    expect(top.size).toBe(0);
    expect(top.worst()).toBe(-Infinity);
  });
});
