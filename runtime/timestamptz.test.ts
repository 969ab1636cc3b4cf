import fc from "fast-check";
import { expect, test } from "vitest";
import { addInterval, formatTimestamptz, isTimeZone, parseInterval, parseTimestamptz } from "./timestamptz.ts";

const us = (iso: string) => BigInt(Date.parse(iso)) * 1_000n;

test.each([
  ["2025-01-02T03:04:05Z", us("2025-01-02T03:04:05Z")],
  ["2025-01-02 03:04:05+08:00", us("2025-01-01T19:04:05Z")],
  ["2025-01-02T03:04:05-0330", us("2025-01-02T06:34:05Z")],
  ["2025-01-02T03:04:05+08", us("2025-01-01T19:04:05Z")],
  ["2025-01-02T03:04:05.123456Z", us("2025-01-02T03:04:05Z") + 123_456n],
  ["2025-01-02T03:04", us("2025-01-02T03:04:00Z")],
  ["2025-01-02", us("2025-01-02T00:00:00Z")],
  ["1969-12-31T23:59:59.5Z", -500_000n],
  ["0001-01-01T00:00:00Z", us("0001-01-01T00:00:00Z")],
  ["9999-12-31T23:59:59.999999Z", us("9999-12-31T23:59:59Z") + 999_999n],
])("%s is a timestamp", (text, value) => {
  expect(parseTimestamptz(text)).toBe(value);
});

test.each(["", "now", "2025-13-01", "2025-02-30", "2025-01-01T24:00:00", "0000-01-01", "2025-01-01T00:00:00+99:00"])(
  "'%s' is none",
  (text) => {
    expect(parseTimestamptz(text)).toBeUndefined();
  },
);

test("text without an offset is local to the zone, also in summer", () => {
  expect(parseTimestamptz("2025-01-01T12:00:00", "Asia/Shanghai")).toBe(us("2025-01-01T04:00:00Z"));
  expect(parseTimestamptz("2025-07-01T12:00:00", "Europe/Berlin")).toBe(us("2025-07-01T10:00:00Z"));
  expect(parseTimestamptz("2025-01-01T12:00:00", "Europe/Berlin")).toBe(us("2025-01-01T11:00:00Z"));
  expect(parseTimestamptz("2025-01-01T12:00:00", "Mars/Crater")).toBeUndefined();
  expect(isTimeZone("Mars/Crater")).toBe(false);
});

test("what is written is read back, in any zone", () => {
  const micros = fc.bigInt({ min: us("0001-01-01T00:00:00Z"), max: us("9999-12-31T23:59:59Z") });
  fc.assert(
    fc.property(micros, fc.constantFrom("UTC", "Asia/Kolkata", "America/New_York"), (value, zone) => {
      expect(parseTimestamptz(formatTimestamptz(value, zone))).toBe(value);
    }),
  );
  expect(formatTimestamptz(us("2025-01-01T00:00:00Z"), "Asia/Shanghai")).toBe("2025-01-01T08:00:00+08:00");
  expect(formatTimestamptz(-500_000n)).toBe("1969-12-31T23:59:59.5Z");
  // Shanghai was 8:05:43 ahead; its first hours of the year 10000 and New York's last of the year 0 have no text.
  expect(formatTimestamptz(us("1890-01-01T00:00:00Z"), "Asia/Shanghai")).toBe("1890-01-01T08:06:00+08:06");
  for (const [text, zone] of [
    ["9999-12-31T23:59:59Z", "Asia/Shanghai"],
    ["0001-01-01T00:00:00Z", "America/New_York"],
  ] as const) {
    expect(formatTimestamptz(us(text), zone)).toBe(text);
  }
});

test("intervals are durations: months of the calendar, days of 24 hours", () => {
  expect(parseInterval("P1DT2H")).toEqual({ months: 0, us: 26 * 3_600_000_000 });
  expect(parseInterval("P1Y2M1W")).toEqual({ months: 14, us: 7 * 86_400_000_000 });
  expect(parseInterval("-PT0.5S")).toEqual({ months: 0, us: -500_000 });
  for (const text of ["", "P", "PT", "1D", "P1H", "P1DT"]) expect(parseInterval(text)).toBeUndefined();
  const added = (from: string, interval: string) => formatTimestamptz(addInterval(us(from), parseInterval(interval)!));
  expect(added("2024-01-31T10:00:00Z", "P1M")).toBe("2024-02-29T10:00:00Z");
  expect(added("2025-01-31T10:00:00Z", "P1Y1M")).toBe("2026-02-28T10:00:00Z");
  expect(added("2025-03-31T00:00:00Z", "-P1M")).toBe("2025-02-28T00:00:00Z");
  expect(added("1969-01-15T00:00:01Z", "-P13M")).toBe("1967-12-15T00:00:01Z");
  expect(added("2025-01-01T00:00:00Z", "P1DT1M")).toBe("2025-01-02T00:01:00Z");
});

test("an offset is that of its moment, also next to a change of clocks", () => {
  // New York's clocks went forward on 2025-03-09 at 07:00 UTC, back on 2025-11-02 at 06:00 UTC.
  const shown = (text: string) => formatTimestamptz(parseTimestamptz(text)!, "America/New_York");
  expect(shown("2025-03-09T06:59:59.999999Z")).toBe("2025-03-09T01:59:59.999999-05:00");
  expect(shown("2025-03-09T07:00:00Z")).toBe("2025-03-09T03:00:00-04:00");
  expect(shown("2025-11-02T05:59:59Z")).toBe("2025-11-02T01:59:59-04:00");
  expect(shown("2025-11-02T06:00:00Z")).toBe("2025-11-02T01:00:00-05:00");
});
