/**
 * Whether a reply is what a scenario expects. Objects: every key that is given must match, others may be there. Lists:
 * item by item, of equal length. A string with a `$` key of an object says more than equality: see README.md.
 */
import { isDeepStrictEqual } from "node:util";

type Matcher = (actual: unknown, wanted: unknown, path: string) => string | null;

const APPROXIMATELY = 1e-4;

/** What is wrong, with its path; null: nothing. */
export function mismatch(actual: unknown, expected: unknown, path = "reply"): string | null {
  if (typeof expected !== "object" || expected === null) {
    return sameScalar(actual, expected) ? null : `${path}: expected ${show(expected)}, got ${show(actual)}`;
  }
  if (Array.isArray(expected)) return listMismatch(actual, expected, path);
  const wanted = expected as Record<string, unknown>;
  const special = Object.keys(wanted).filter((key) => key.startsWith("$"));
  if (special.length > 0) {
    for (const key of Object.keys(wanted)) {
      // What it does not know would hold for everything.
      if (!Object.hasOwn(MATCHERS, key)) throw new Error(`${path}: ${key} beside or instead of a matcher`);
      const problem = MATCHERS[key]!(actual, wanted[key], path);
      if (problem !== null) return problem;
    }
    return null;
  }
  if (typeof actual !== "object" || actual === null || Array.isArray(actual)) {
    return `${path}: expected an object, got ${show(actual)}`;
  }
  for (const [key, value] of Object.entries(wanted)) {
    const problem = mismatch((actual as Record<string, unknown>)[key], value, `${path}.${key}`);
    if (problem !== null) return problem;
  }
  return null;
}

const MATCHERS: Record<string, Matcher> = {
  $approx: (actual, wanted, path) => {
    const isClose =
      typeof actual === "number" &&
      Math.abs(actual - Number(wanted)) <= APPROXIMATELY * Math.max(1, Math.abs(Number(wanted)));
    return isClose ? null : `${path}: expected about ${show(wanted)}, got ${show(actual)}`;
  },
  $contains: (actual, wanted, path) =>
    typeof actual === "string" && actual.includes(String(wanted))
      ? null
      : `${path}: expected to contain ${show(wanted)}, got ${show(actual)}`,
  $matches: (actual, wanted, path) =>
    typeof actual === "string" && new RegExp(String(wanted), "s").test(actual)
      ? null
      : `${path}: expected to match ${show(wanted)}, got ${show(actual)}`,
  $includes: (actual, wanted, path) => {
    if (!Array.isArray(actual)) return `${path}: expected a list, got ${show(actual)}`;
    const missing = (wanted as unknown[]).find((item) => actual.every((other) => mismatch(other, item) !== null));
    return missing === undefined ? null : `${path}: expected to include ${show(missing)}, got ${show(actual)}`;
  },
  $excludes: (actual, wanted, path) => {
    if (!Array.isArray(actual)) return `${path}: expected a list, got ${show(actual)}`;
    const found = (wanted as unknown[]).find((item) => actual.some((other) => mismatch(other, item) === null));
    return found === undefined ? null : `${path}: expected not to include ${show(found)}, got ${show(actual)}`;
  },
  $unordered: (actual, wanted, path) => {
    const items = wanted as unknown[];
    if (!Array.isArray(actual) || actual.length !== items.length) {
      return `${path}: expected ${items.length} items in any order, got ${show(actual)}`;
    }
    const left = [...(actual as unknown[])];
    for (const item of items) {
      const at = left.findIndex((other) => mismatch(other, item) === null);
      if (at < 0) return `${path}: expected to have ${show(item)}, got ${show(actual)}`;
      left.splice(at, 1);
    }
    return null;
  },
  $each: (actual, wanted, path) => {
    // Of nothing everything is true.
    if (!Array.isArray(actual) || actual.length === 0) return `${path}: expected a list of some, got ${show(actual)}`;
    for (const [i, item] of actual.entries()) {
      const problem = mismatch(item, wanted, `${path}[${i}]`);
      if (problem !== null) return problem;
    }
    return null;
  },
  $length: (actual, wanted, path) => {
    const length = (actual as { length?: number } | null | undefined)?.length;
    return length === wanted
      ? null
      : `${path}: expected length ${show(wanted)}, got ${show(length)} of ${show(actual)}`;
  },
  $gte: (actual, wanted, path) =>
    isNumeric(actual) && actual >= Number(wanted)
      ? null
      : `${path}: expected at least ${show(wanted)}, got ${show(actual)}`,
  $lte: (actual, wanted, path) =>
    isNumeric(actual) && actual <= Number(wanted)
      ? null
      : `${path}: expected at most ${show(wanted)}, got ${show(actual)}`,
  $not: (actual, wanted, path) =>
    actual === undefined || mismatch(actual, wanted) === null
      ? `${path}: expected not to match ${show(wanted)}, got ${show(actual)}`
      : null,
  $exactly: (actual, wanted, path) =>
    isDeepStrictEqual(actual, wanted) ? null : `${path}: expected exactly ${show(wanted)}, got ${show(actual)}`,
  $absent: (actual, wanted, path) =>
    (actual === undefined) === wanted
      ? null
      : `${path}: expected ${wanted === true ? "none" : "one"}, got ${show(actual)}`,
};

function listMismatch(actual: unknown, expected: readonly unknown[], path: string): string | null {
  if (!Array.isArray(actual) || actual.length !== expected.length) {
    return `${path}: expected ${expected.length} items ${show(expected)}, got ${show(actual)}`;
  }
  for (const [i, item] of expected.entries()) {
    const problem = mismatch(actual[i], item, `${path}[${i}]`);
    if (problem !== null) return problem;
  }
  return null;
}

function isNumeric(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

/** Numbers and bigints of one value are the same: which of them it is depends on the encoding. */
function sameScalar(actual: unknown, expected: unknown): boolean {
  if (isNumeric(actual) && isNumeric(expected) && typeof actual !== typeof expected)
    return String(actual) === String(expected);
  return Object.is(actual, expected) || (actual === 0 && expected === 0);
}

function show(value: unknown): string {
  const text = JSON.stringify(value, (_, item: unknown) => (typeof item === "bigint" ? `${item}n` : item));
  return text === undefined ? "undefined" : text.length > 600 ? `${text.slice(0, 600)}…` : text;
}
