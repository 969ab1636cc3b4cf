import { expect, test } from "vitest";
import { VdbError } from "../../runtime/errors.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { Rests } from "./rests.ts";

const LOST = new VdbError("node_not_found", "data node d is gone");

test("what never got to its node rests for a moment, and nothing is held against it", async () => {
  const clock = new ManualClock();
  const rests = new Rests(clock, 10_000);
  const unserved = new VdbError("node_not_found", "nobody serves this request", { details: { isUnserved: true } });
  for (let n = 0; n < 3; n++) {
    expect(rests.failed(["a"], unserved)).toBe(false);
    expect(rests.has("a")).toBe(true);
    await clock.advance(1_000);
    expect(rests.has("a")).toBe(false);
  }
  expect(rests.failed(["a"], LOST)).toBe(false);
});

test("what fails rests, and comes again", async () => {
  const clock = new ManualClock();
  const rests = new Rests(clock, 10_000);
  expect(rests.failed(["a", "b"], new Error("no"))).toBe(true);
  expect([rests.has("a"), rests.has("b"), rests.has("c")]).toEqual([true, true, false]);
  await clock.advance(10_000);
  rests.forget();
  expect([rests.has("a"), rests.isEmpty]).toEqual([false, true]);
});

test("what loses its node goes to another at once, and rests when that is lost too", async () => {
  const clock = new ManualClock();
  const rests = new Rests(clock, 10_000);
  expect(rests.failed(["a"], LOST)).toBe(false);
  expect(rests.isEmpty).toBe(true);
  expect(rests.failed(["a", "b"], LOST)).toBe(true);
  await clock.advance(59_000);
  expect([rests.has("a"), rests.has("b")]).toEqual([true, true]);
  await clock.advance(1_000);
  expect(rests.has("a")).toBe(false);
  // One that ended well, or long ago, is chance again.
  rests.done(["a"]);
  expect(rests.failed(["a"], LOST)).toBe(false);
  await clock.advance(600_000);
  expect(rests.failed(["a"], LOST)).toBe(false);
});
