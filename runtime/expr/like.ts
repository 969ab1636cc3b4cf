/**
 * LIKE patterns: `%` any run, `_` one character, `\` makes the next character plain; the whole value must match.
 * Matching is on UTF-8 bytes; a plain pattern with `%` only at its ends needs no matcher, only a search.
 */

/** Besides bytes (0 to 255) a general pattern holds these. */
export const ANY_CHARACTER = 256;
const ANY_RUN = 257;

export type LikePattern =
  | { kind: "all" }
  | { kind: "equal" | "prefix" | "suffix" | "infix"; bytes: Uint8Array }
  | { kind: "general"; steps: Uint16Array };

/** The planner has refused patterns that end in a single escape. */
export function compileLike(pattern: string): LikePattern {
  const steps = stepsOf(pattern);
  const first = steps[0] === ANY_RUN ? 1 : 0;
  const last = steps.length > first && steps.at(-1) === ANY_RUN ? steps.length - 1 : steps.length;
  const middle = steps.slice(first, last);
  if (middle.some((step) => step >= ANY_CHARACTER)) return { kind: "general", steps: Uint16Array.from(steps) };
  const opensRun = first === 1;
  const closesRun = last < steps.length;
  if (middle.length === 0 && (opensRun || closesRun)) return { kind: "all" };
  const bytes = Uint8Array.from(middle);
  if (opensRun && closesRun) return { kind: "infix", bytes };
  return { kind: opensRun ? "suffix" : closesRun ? "prefix" : "equal", bytes };
}

/** Bytes and wildcards, runs of `%` as one. */
export function stepsOf(pattern: string): number[] {
  const steps: number[] = [];
  let isEscaped = false;
  for (const character of pattern) {
    if (!isEscaped && character === "\\") {
      isEscaped = true;
      continue;
    }
    if (!isEscaped && character === "%") {
      if (steps.at(-1) !== ANY_RUN) steps.push(ANY_RUN);
    } else if (!isEscaped && character === "_") {
      steps.push(ANY_CHARACTER);
    } else {
      steps.push(...new TextEncoder().encode(character));
    }
    isEscaped = false;
  }
  return steps;
}

/** Greedy with one point of return (the last `%` seen): linear for most patterns, quadratic at worst, never more. */
export function matchesSteps(steps: Uint16Array, bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  let step = 0;
  let runStep = -1;
  let runAt = start;
  while (at < end) {
    const wanted = step < steps.length ? steps[step]! : -1;
    if (wanted === ANY_RUN) {
      runStep = step++;
      runAt = at;
    } else if (wanted === ANY_CHARACTER) {
      at = nextCharacter(bytes, at, end);
      step++;
    } else if (wanted === bytes[at]) {
      at++;
      step++;
    } else {
      if (runStep < 0) return false;
      runAt = nextCharacter(bytes, runAt, end);
      at = runAt;
      step = runStep + 1;
    }
  }
  while (step < steps.length && steps[step] === ANY_RUN) step++;
  return step === steps.length;
}

/** A character is a leading byte and its continuation bytes (10xxxxxx). */
function nextCharacter(bytes: Uint8Array, at: number, end: number): number {
  let next = at + 1;
  while (next < end && (bytes[next]! & 0xc0) === 0x80) next++;
  return next;
}

/** For values that are not columns, such as strings inside JSON. */
export function likeText(pattern: LikePattern, text: string): boolean {
  if (pattern.kind === "all") return true;
  return likeBytes(pattern, new TextEncoder().encode(text));
}

function likeBytes(pattern: Exclude<LikePattern, { kind: "all" }>, value: Uint8Array): boolean {
  if (pattern.kind === "general") return matchesSteps(pattern.steps, value, 0, value.length);
  const { kind, bytes } = pattern;
  if (value.length < bytes.length) return false;
  switch (kind) {
    case "equal":
      return value.length === bytes.length && equalAt(bytes, value, 0);
    case "prefix":
      return equalAt(bytes, value, 0);
    case "suffix":
      return equalAt(bytes, value, value.length - bytes.length);
    case "infix":
      return Buffer.from(value.buffer, value.byteOffset, value.length).indexOf(bytes) >= 0;
  }
}

/** Whether `needle` stands in `bytes` at `at`; the caller knows that it fits. */
export function equalAt(needle: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let b = 0; b < needle.length; b++) if (needle[b] !== bytes[at + b]) return false;
  return true;
}
