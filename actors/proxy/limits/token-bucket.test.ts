import { describe, expect, it } from "vitest";
import { TokenBucket } from "./token-bucket.ts";

describe("a rate", () => {
  it("lets through what a second gives, then one at a time as tokens come", () => {
    const bucket = new TokenBucket(10, 0);
    for (let i = 0; i < 10; i++) expect(bucket.take(1, 10, 0)).toBe(0);
    const waitMs = bucket.take(1, 10, 0);
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(101);
    expect(bucket.take(1, 10, waitMs)).toBe(0);
    expect(bucket.take(1, 10, waitMs + 1)).toBeGreaterThan(0);
  });

  it("lets through one request that is larger, and makes those after it wait for as long as it took", () => {
    const bucket = new TokenBucket(2, 0);
    expect(bucket.take(10, 2, 0)).toBe(0);
    const waitMs = bucket.take(1, 2, 0);
    expect(waitMs).toBeGreaterThanOrEqual(4_000);
    expect(bucket.take(1, 2, waitMs - 2)).toBeGreaterThan(0);
    expect(bucket.take(1, 2, waitMs)).toBe(0);
  });

  it("gathers no more than a second's while nobody asks", () => {
    const bucket = new TokenBucket(5, 0);
    let through = 0;
    while (bucket.take(1, 5, 3_600_000) === 0) through++;
    expect(through).toBe(5);
  });

  it("below one a second lets through one now and then", () => {
    const bucket = new TokenBucket(0.1, 0);
    expect(bucket.take(1, 0.1, 0)).toBe(0);
    expect(bucket.take(1, 0.1, 100)).toBeGreaterThan(0);
    expect(bucket.take(1, 0.1, 10_001)).toBe(0);
    expect(bucket.take(1, 0.1, 10_002)).toBeGreaterThan(0);
  });

  it("of nothing lets nothing through, ever", () => {
    const bucket = new TokenBucket(0, 0);
    expect(bucket.take(1, 0, 1_000_000)).toBe(Number.POSITIVE_INFINITY);
  });

  it("keeps over time what it says, whatever the requests", () => {
    const bucket = new TokenBucket(100, 0);
    let now = 0;
    let taken = 0;
    for (let i = 1; now < 60_000; i++) {
      const count = 1 + ((i * 37) % 90);
      const waitMs = bucket.take(count, 100, now);
      if (waitMs === 0) taken += count;
      now += Math.max(1, waitMs);
    }
    // Beside the rate, what it had gathered at first, and the debt of the last.
    expect(taken).toBeLessThanOrEqual(100 * 60 + 100 + 90);
    expect(taken).toBeGreaterThan(100 * 60 * 0.9);
  });
});
