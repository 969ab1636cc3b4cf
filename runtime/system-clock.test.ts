import { expect, test } from "vitest";
import { systemClock } from "./system-clock.ts";

test.each([2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY])("a time limit of %s ms is not over at once", async (ms) => {
  const rung: string[] = [];
  using _long = systemClock.timer(ms, () => rung.push("long"));
  const stop = new AbortController();
  const slept = systemClock.sleep(ms, stop.signal).then(
    () => rung.push("slept"),
    () => rung.push("stopped"),
  );
  await systemClock.sleep(30);
  stop.abort();
  await slept;
  expect(rung).toEqual(["stopped"]);
});
