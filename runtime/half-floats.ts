/**
 * The two 16-bit floats: IEEE 754 half precision (float16) and the upper half of a float32 (bfloat16). Numbers are
 * rounded to the nearest, ties to even, as hardware does; what is too large becomes an infinity.
 */

const number = new Float32Array(1);
const bits = new Uint32Array(number.buffer);

/** From here on a float32 rounds to an infinity. */
const FLOAT16_OVERFLOW = 0x477ff000;
/** The least normal float16, as a float32. */
const FLOAT16_NORMAL_MIN = 0x38800000;
/** Half of the least float16 above zero: it, and what is below, rounds to zero. */
const FLOAT16_ROUNDS_TO_ZERO = 0x33000000;
const INFINITY = 0x7f800000;

export function float16Bits(x: number): number {
  number[0] = x;
  const sign = (bits[0]! >>> 16) & 0x8000;
  const magnitude = bits[0]! & 0x7fffffff;
  if (magnitude > INFINITY) return sign | 0x7e00;
  if (magnitude >= FLOAT16_OVERFLOW) return sign | 0x7c00;
  if (magnitude <= FLOAT16_ROUNDS_TO_ZERO) return sign;
  if (magnitude < FLOAT16_NORMAL_MIN) return sign | subnormalBits(magnitude);
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** In units of 2^-24. */
function subnormalBits(magnitude: number): number {
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - (magnitude >>> 23);
  const floor = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && (floor & 1) === 1) ? floor + 1 : floor;
}

export function fromFloat16(half: number): number {
  const sign = (half & 0x8000) === 0 ? 1 : -1;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

export function bfloat16Bits(x: number): number {
  number[0] = x;
  const all = bits[0]!;
  if ((all & 0x7fffffff) > INFINITY) return (all >>> 16) | 0x40;
  return (all + 0x7fff + ((all >>> 16) & 1)) >>> 16;
}

export function fromBfloat16(half: number): number {
  bits[0] = half << 16;
  return number[0]!;
}

/** Whether all exponent bits are set: NaN or an infinity. */
export function isFiniteFloat16(half: number): boolean {
  return (half & 0x7c00) !== 0x7c00;
}

export function isFiniteBfloat16(half: number): boolean {
  return (half & 0x7f80) !== 0x7f80;
}
