import { expect, test } from "vitest";
import { Stop } from "./stop.ts";

test("calls its listeners once, in order, and none that came too late", () => {
  const stop = new Stop();
  const calls: string[] = [];
  for (const name of ["a", "b"]) stop.addEventListener("abort", () => calls.push(name));
  expect(stop.aborted).toBe(false);
  stop.abort();
  stop.abort();
  stop.addEventListener("abort", () => calls.push("late"));
  expect(stop.aborted).toBe(true);
  expect(calls).toEqual(["a", "b"]);
});

test("does not call a listener that left, not even one that left while it aborts", () => {
  const stop = new Stop();
  const calls: string[] = [];
  const second = () => calls.push("second");
  const third = () => calls.push("third");
  stop.addEventListener("abort", () => stop.removeEventListener("abort", second));
  stop.addEventListener("abort", second);
  stop.addEventListener("abort", third);
  stop.removeEventListener("abort", third);
  stop.abort();
  expect(calls).toEqual([]);
});
