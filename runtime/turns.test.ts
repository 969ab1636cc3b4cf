import { describe, expect, it } from "vitest";
import { ManualClock } from "./testing/manual-clock.ts";
import { takeTurn, WholeTurns } from "./turns.ts";

/** A clock on which a piece of work takes a millisecond. */
class WorkClock extends ManualClock {
  #workedMs = 0;

  override monotonic(): number {
    return super.monotonic() + this.#workedMs;
  }

  work(): void {
    this.#workedMs++;
  }
}

describe("WholeTurns", () => {
  it("uses a turn up before the next in line has theirs", async () => {
    const clock = new WorkClock();
    const order: string[] = [];
    const work = async (name: string, pieces: number, turn: () => Promise<void>) => {
      for (let i = 0; i < pieces; i++) {
        await turn();
        clock.work();
        order.push(name);
      }
    };
    const whole = new WholeTurns(clock, 1);
    const scans = ["a", "b"].map((name) => work(name, 6, () => takeTurn(clock)));
    await Promise.all([...scans, work("W", 12, () => whole.take())]);
    expect(order.join("")).toBe("abWWWWabWWWWabWWWWababab");
  });

  it("is due again when as much has been done as a piece has", () => {
    const turns = new WholeTurns(new ManualClock(), 10);
    expect([4, 4, 4, 4, 20, 1].map((work) => turns.isDue(work))).toEqual([true, false, false, true, false, true]);
  });
});
