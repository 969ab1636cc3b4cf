/**
 * On which side of a line a point lies, exact where it matters: what one double cannot tell is computed with two (Dekker). The
 * topology library does the same, so both agree about points on an edge.
 */

/** The share of the sum of both products by which rounding may have changed their difference. */
const SAFE_ERROR = 1e-15;

/** 1: the point is left of the way from a to b; -1: right of it; 0: on the line. */
export function orientation(ax: number, ay: number, bx: number, by: number, x: number, y: number): -1 | 0 | 1 {
  const left = (ax - x) * (by - y);
  const right = (ay - y) * (bx - x);
  const difference = left - right;
  if (left === 0 || (left > 0 && right <= 0) || (left < 0 && right >= 0)) return signOf(difference);
  const bound = SAFE_ERROR * Math.abs(left + right);
  if (difference >= bound || -difference >= bound) return signOf(difference);
  return exactOrientation(ax, ay, bx, by, x, y);
}

function signOf(value: number): -1 | 0 | 1 {
  return value > 0 ? 1 : value < 0 ? -1 : 0;
}

/** A number as the sum of two doubles, the second below the precision of the first. */
type Pair = readonly [high: number, low: number];

function exactOrientation(ax: number, ay: number, bx: number, by: number, x: number, y: number): -1 | 0 | 1 {
  const left = product(difference(bx, ax), difference(y, by));
  const right = product(difference(by, ay), difference(x, bx));
  const high = difference(left[0], right[0]);
  return signOf(high[0] + (high[1] + left[1] - right[1]));
}

function difference(a: number, b: number): Pair {
  const high = a - b;
  const from = a - high;
  return [high, a - (high + from) + (from - b)];
}

/** 2^27 + 1: halves the digits of a double. */
const SPLITTER = 134_217_729;

function product(a: Pair, b: Pair): Pair {
  const high = a[0] * b[0];
  const aTop = a[0] * SPLITTER - (a[0] * SPLITTER - a[0]);
  const bTop = b[0] * SPLITTER - (b[0] * SPLITTER - b[0]);
  const aRest = a[0] - aTop;
  const bRest = b[0] - bTop;
  const low = aTop * bTop - high + aTop * bRest + aRest * bTop + aRest * bRest;
  return [high, low + a[0] * b[1] + a[1] * b[0]];
}
