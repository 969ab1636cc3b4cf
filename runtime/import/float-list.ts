/**
 * Lists of numbers in JSON text, straight into a Float32Array: what most bytes of a file with vectors are. The numbers are
 * those that `JSON.parse` would give, rounded to 32 bits.
 */

const ZERO = 0x30;
const NINE = 0x39;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const COMMA = 0x2c;

/** Digits that a double holds exactly; those beyond change less than one in 10^14. */
const DIGITS_MAX = 15;
/** Greatest power of ten that a double holds exactly. */
const POWER_MAX = 22;
const POWERS = Array.from({ length: POWER_MAX + 1 }, (_, n) => 10 ** n);

/** Around a number made of its first digits: the true one, and the double nearest to it, are between. */
const BELOW = 1 - 2 ** -51;
const ABOVE = 1 + 2e-14;

/** Where the last list ended: the byte behind its bracket. */
let listEnd = 0;
let numberEnd = 0;

export function endOfList(): number {
  return listEnd;
}

/**
 * The list that begins at `start`, of exactly `count` numbers; null when it is anything else, for others to say what. Its end is
 * `endOfList()` then.
 */
export function readFloats(text: Uint8Array, start: number, count: number): Float32Array | null {
  const values = new Float32Array(count);
  let at = skipSpace(text, start);
  if (text[at] !== OPEN) return null;
  at = skipSpace(text, at + 1);
  for (let i = 0; i < count; i++) {
    if (i > 0) {
      if (text[at] !== COMMA) return null;
      at = skipSpace(text, at + 1);
    }
    const value = readFloat(text, at);
    if (Number.isNaN(value)) return null;
    values[i] = value;
    at = skipSpace(text, numberEnd);
  }
  if (text[at] !== CLOSE) return null;
  listEnd = at + 1;
  return values;
}

export function skipSpace(text: Uint8Array, start: number): number {
  let at = start;
  while (text[at] === 0x20 || text[at] === 0x0a || text[at] === 0x0d || text[at] === 0x09) at++;
  return at;
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
  // Too near to the middle between two, or far out.
  return Math.fround(Number(Buffer.from(text.buffer, text.byteOffset + start, at - start).toString("latin1")));
}
