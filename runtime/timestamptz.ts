/**
 * Timestamptz values: microseconds since 1970 in UTC, ISO 8601 text outside. Text without an offset is local to a time
 * zone (IANA name); years are 1 to 9999. Intervals are ISO 8601 durations: months are of the calendar, days are 24 hours.
 */

const DAY_US = 86_400_000_000n;

const TIMESTAMP =
  /^(\d{4})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*([Zz]|[+-]\d{2}(?::?\d{2})?)?$/;

/** Microseconds of a timestamp's text; undefined when it is none. Digits beyond microseconds are cut off. */
export function parseTimestamptz(text: string, zone = "UTC"): bigint | undefined {
  const parts = TIMESTAMP.exec(text.trim());
  if (parts === null) return undefined;
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part) => Number(part ?? 0)) as number[];
  if (year === 0 || hour! > 23 || minute! > 59 || second! > 59) return undefined;
  const ms = utcMs(year!, month! - 1, day!) + ((hour! * 60 + minute!) * 60 + second!) * 1_000;
  const isDate = new Date(ms).getUTCMonth() === month! - 1 && new Date(ms).getUTCDate() === day;
  if (!isDate) return undefined;
  const offset = parts[8] === undefined ? zoneOffsetMs(ms, zone) : offsetMs(parts[8]);
  if (offset === undefined) return undefined;
  return BigInt(ms - offset) * 1_000n + BigInt((parts[7] ?? "").padEnd(6, "0").slice(0, 6));
}

/** ISO 8601 text in the zone: `2025-01-02T03:04:05.123456+08:00`, `Z` for UTC; the fraction only where there is one. */
export function formatTimestamptz(us: bigint, zone = "UTC"): string {
  const { seconds, micros } = secondsOf(us);
  const fraction = micros === 0 ? "" : String(micros).padStart(6, "0").replace(/0+$/, "");
  const ms = seconds * 1_000;
  // Offsets of seconds, as there were once, have no text: the minute next to one tells the same moment.
  const own = isUtc(zone) ? 0 : Math.round(localOffsetMs(ms, zone) / 60_000) * 60_000;
  const year = new Date(ms + own).getUTCFullYear();
  // Local time may be in a year of five digits, or in none.
  const isShown = !isUtc(zone) && year >= 1 && year <= 9999;
  const text = new Date(ms + (isShown ? own : 0)).toISOString().slice(0, 19);
  return `${text}${fraction === "" ? "" : `.${fraction}`}${isShown ? offsetText(own) : "Z"}`;
}

/** Whole seconds, rounded down, and what is left. */
function secondsOf(us: bigint): { seconds: number; micros: number } {
  const exact = Number(us);
  if (Number.isSafeInteger(exact)) {
    const seconds = Math.floor(exact / 1_000_000);
    return { seconds, micros: exact - seconds * 1_000_000 };
  }
  const seconds = floorDivide(us, 1_000_000n);
  return { seconds: Number(seconds), micros: Number(us - seconds * 1_000_000n) };
}

/** Whether the runtime knows the IANA name. */
export function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

export interface Interval {
  /** Years count as 12. */
  months: number;
  us: number | bigint;
}

const DURATION =
  /^([+-])?P(?!$)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?!$)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,](\d{1,6}))?S)?)?$/i;

/** An ISO 8601 duration, such as `P1Y2M`, `P1DT2H` or `-PT0.5S`; undefined when the text is none. */
export function parseInterval(text: string): Interval | undefined {
  const parts = DURATION.exec(text.trim());
  if (parts === null || parts.slice(2, 9).some((part) => (part?.length ?? 0) > 9)) return undefined;
  const [years, months, weeks, days, hours, minutes, seconds] = parts.slice(2, 9).map((part) => BigInt(part ?? 0));
  const sign = parts[1] === "-" ? -1n : 1n;
  const clock = (hours! * 3_600n + minutes! * 60n + seconds!) * 1_000_000n;
  const fraction = BigInt((parts[9] ?? "").padEnd(6, "0"));
  const us = sign * ((weeks! * 7n + days!) * DAY_US + clock + fraction);
  return { months: Number(sign * (years! * 12n + months!)), us: Number.isSafeInteger(Number(us)) ? Number(us) : us };
}

/** Months first (a day that the month does not have becomes its last one), then the rest. In UTC. */
export function addInterval(us: bigint, { months, us: rest }: Interval): bigint {
  if (months === 0) return us + BigInt(rest);
  const days = floorDivide(us, DAY_US);
  const date = new Date(Number(days) * 86_400_000);
  const month = date.getUTCFullYear() * 12 + date.getUTCMonth() + months;
  const year = Math.floor(month / 12);
  const lastDay = new Date(utcMs(year, (((month % 12) + 12) % 12) + 1, 0)).getUTCDate();
  const moved = utcMs(year, ((month % 12) + 12) % 12, Math.min(date.getUTCDate(), lastDay));
  // Beyond what a Date holds nothing compares as equal or less any more.
  if (!Number.isFinite(moved)) return months > 0 ? 2n ** 62n : -(2n ** 62n);
  return BigInt(moved) * 1_000n + (us - days * DAY_US) + BigInt(rest);
}

/** Date.UTC takes years below 100 for those of the last century. */
function utcMs(year: number, month: number, day: number): number {
  return new Date(0).setUTCFullYear(year, month, day);
}

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value < 0n && quotient * by !== value ? quotient - 1n : quotient;
}

function offsetMs(text: string): number | undefined {
  if (text === "Z" || text === "z") return 0;
  const digits = text.slice(1).replace(":", "");
  const [hours, minutes] = [Number(digits.slice(0, 2)), Number(digits.slice(2) || 0)];
  if (hours > 18 || minutes > 59) return undefined;
  return (text.startsWith("-") ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

function offsetText(offset: number): string {
  const minutes = Math.abs(Math.round(offset / 60_000));
  const two = (value: number) => String(value).padStart(2, "0");
  return `${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

function isUtc(zone: string): boolean {
  return zone === "UTC" || zone === "";
}

/** How far local time is ahead of UTC where the local clock shows `localMs`; undefined: no such zone. */
function zoneOffsetMs(localMs: number, zone: string): number | undefined {
  if (isUtc(zone)) return 0;
  if (!isTimeZone(zone)) return undefined;
  // The offset at a first guess may be that of the other side of a change of clocks.
  return localOffsetMs(localMs - localOffsetMs(localMs, zone), zone);
}

const formats = new Map<string, Intl.DateTimeFormat>();
const FORMATS_MAX = 64;

/** Asking for an offset costs tens of microseconds; rows that are read together are often of the same hours. */
const offsets = new Map<string, number>();
const OFFSETS_MAX = 4_096;
const QUARTER_MS = 15 * 60_000;
/** From then on clocks have changed at full quarters of an hour only. */
const QUARTERS_SINCE_MS = Date.UTC(1973, 0, 1);

function localOffsetMs(utc: number, zone: string): number {
  if (utc < QUARTERS_SINCE_MS) return askedOffsetMs(utc, zone);
  const quarter = Math.floor(utc / QUARTER_MS);
  const key = `${zone} ${quarter}`;
  let offset = offsets.get(key);
  if (offset === undefined) {
    offset = askedOffsetMs(quarter * QUARTER_MS, zone);
    if (offsets.size >= OFFSETS_MAX) offsets.clear();
    offsets.set(key, offset);
  }
  return offset;
}

function askedOffsetMs(utc: number, zone: string): number {
  let format = formats.get(zone);
  if (format === undefined) {
    if (formats.size >= FORMATS_MAX) formats.clear();
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      era: "short",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formats.set(zone, format);
  }
  const part: Record<string, string> = {};
  for (const { type, value } of format.formatToParts(utc)) part[type] = value;
  const year = part.era === "BC" ? 1 - Number(part.year) : Number(part.year);
  const local = utcMs(year, Number(part.month) - 1, Number(part.day));
  const clock = (Number(part.hour) * 60 + Number(part.minute)) * 60 + Number(part.second);
  return local + clock * 1_000 - Math.floor(utc / 1_000) * 1_000;
}
