import { describe, expect, test } from "vitest";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { Admission, type Level } from "./admission.ts";

const MAX = 1_000;
const at =
  (bytes: number): (() => Level[]) =>
  () => [
    { what: "rows", bytes, bytesMax: MAX },
    { what: "log", bytes: 0, bytesMax: MAX },
  ];

describe("writes let in", () => {
  test("at once below the soft mark", async () => {
    const admission = new Admission(new ManualClock());
    await admission.admit(10, 1, at(740));
    expect(admission.waitingBytes).toBe(0);
  });

  test("the later, the fuller it is", async () => {
    const delays: number[] = [];
    for (const bytes of [800, 850, 900, 950, 990]) {
      const clock = new ManualClock();
      const admission = new Admission(clock);
      let isIn = false;
      const admitted = admission.admit(10, 10_000, at(bytes)).then(() => {
        isIn = true;
      });
      let ms = 0;
      for (; !isIn; ms += 5) await clock.advance(5);
      await admitted;
      delays.push(ms);
    }
    expect(delays).toEqual([...delays].sort((a, b) => a - b));
    expect(new Set(delays).size).toBe(delays.length);
    expect(delays.at(-1)).toBeLessThanOrEqual(1_000);
  });

  test("not at all at the bound, nor when the delay would pass the deadline", async () => {
    const clock = new ManualClock();
    const admission = new Admission(clock);
    const deadline = clock.monotonic() + 100;
    await expect(admission.admit(10, deadline, at(MAX))).rejects.toMatchObject({
      kind: "rate_limited",
      retriable: true,
    });
    await expect(admission.admit(10, deadline, at(990))).rejects.toMatchObject({ kind: "rate_limited" });
    await expect(admission.admit(65 << 20, deadline + 10_000, at(900))).rejects.toMatchObject({ kind: "rate_limited" });
  });

  test("not when it has become full while they were slowed", async () => {
    const clock = new ManualClock();
    const admission = new Admission(clock);
    let bytes = 900;
    const admitted = admission.admit(10, clock.monotonic() + 10_000, () => at(bytes)());
    const refused = expect(admitted).rejects.toMatchObject({ kind: "rate_limited" });
    expect(admission.waitingBytes).toBe(10);
    bytes = MAX;
    await clock.advance(1_000);
    await refused;
    expect(admission.waitingBytes).toBe(0);
  });
});
