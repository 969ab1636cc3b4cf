/** The pause before a request is sent again. */
import type { Random } from "./random.ts";

export const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 500;

/** Doubles with each failure from 20 ms to 500 ms; half of it is random, so that many who failed together do not come back together. */
export function retryPauseMs(failures: number, random: Pick<Random, "next">, maxMs = RETRY_MS_MAX): number {
  return Math.min(maxMs, RETRY_MS_MIN * 2 ** failures) * (0.5 + random.next() / 2);
}
