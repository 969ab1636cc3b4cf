import { describe, expect, it } from "vitest";
import { createLogger } from "./logger.ts";
import { stopWithin } from "./stop-within.ts";
import { ManualClock } from "./testing/manual-clock.ts";

const logger = createLogger({ level: "silent" });
const never = () => new Promise<void>(() => undefined);
const atOnce = () => Promise.resolve();

/** When it had stopped, in milliseconds; undefined when it had not by the end of its time. */
async function stoppedAfter(ms: number, stop: Parameters<typeof stopWithin>[1]): Promise<number | undefined> {
  const clock = new ManualClock();
  let stoppedAt: number | undefined;
  void stopWithin(ms, stop, { clock, logger }).then(() => {
    stoppedAt = clock.monotonic();
  });
  await clock.advance(ms);
  return stoppedAt;
}

describe("a stop", () => {
  it("takes no longer than it needs", async () => {
    expect(await stoppedAfter(10_000, { drain: atOnce, close: atOnce })).toBe(0);
  });

  it.each([100, 1_000, 10_000])("of at most %i ms ends before them, whatever hangs", async (ms) => {
    for (const stop of [
      { drain: never, close: atOnce },
      { drain: atOnce, close: never },
      { drain: never, close: never },
    ]) {
      expect(await stoppedAfter(ms, stop)).toBeLessThan(ms);
    }
  });

  it("gives most of its time to draining", async () => {
    const clock = new ManualClock();
    let isClosing = false;
    const close = async () => {
      isClosing = true;
    };
    void stopWithin(10_000, { drain: never, close }, { clock, logger });
    await clock.advance(7_500);
    expect(isClosing).toBe(false);
  });
});
