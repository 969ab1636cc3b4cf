/**
 * What a row's box tells about a condition, as bounds of its four numbers: a row can only pass if its box is in one of the
 * condition's windows.
 */
import type { Box } from "./segments.ts";

/** Least and greatest of a box's least x, least y, greatest x and greatest y, all inclusive. */
export type Window = Float64Array;

const MOST = Number.POSITIVE_INFINITY;

export const ANY_BOX: Window = Float64Array.of(-MOST, MOST, -MOST, MOST, -MOST, MOST, -MOST, MOST);

export function windowInside([left, bottom, right, top]: Box): Window {
  return Float64Array.of(left!, right!, bottom!, top!, left!, right!, bottom!, top!);
}

export function windowAround([left, bottom, right, top]: Box): Window {
  return Float64Array.of(-MOST, left!, -MOST, bottom!, right!, MOST, top!, MOST);
}

export function windowOf([left, bottom, right, top]: Box): Window {
  return Float64Array.of(left!, left!, bottom!, bottom!, right!, right!, top!, top!);
}

export function windowMeeting([left, bottom, right, top]: Box): Window {
  return Float64Array.of(-MOST, right!, -MOST, top!, left!, MOST, bottom!, MOST);
}

export function isInWindow(window: Window, minX: number, minY: number, maxX: number, maxY: number): boolean {
  if (minX < window[0]! || minX > window[1]! || minY < window[2]! || minY > window[3]!) return false;
  return maxX >= window[4]! && maxX <= window[5]! && maxY >= window[6]! && maxY <= window[7]!;
}
