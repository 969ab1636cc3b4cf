import { describe, expect, it } from "vitest";
import { z } from "zod";
import { askForJob } from "./ask-node.ts";
import type { AskOptions, Bus } from "./bus/bus.ts";
import { VdbError } from "./errors.ts";
import { NodeRegistry } from "./node-registry.ts";
import { operation } from "./protocol/operation.ts";
import { ManualClock } from "./testing/manual-clock.ts";

const HOUR_MS = 3_600_000;
const job = operation("data.{nodeId}.job", {
  request: z.string(),
  reply: z.string(),
  timeoutMs: HOUR_MS,
  idempotent: true,
});

/** Asks on a bus that does with each ask what it is told to; gives what comes of it, and when each was asked. */
function ask(answer: (attempt: number) => "lost" | Promise<string>, earlyMs = 0) {
  const clock = new ManualClock();
  const asked: number[] = [];
  const bus = {
    ask: async (_operation: unknown, _params: unknown, _request: unknown, { deadline }: AskOptions) => {
      asked.push(clock.monotonic());
      const answered = answer(asked.length);
      if (answered !== "lost") return answered;
      await clock.sleep(deadline! - clock.monotonic() - earlyMs);
      throw new VdbError("deadline_exceeded", "no answer");
    },
  } as unknown as Bus;
  const ctx = { bus, clock, nodes: new NodeRegistry() };
  const answered = askForJob(ctx, { role: "data", nodeId: "n" }, new AbortController().signal, job, "request");
  answered.catch(() => undefined);
  return { clock, asked, answered };
}

describe("an ask for a job", () => {
  it("is repeated when the request or its answer is lost, each time after twice as long", async () => {
    const { clock, asked, answered } = ask((attempt) => (attempt < 4 ? "lost" : Promise.resolve("done")));
    await clock.advance(HOUR_MS);
    expect(await answered).toBe("done");
    expect(asked).toEqual([0, 15_000, 45_000, 105_000]);
  });

  it("is repeated also when the timer of its deadline rings a little early", async () => {
    const { clock, asked, answered } = ask((attempt) => (attempt < 3 ? "lost" : Promise.resolve("done")), 1);
    await clock.advance(HOUR_MS);
    expect(await answered).toBe("done");
    expect(asked).toHaveLength(3);
  });

  it("ends with the operation's time limit", async () => {
    const { clock, asked, answered } = ask(() => "lost");
    await clock.advance(2 * HOUR_MS);
    await expect(answered).rejects.toMatchObject({ kind: "deadline_exceeded" });
    expect(asked.every((at) => at < HOUR_MS)).toBe(true);
    expect(asked).toHaveLength(8);
  });

  it("is not repeated when the job itself says no, also for want of time", async () => {
    for (const kind of ["corrupt", "deadline_exceeded"] as const) {
      const { asked, answered } = ask(() => Promise.reject(new VdbError(kind, "no")));
      await expect(answered).rejects.toMatchObject({ kind });
      expect(asked).toEqual([0]);
    }
  });
});
