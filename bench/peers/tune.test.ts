import { describe, expect, it } from "vitest";
import { EFFORTS, smallestEffort } from "./tune.ts";

describe("the smallest effort", () => {
  it("is the first that reaches the recall, wherever that is", async () => {
    for (const wanted of EFFORTS) {
      expect(await smallestEffort(0.95, async (effort) => (effort >= wanted ? 0.95 : 0.9))).toBe(wanted);
    }
  });

  it("is the largest when none reaches it", async () => {
    expect(await smallestEffort(0.95, async () => 0.5)).toBe(EFFORTS.at(-1));
  });

  it("costs few trials", async () => {
    let trials = 0;
    await smallestEffort(0.95, async (effort) => {
      trials++;
      return effort >= 64 ? 1 : 0;
    });
    expect(trials).toBeLessThan(10);
  });

  it("has efforts in order, none twice", () => {
    expect([...new Set(EFFORTS)].toSorted((a, b) => a - b)).toEqual([...EFFORTS]);
    expect([EFFORTS[0], EFFORTS.at(-1)]).toEqual([10, 1000]);
  });
});
