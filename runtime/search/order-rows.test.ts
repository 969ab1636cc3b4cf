import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Clock } from "../clock.ts";
import { systemClock } from "../system-clock.ts";
import { firstRows } from "./order-rows.ts";

describe("firstRows", () => {
  it("gives the first rows of the chunks together, in order", async () => {
    const chunks = fc.array(fc.array(fc.nat(9_999), { maxLength: 900 }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        chunks,
        fc.option(fc.integer({ min: 1, max: 700 })),
        fc.boolean(),
        async (given, limit, isUp) => {
          const values = given.flat();
          let row = 0;
          const numbers = given.map((chunk) => Uint32Array.from(chunk, () => row++));
          const compare = (a: number, b: number) => (isUp ? 1 : -1) * (values[a]! - values[b]!) || a - b;
          const sorted = values.map((_, i) => i).sort(compare);
          expect(Array.from(await firstRows(numbers, compare, limit, systemClock))).toEqual(
            sorted.slice(0, limit ?? undefined),
          );
        },
      ),
      { numRuns: 30 },
    );
  });

  it.each([10, 16_384, null])("holds the loop for few comparisons at a time (limit %s)", async (limit) => {
    let now = 0;
    let held = 0;
    let longest = 0;
    const clock: Clock = {
      ...systemClock,
      // Each look at the clock is a turn later.
      monotonic: () => (now += 10),
      yield: async () => {
        longest = Math.max(longest, held);
        held = 0;
        await Promise.resolve();
      },
    };
    const chunks = [0, 1, 2].map((chunk) => Uint32Array.from({ length: 8192 }, (_, i) => 8192 * chunk + i));
    // The worst there is: each row comes before all that came before it.
    const compare = (a: number, b: number) => {
      held++;
      return b - a;
    };
    const first = await firstRows(chunks, compare, limit, clock);
    expect(first[0]).toBe(3 * 8192 - 1);
    expect(longest).toBeGreaterThan(0);
    expect(longest).toBeLessThan(6_000);
  });
});
