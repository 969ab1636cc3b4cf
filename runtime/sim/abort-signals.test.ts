import { setMaxListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { PLAIN_ABORT } from "./abort-signals.ts";
import { Scheduler } from "./scheduler.ts";

const plain = PLAIN_ABORT as unknown as Pick<typeof globalThis, "AbortController" | "AbortSignal">;

describe.each([
  ["Node", { AbortController, AbortSignal }],
  ["a simulated run", plain],
])("the abort signals of %s", (_, { AbortController, AbortSignal }) => {
  /** A listener for each name, which says that it was called. */
  const recorder = () => {
    const called: string[] = [];
    return { called, as: (name: string) => () => void called.push(name) };
  };

  test("call their listeners once, at once, in order, but for those that have left", () => {
    const { called, as } = recorder();
    const controller = new AbortController();
    const gone = as("gone");
    const listened = as("a");
    controller.signal.addEventListener("abort", listened, { once: true });
    controller.signal.addEventListener("abort", listened, { once: true });
    controller.signal.addEventListener("abort", gone, { once: true });
    controller.signal.addEventListener("abort", as("b"), { once: true });
    controller.signal.removeEventListener("abort", gone);
    controller.abort();
    expect(called).toEqual(["a", "b"]);
    controller.abort();
    controller.signal.addEventListener("abort", as("late"), { once: true });
    expect(called).toEqual(["a", "b"]);
  });

  test("do not call a listener that another one has taken away", () => {
    const { called, as } = recorder();
    const controller = new AbortController();
    const second = as("second");
    controller.signal.addEventListener("abort", () => controller.signal.removeEventListener("abort", second));
    controller.signal.addEventListener("abort", second);
    controller.abort();
    expect(called).toEqual([]);
  });

  test("say why: what was given, else an AbortError", () => {
    const given = new AbortController();
    given.abort("over");
    expect(given.signal.reason).toBe("over");
    const plainly = new AbortController();
    expect(plainly.signal.reason).toBeUndefined();
    plainly.signal.throwIfAborted();
    plainly.abort();
    expect((plainly.signal.reason as Error).name).toBe("AbortError");
    expect(() => plainly.signal.throwIfAborted()).toThrow(plainly.signal.reason as Error);
    expect(AbortSignal.abort("at once").reason).toBe("at once");
  });

  test("made of several abort with the first of those, also through another made of them", () => {
    const { called, as } = recorder();
    const [a, b] = [new AbortController(), new AbortController()];
    const any = AbortSignal.any([a.signal, AbortSignal.any([b.signal])]);
    any.addEventListener("abort", as("any"), { once: true });
    b.signal.addEventListener("abort", as("b"), { once: true });
    expect(any.aborted).toBe(false);
    b.abort("b");
    expect(any.aborted).toBe(true);
    expect(any.reason).toBe("b");
    expect(called).toEqual(["b", "any"]);
    a.abort("a");
    expect(any.reason).toBe("b");
    expect(called).toEqual(["b", "any"]);
  });

  test("made of one that has aborted have aborted", () => {
    const any = AbortSignal.any([new AbortController().signal, AbortSignal.abort("before")]);
    expect(any.aborted).toBe(true);
    expect(any.reason).toBe("before");
  });

  test("made of several call nobody who has left", () => {
    const { called, as } = recorder();
    const controller = new AbortController();
    const any = AbortSignal.any([controller.signal]);
    const listener = as("left");
    any.addEventListener("abort", listener, { once: true });
    any.removeEventListener("abort", listener);
    any.addEventListener("abort", as("stayed"), { once: true });
    controller.abort();
    expect(called).toEqual(["stayed"]);
  });

  test("may have many listeners", () => {
    setMaxListeners(0, new AbortController().signal);
  });
});

test("a run has them, and leaves the world as it was", async () => {
  const { AbortController: before } = globalThis;
  let during: unknown;
  await new Scheduler(1).run(
    async () => {
      during = AbortController;
    },
    { virtualMs: 1, events: 1 },
  );
  expect(during).toBe(PLAIN_ABORT.AbortController);
  expect(AbortController).toBe(before);
});
