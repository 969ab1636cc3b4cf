import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { timestampOfMs } from "../../runtime/timestamps.ts";
import { RequestWindow } from "./request-window.ts";

/** How many requests a window must remember at least; half of what it does, so that its size may change. */
const REMEMBERED = 4096;

function windowOf(ids: readonly string[], firstSeq = 1): RequestWindow {
  const window = new RequestWindow();
  ids.forEach((id, i) => {
    window.add(id, { ts: BigInt(firstSeq + i) << 30n, seq: firstSeq + i });
  });
  return window;
}

describe("RequestWindow", () => {
  it("answers a request that it has seen as it was answered, and no other", () => {
    const window = windowOf(["a", "b"]);
    expect(window.get("b")).toEqual({ ts: 2n << 30n, seq: 2 });
    expect(window.get("c")).toBeUndefined();
  });

  it("knows the next owner's requests and those of an object, whichever came first", () => {
    const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { maxLength: 30 });
    fc.assert(
      fc.property(ids, fc.nat(30), fc.nat(30), (all, a, b) => {
        // An earlier owner saw the first part; replay begins somewhere in it, or after it.
        const end = Math.min(all.length, a);
        const from = Math.min(end, b);
        const stored = windowOf(all.slice(0, end)).toBytes();
        const window = windowOf(all.slice(from), from + 1);
        window.prepend(stored);
        expect(window.size).toBe(all.length);
        all.forEach((id, i) => {
          expect(window.get(id)).toEqual({ ts: BigInt(i + 1) << 30n, seq: i + 1 });
        });
      }),
    );
  });

  it("is bounded, and forgets the oldest first, also after it took over an object", () => {
    const total = 3 * REMEMBERED;
    const ids = Array.from({ length: total }, (_, i) => `request-${i}`);
    const whole = windowOf(ids);
    const joined = windowOf(ids.slice(total / 2));
    joined.prepend(windowOf(ids.slice(0, total / 2)).toBytes());
    for (const window of [whole, joined]) {
      expect(window.size).toBeLessThan(total);
      const known = ids.map((id) => window.get(id) !== undefined);
      expect(known.lastIndexOf(false)).toBe(total - window.size - 1);
      expect(known.slice(-REMEMBERED).every(Boolean)).toBe(true);
    }
  });

  it("remembers a busy minute, and what is older as far as it is among the newest", () => {
    const window = new RequestWindow();
    const add = (id: string, ms: number) => window.add(id, { ts: timestampOfMs(ms), seq: ms });
    // A thousand a second.
    for (let ms = 0; ms < 20_000; ms++) add(`a${ms}`, ms);
    expect(window.size).toBe(20_000);
    for (let i = 0; i < 2_000; i++) add(`later${i}`, 79_500);
    expect(window.get("a5000")).toBeUndefined();
    expect(window.get("a19000")).toBeDefined();
    expect(window.size).toBeGreaterThan(REMEMBERED);
    // As many as can be at one time.
    for (let i = 0; i < 100_000; i++) add(`b${i}`, 80_000);
    expect(window.size).toBeGreaterThanOrEqual(30_000);
    expect(window.size).toBeLessThan(50_000);
    expect(window.get("b99999")).toBeDefined();
  });

  it("keeps small and large timestamps exact through its bytes", () => {
    const window = new RequestWindow();
    window.add("small", { ts: 7n, seq: 1 });
    window.add("large", { ts: 2n ** 62n + 1n, seq: 2 });
    const read = new RequestWindow();
    read.prepend(window.toBytes());
    expect([read.get("small"), read.get("large")]).toEqual([
      { ts: 7n, seq: 1 },
      { ts: 2n ** 62n + 1n, seq: 2 },
    ]);
  });
});
