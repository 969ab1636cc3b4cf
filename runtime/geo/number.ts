/**
 * Decimal numbers from the bytes of a text, as the same doubles that `Number` gives. Most are short: a double holds both the
 * integer of their digits and the power of ten to divide by, so one division rounds them correctly.
 */

/** Together they are below 2^53. */
const DIGITS_MAX = 15;

const POWERS = Float64Array.from({ length: DIGITS_MAX + 1 }, (_, i) => 10 ** i);

const PLUS = 0x2b;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const UPPER_E = 0x45;
const LOWER_E = 0x65;

let end = 0;

/** The end of the number that was read last. */
export function endOfNumber(): number {
  return end;
}

/** The number that begins at `start`, which may be too large for a double; NaN when there is none. */
export function readNumber(bytes: Buffer, start: number): number {
  const first = bytes[start]!;
  const isNegative = first === MINUS;
  const from = isNegative || first === PLUS ? start + 1 : start;
  let at = from;
  let digits = 0;
  for (; isDigit(bytes[at]!); at++) digits = digits * 10 + (bytes[at]! - ZERO);
  let fraction = 0;
  let count = at - from;
  if (bytes[at] === DOT) {
    const point = at++;
    for (; isDigit(bytes[at]!); at++) digits = digits * 10 + (bytes[at]! - ZERO);
    fraction = at - point - 1;
    count += fraction;
  }
  end = at;
  if (count === 0) return Number.NaN;
  if (hasExponent(bytes, at) || count > DIGITS_MAX) {
    return Number(bytes.toString("latin1", start, end));
  }
  const value = digits / POWERS[fraction]!;
  return isNegative ? -value : value;
}

/** Moves the end past the exponent, if there is one. */
function hasExponent(bytes: Uint8Array, start: number): boolean {
  if (bytes[start] !== LOWER_E && bytes[start] !== UPPER_E) return false;
  let at = start + 1;
  if (bytes[at] === MINUS || bytes[at] === PLUS) at++;
  if (!isDigit(bytes[at]!)) return false;
  while (isDigit(bytes[at]!)) at++;
  end = at;
  return true;
}

export function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= ZERO + 9;
}
