import { describe, expect, it } from "vitest";
import { VdbError } from "./errors.ts";
import { Scope } from "./scope.ts";

interface Failures {
  scope: Scope;
  failures: { task: string; error: unknown }[];
}

function newScope(): Failures {
  const failures: Failures["failures"] = [];
  return { scope: new Scope((task, error) => failures.push({ task, error })), failures };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

describe("Scope", () => {
  it("disposes in reverse order, one after the other, after its tasks have ended", async () => {
    const { scope } = newScope();
    const order: string[] = [];
    scope.defer(() => void order.push("first"));
    scope.use({
      async [Symbol.asyncDispose]() {
        order.push("second begins");
        await Promise.resolve();
        order.push("second ends");
      },
    });
    scope.use({ [Symbol.dispose]: () => void order.push("third") });
    scope.spawn("task", async (signal) => {
      await aborted(signal);
      order.push("task");
    });
    await scope.close();
    expect(order).toEqual(["task", "third", "second begins", "second ends", "first"]);
  });

  it("is told of a task that fails, by name, and goes on", async () => {
    const { scope, failures } = newScope();
    const error = new Error("broken");
    scope.spawn("reader", () => Promise.reject(error));
    scope.spawn("thrower", () => {
      throw error;
    });
    await scope.close();
    expect(failures).toHaveLength(2);
    expect(failures).toContainEqual({ task: "reader", error });
    expect(failures).toContainEqual({ task: "thrower", error });
  });

  it("is not told of tasks that end because it closes", async () => {
    const { scope, failures } = newScope();
    scope.spawn("waiter", async (signal) => {
      await aborted(signal);
      throw new VdbError("canceled", "stopped while waiting");
    });
    scope.spawn("fetcher", async (signal) => {
      await aborted(signal);
      signal.throwIfAborted();
    });
    await scope.close();
    expect(failures).toEqual([]);
  });

  it("is told of a task that fails on another account while it closes, and of a cancellation that it did not ask for", async () => {
    const { scope, failures } = newScope();
    const canceled = new VdbError("canceled", "somebody else stopped");
    scope.spawn("early", () => Promise.reject(canceled));
    scope.spawn("late", async (signal) => {
      await aborted(signal);
      throw new Error("disk full");
    });
    await Promise.resolve();
    await Promise.resolve();
    await scope.close();
    expect(failures.map(({ task }) => task)).toEqual(["early", "late"]);
  });

  it("tries all disposals and rejects with the first failure", async () => {
    const { scope } = newScope();
    const order: string[] = [];
    scope.defer(() => void order.push("first"));
    scope.defer(() => {
      throw new Error("from the second");
    });
    scope.defer(() => Promise.reject(new Error("from the third")));
    await expect(scope.close()).rejects.toThrow("from the third");
    expect(order).toEqual(["first"]);
  });

  it("closes once: again is nothing", async () => {
    const { scope } = newScope();
    let disposals = 0;
    scope.defer(() => void disposals++);
    await Promise.all([scope.close(), scope.close()]);
    await scope.close();
    expect(disposals).toBe(1);
    expect(scope.signal.aborted).toBe(true);
  });
});
