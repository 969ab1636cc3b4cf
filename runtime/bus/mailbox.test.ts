import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import { Mailbox } from "./mailbox.ts";

/** A task that ends when told to. */
function controlled() {
  let end = () => {};
  let fail = (_: Error) => {};
  const promise = new Promise<void>((resolve, reject) => {
    end = resolve;
    fail = reject;
  });
  return { promise, end, fail };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("Mailbox", () => {
  it("handles at most `concurrency` at once, all of them, in the order of arrival", async () => {
    const cases = fc.record({
      concurrency: fc.integer({ min: 1, max: 4 }),
      turns: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 30 }),
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ concurrency, turns }) => {
        const mailbox = new Mailbox({ concurrency, capacity: 100 });
        const started: number[] = [];
        let running = 0;
        let most = 0;
        const results = turns.map((waits, i) =>
          mailbox.run(async () => {
            started.push(i);
            most = Math.max(most, ++running);
            for (let n = 0; n < waits; n++) await Promise.resolve();
            running--;
            return i * 2;
          }),
        );
        expect(await Promise.all(results)).toEqual(turns.map((_, i) => i * 2));
        expect(started).toEqual(turns.map((_, i) => i));
        expect(most).toBe(Math.min(concurrency, turns.length));
        expect(mailbox.depth).toBe(0);
      }),
    );
  });

  it("refuses what is beyond its capacity at once, and takes more as soon as there is room", async () => {
    const mailbox = new Mailbox({ concurrency: 1, capacity: 2 });
    const task = controlled();
    const taken = [1, 2, 3].map(() => mailbox.run(() => task.promise));
    expect(mailbox.depth).toBe(3);
    let isRun = false;
    await expect(
      mailbox.run(() => {
        isRun = true;
      }),
    ).rejects.toSatisfy((error) => isVdbError(error, "overloaded") && error.retriable);
    expect(isRun).toBe(false);
    task.end();
    await Promise.all(taken);
    expect(await mailbox.run(() => "taken")).toBe("taken");
  });

  it("goes on after a task that fails, thrown or rejected", async () => {
    const mailbox = new Mailbox({ concurrency: 1, capacity: 9 });
    const outcomes = await Promise.allSettled([
      mailbox.run(() => {
        throw new Error("thrown");
      }),
      mailbox.run(() => Promise.reject(new Error("rejected"))),
      mailbox.run(() => "fine"),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
    expect(mailbox.depth).toBe(0);
  });

  it("is idle when nothing runs and nothing waits, not before", async () => {
    const mailbox = new Mailbox({ concurrency: 1, capacity: 9 });
    await mailbox.idle();
    const tasks = [controlled(), controlled()];
    const results = tasks.map(({ promise }) => mailbox.run(() => promise));
    let isIdle = false;
    const idle = mailbox.idle().then(() => {
      isIdle = true;
    });
    tasks[0]!.end();
    await settled();
    expect(isIdle).toBe(false);
    tasks[1]!.fail(new Error("failed, but done"));
    await Promise.allSettled(results);
    await idle;
    expect(isIdle).toBe(true);
  });
});
