/**
 * Reads lists of numbers in JSON text straight into a Float32Array: most bytes of a file with vectors are such lists. The
 * numbers are those that `JSON.parse` would give, rounded to 32 bits.
 *
 * The addon reads them in half the time (native/float-list.cc). This code serves where there is no addon, and reads what the
 * addon leaves out. Most numbers are a digit, a point, and a dozen digits or more, as programs print numbers below ten: their
 * digits are read four at a time. All others are read digit by digit, and numbers that are hard to round by `Number`.
 */

import { loadNativeAddon, type NativeAddon } from "../ann/native-addon.ts";

const ZERO = 0x30;
const NINE = 0x39;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const COMMA = 0x2c;

/** Digits that a double holds exactly; further digits change less than one part in 10^14. */
const DIGITS_MAX = 15;
/** Greatest power of ten that a double holds exactly. */
const POWER_MAX = 22;
const POWERS = Array.from({ length: POWER_MAX + 1 }, (_, n) => 10 ** n);

/** Factors around a number made of its first digits: the true one, and the double nearest to it, lie between them. */
const BELOW = 1 - 2 ** -51;
const ABOVE = 1 + 2e-14;

/** Longest number in the common form: a sign, a digit, a point and 20 more. */
const COMMON_BYTES = 24;
/** Masks of four bytes at once: the upper halves, the lower ones, and what turns 10 to 15 in a lower half into a carry. */
const UPPER = 0xf0f0f0f0 | 0;
const LOWER = 0x0f0f0f0f;
const SIXES = 0x06060606;
const ALL_DIGITS = 0x33333333;
/** The divisor for twelve digits after the point. */
const SCALE = 1e12;

/** Where the last list ended: the byte after its bracket. */
let listEnd = 0;
let numberEnd = 0;

/** A view of the bytes that were read last: lists follow each other in one buffer. */
let viewed: Uint8Array = new Uint8Array(0);
let view = new DataView(viewed.buffer);

/** Lists are parts of larger arrays: an array for each costs more than its numbers. */
const SLAB_NUMBERS = 1 << 17;
let slab = new Float32Array(0);
let slabUsed = 0;

/** Set with the first list: the addon's function, or null. */
let native: NativeAddon["readFloats"];

export function endOfList(): number {
  return listEnd;
}

/**
 * The list that begins at `start`, of exactly `count` numbers; null when it is anything else, which the caller then examines.
 * `endOfList()` is its end.
 */
export function readFloats(text: Uint8Array, start: number, count: number): Float32Array | null {
  native ??= nativeReader();
  if (slabUsed + count > slab.length) {
    slab = new Float32Array(Math.max(count, SLAB_NUMBERS));
    slabUsed = 0;
  }
  const values = slab.subarray(slabUsed, slabUsed + count);
  listEnd = native(text, start, slab, slabUsed, count) || readList(text, start, values);
  if (listEnd === 0) return null;
  slabUsed += count;
  return values;
}

function nativeReader(): NonNullable<NativeAddon["readFloats"]> {
  const addon = loadNativeAddon();
  return (addon instanceof Error ? undefined : addon.readFloats) ?? (() => 0);
}

/** Where the list ends; 0 when it is no list of as many numbers as there are values. */
export function readList(text: Uint8Array, start: number, values: Float32Array): number {
  if (viewed !== text) {
    viewed = text;
    view = new DataView(text.buffer, text.byteOffset, text.byteLength);
  }
  let at = skipSpace(text, start);
  if (text[at] !== OPEN) return 0;
  at = skipSpace(text, at + 1);
  for (let i = 0; i < values.length; i++) {
    if (i > 0) {
      if (text[at] !== COMMA) return 0;
      at++;
      if (text[at]! <= 0x20) at = skipSpace(text, at);
    }
    let value = readCommon(text, view, at);
    if (Number.isNaN(value)) value = readFloat(text, at);
    if (Number.isNaN(value)) return 0;
    values[i] = value;
    at = numberEnd;
    if (text[at]! <= 0x20) at = skipSpace(text, at);
  }
  return text[at] === CLOSE ? at + 1 : 0;
}

export function skipSpace(text: Uint8Array, start: number): number {
  let at = start;
  while (text[at] === 0x20 || text[at] === 0x0a || text[at] === 0x0d || text[at] === 0x09) at++;
  return at;
}

/** Like readFloat, for numbers in the common form whose first digits tell how to round; NaN for all others. */
function readCommon(text: Uint8Array, bytes: DataView, start: number): number {
  if (start + COMMON_BYTES > text.length) return Number.NaN;
  const isNegative = text[start] === MINUS;
  let at = isNegative ? start + 1 : start;
  const whole = text[at]! - ZERO;
  if (whole < 0 || whole > 9 || text[at + 1] !== POINT) return Number.NaN;
  const first = bytes.getInt32(at + 2, true);
  const second = bytes.getInt32(at + 6, true);
  const third = bytes.getInt32(at + 10, true);
  if ((notDigits(first) | notDigits(second) | notDigits(third)) !== 0) return Number.NaN;
  const digits = ((whole * 10_000 + fourDigits(first)) * 10_000 + fourDigits(second)) * 10_000 + fourDigits(third);
  at += 14;
  // The remaining digits can only bring it nearer to the next number of that many digits.
  while (at + 4 <= text.length) {
    const others = notDigits(bytes.getInt32(at, true));
    if (others === 0) at += 4;
    else {
      at += (31 - Math.clz32(others & -others)) >>> 3;
      break;
    }
  }
  const next = text[at]!;
  if ((next >= ZERO && next <= NINE) || (next | 0x20) === 0x65) return Number.NaN;
  numberEnd = at;
  const least = Math.fround(digits / SCALE);
  if (least !== Math.fround((digits + 1) / SCALE)) return Number.NaN;
  return isNegative ? -least : least;
}

/** Tests four bytes, the first in the lowest place: 0 when all are digits, else its lowest bit is within the first other byte. */
function notDigits(four: number): number {
  return ((four & UPPER) | (((four + SIXES) & UPPER) >>> 4)) ^ ALL_DIGITS;
}

function fourDigits(four: number): number {
  const each = four & LOWER;
  const pairs = each * 10 + (each >>> 8);
  return (pairs & 0xff) * 100 + ((pairs >>> 16) & 0xff);
}

/** The number at `start`, rounded to 32 bits; NaN when there is none as JSON has them. It ends at `numberEnd`. */
function readFloat(text: Uint8Array, start: number): number {
  let at = start;
  const isNegative = text[at] === MINUS;
  if (isNegative) at++;
  const first = text[at]!;
  let mantissa = 0;
  let digits = 0;
  let exponent = 0;
  let byte = first;
  while (byte >= ZERO && byte <= NINE) {
    if (digits < DIGITS_MAX) {
      mantissa = mantissa * 10 + (byte - ZERO);
      if (mantissa > 0) digits++;
    } else exponent++;
    byte = text[++at]!;
  }
  const whole = at - start - (isNegative ? 1 : 0);
  if (whole === 0 || (whole > 1 && first === ZERO)) return Number.NaN;
  if (byte === POINT) {
    const from = ++at;
    byte = text[at]!;
    while (byte >= ZERO && byte <= NINE) {
      if (digits < DIGITS_MAX) {
        mantissa = mantissa * 10 + (byte - ZERO);
        if (mantissa > 0) digits++;
        exponent--;
      }
      byte = text[++at]!;
    }
    if (at === from) return Number.NaN;
  }
  if ((byte | 0x20) === 0x65) {
    byte = text[++at]!;
    const isDivided = byte === MINUS;
    if (isDivided || byte === PLUS) byte = text[++at]!;
    const from = at;
    let power = 0;
    while (byte >= ZERO && byte <= NINE) {
      if (power < 100_000) power = power * 10 + (byte - ZERO);
      byte = text[++at]!;
    }
    if (at === from) return Number.NaN;
    exponent += isDivided ? -power : power;
  }
  numberEnd = at;
  if (mantissa === 0) return isNegative ? -0 : 0;
  if (exponent <= POWER_MAX && exponent >= -POWER_MAX) {
    const value = exponent < 0 ? mantissa / POWERS[-exponent]! : mantissa * POWERS[exponent]!;
    const rounded = Math.fround(value * BELOW);
    if (rounded === Math.fround(value * ABOVE)) return isNegative ? -rounded : rounded;
  }
  // Too near the middle between two floats, or out of range.
  return Math.fround(Number(Buffer.from(text.buffer, text.byteOffset + start, at - start).toString("latin1")));
}
