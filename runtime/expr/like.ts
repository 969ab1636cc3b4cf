/**
 * LIKE patterns: `%` any run, `_` one character, `\` makes the next character plain; the whole value must match.
 * Matching is on UTF-8 bytes; a plain pattern with `%` only at its ends needs no matcher, only a search.
 */
import { compileOnce } from "./compile-once.ts";

/** Most steps of a general pattern: matching a value of 64 KiB against them takes some tens of milliseconds at worst. */
export const PATTERN_STEPS_MAX = 4_096;

const PERCENT = 0x25;
const BACKSLASH = 0x5c;
const UNDERSCORE = 0x5f;

/** A general pattern holds these besides bytes (0 to 255). */
export const ANY_CHARACTER = 256;
const ANY_RUN = 257;

export type LikePattern =
  | { kind: "all" }
  | { kind: "equal" | "prefix" | "suffix" | "infix"; bytes: Uint8Array }
  | { kind: "general"; steps: Uint16Array };

/** Patterns that end in a single escape have been refused by the planner. */
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

/** Done once for each condition. */
export const patternOf = compileOnce(({ pattern }: { pattern: string }) => compileLike(pattern));

/** Bytes and wildcards; a run of `%` becomes one. Special characters are single bytes and never part of another character. */
export function stepsOf(pattern: string): number[] {
  const steps: number[] = [];
  let isEscaped = false;
  for (const byte of Buffer.from(pattern)) {
    if (!isEscaped && byte === BACKSLASH) {
      isEscaped = true;
      continue;
    }
    if (!isEscaped && byte === PERCENT) {
      if (steps.at(-1) !== ANY_RUN) steps.push(ANY_RUN);
    } else if (!isEscaped && byte === UNDERSCORE) {
      steps.push(ANY_CHARACTER);
    } else {
      steps.push(byte);
    }
    isEscaped = false;
  }
  return steps;
}

/** With more returns per byte the value resembles the pattern in too many places: then all of them are followed at once. */
const RETURNED_BYTES_FACTOR = 8;

/**
 * Greedy with one point of return (the last `%` seen): linear for most patterns. Where it would be quadratic, in long
 * values that nearly match everywhere, an automaton of one bit a step goes on: 32 steps of the pattern at a time.
 */
export function matchesSteps(steps: Uint16Array, bytes: Uint8Array, start: number, end: number): boolean {
  let returned = (end - start) * RETURNED_BYTES_FACTOR;
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
      returned -= at - runAt;
      if (returned < 0) return runsThrough(steps, bytes, start, end);
      runAt = nextCharacter(bytes, runAt, end);
      at = runAt;
      step = runStep + 1;
    }
  }
  while (step < steps.length && steps[step] === ANY_RUN) step++;
  return step === steps.length;
}

/** A state is the number of steps completed; `%` is not a step, it lets the state before it stay. A word holds 32 states. */
interface Automaton {
  readonly words: number;
  /** For each byte, `words` numbers: the states that it advances to the next one. */
  readonly byByte: Int32Array;
  /** States that stay on any byte, and those that stay while the character that `_` has begun continues. */
  readonly staying: Int32Array;
  readonly inCharacter: Int32Array;
  readonly last: number;
}

const automata = new WeakMap<Uint16Array, Automaton>();

function automatonOf(steps: Uint16Array): Automaton {
  let automaton = automata.get(steps);
  if (automaton === undefined) {
    const words = (steps.length >>> 5) + 1;
    const byByte = new Int32Array(256 * words);
    const staying = new Int32Array(words);
    const inCharacter = new Int32Array(words);
    let state = 0;
    const add = (bits: Int32Array, offset: number) => {
      bits[offset + (state >>> 5)] = bits[offset + (state >>> 5)]! | (1 << (state & 31));
    };
    for (const step of steps) {
      if (step === ANY_RUN) {
        add(staying, 0);
        continue;
      }
      for (let byte = 0; byte < 256; byte++) {
        if (step === byte || (step === ANY_CHARACTER && !isContinuation(byte))) add(byByte, byte * words);
      }
      state++;
      if (step === ANY_CHARACTER) add(inCharacter, 0);
    }
    automaton = { words, byByte, staying, inCharacter, last: state };
    automata.set(steps, automaton);
  }
  return automaton;
}

function runsThrough(steps: Uint16Array, bytes: Uint8Array, start: number, end: number): boolean {
  const { words, byByte, staying, inCharacter, last } = automatonOf(steps);
  const states = new Int32Array(words);
  states[0] = 1;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    const goesOn = isContinuation(byte);
    let carried = 0;
    for (let w = 0; w < words; w++) {
      const state = states[w]!;
      const taken = state & byByte[byte * words + w]!;
      const kept = state & (goesOn ? staying[w]! | inCharacter[w]! : staying[w]!);
      states[w] = (taken << 1) | carried | kept;
      carried = taken >>> 31;
    }
  }
  return ((states[last >>> 5]! >>> (last & 31)) & 1) === 1;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

/** A character is a leading byte and its continuation bytes (10xxxxxx). */
function nextCharacter(bytes: Uint8Array, at: number, end: number): number {
  let next = at + 1;
  while (next < end && isContinuation(bytes[next]!)) next++;
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

/** Whether `needle` is at position `at` of `bytes`; the caller has checked that it fits. */
export function equalAt(needle: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let b = 0; b < needle.length; b++) if (needle[b] !== bytes[at + b]) return false;
  return true;
}
