import { expect, test } from "vitest";
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
  expect(await Promise.all(asked.map((each) => areRelatedInThread(each, systemClock)))).toEqual([true, false, true]);
});

test("a pair that takes too long is refused, and those behind it are asked of another thread", async () => {
  const impatient = { ...systemClock, timer: (_: number, fn: () => void) => systemClock.timer(0, fn) };
  const refused = { code: 1100, message: expect.stringContaining("cross too often") };
  const zigzag = (isUp: boolean) =>
    Array.from({ length: 4_000 }, (_, i) => (isUp ? `${i} ${(i % 2) * 4_000}` : `${(i % 2) * 4_000} ${i}`)).join(", ");
  const long = { ...request, row: `LINESTRING (${zigzag(true)})`, other: `LINESTRING (${zigzag(false)})` };
  const asked = [areRelatedInThread(long, impatient), areRelatedInThread(request, systemClock)];
  await expect(asked[0]).rejects.toMatchObject(refused);
  expect(await asked[1]).toBe(true);
  expect(await areRelatedInThread(request, systemClock)).toBe(true);
});
