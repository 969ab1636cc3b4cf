import { describe, expect, it } from "vitest";
import { checkIndexParams } from "./index-params.ts";
import { effortStep, initialEffort, searchEffort } from "./search-effort.ts";

const hnsw = checkIndexParams("HNSW", "L2", 8, {});
const ivf = checkIndexParams("IVF_FLAT", "L2", 8, {});

describe("effortStep", () => {
  it("rounds up to a power of two or half above it", () => {
    expect([1, 2, 3, 4, 5, 7, 9, 13, 16, 17, 25, 64, 65, 100, 128].map(effortStep)).toEqual([
      1, 2, 3, 4, 6, 8, 12, 16, 16, 24, 32, 64, 96, 128, 128,
    ]);
  });
});

describe("searchEffort", () => {
  it("is never below ef or k, nor beyond what the rows can use", () => {
    expect(searchEffort(hnsw, 10_000, { ef: 20 }, 10)).toBe(24);
    expect(searchEffort(hnsw, 10_000, {}, 100)).toBe(128);
    expect(searchEffort(hnsw, 10_000, {}, 3)).toBe(16);
    expect(searchEffort(hnsw, 1_000, { ef: 2 ** 31 - 1 }, 10)).toBe(1024);
    expect(searchEffort(hnsw, 3, { ef: 50 }, 3)).toBe(16);
  });

  it("is nprobe for IVF and nothing for FLAT", () => {
    expect(searchEffort(ivf, 10_000, {}, 100)).toBe(8);
    expect(searchEffort(ivf, 10_000, { nprobe: 5 }, 100)).toBe(6);
    expect(searchEffort({ type: "FLAT", params: {} }, 10, { ef: 5 }, 1)).toBe(0);
    expect([initialEffort(ivf), initialEffort(hnsw), initialEffort({ type: "FLAT", params: {} })]).toEqual([8, 16, 0]);
  });
});
