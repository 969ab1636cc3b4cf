import { expect, test } from "vitest";
import type { Clock } from "../clock.ts";
import { Stop } from "../stop.ts";
import { systemClock } from "../system-clock.ts";
import { areRelatedInThread } from "./relate-thread.ts";

const request = {
  relation: "within",
  row: "LINESTRING (1 1, 2 2)",
  other: "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))",
} as const;

test("pairs are answered in order", async () => {
  const asked = [
    request,
    { ...request, relation: "touches" as const },
    { ...request, row: "GEOMETRYCOLLECTION (POINT (3 3))" },
  ];
  expect(await Promise.all(asked.map((each) => areRelatedInThread(each, { clock: systemClock })))).toEqual([
    true,
    false,
    true,
  ]);
});

test("a pair that takes too long is refused, and those behind it are asked of another thread", async () => {
  const impatient = { ...systemClock, timer: (_: number, fn: () => void) => systemClock.timer(0, fn) };
  const refused = { code: 1100, message: expect.stringContaining("cross too often") };
  const zigzag = (isUp: boolean) =>
    Array.from({ length: 4_000 }, (_, i) => (isUp ? `${i} ${(i % 2) * 4_000}` : `${(i % 2) * 4_000} ${i}`)).join(", ");
  const long = { ...request, row: `LINESTRING (${zigzag(true)})`, other: `LINESTRING (${zigzag(false)})` };
  const asked = [areRelatedInThread(long, { clock: impatient }), areRelatedInThread(request, { clock: systemClock })];
  await expect(asked[0]).rejects.toMatchObject(refused);
  expect(await asked[1]).toBe(true);
  expect(await areRelatedInThread(request, { clock: systemClock })).toBe(true);
});

test("a pair that nobody waits for any more is given up, and those behind it are not held up by it", async () => {
  let now = 0;
  const timers: { ms: number; fn: () => void }[] = [];
  const timer = (ms: number, fn: () => void) => {
    timers.push({ ms, fn });
    return { [Symbol.dispose]: () => undefined };
  };
  const clock: Clock = { ...systemClock, monotonic: () => now, timer };
  const stop = new Stop();
  const late = areRelatedInThread(request, { clock, deadline: clock.monotonic() + 50 });
  const unwanted = areRelatedInThread(request, { clock, signal: stop });
  const stopped = areRelatedInThread(request, { clock, stopped: stop });
  const wanted = areRelatedInThread(request, { clock });
  const refused = Promise.all([
    expect(unwanted).rejects.toMatchObject({ code: 10000 }),
    expect(stopped).rejects.toMatchObject({ code: 2, retriable: true }),
    expect(late).rejects.toMatchObject({ code: 10001 }),
  ]);
  // In this turn of the event loop still, so before the thread can have answered.
  stop.abort();
  now = 51;
  for (const { ms, fn } of timers) if (ms <= now) fn();
  await refused;
  expect(await wanted).toBe(true);
});
