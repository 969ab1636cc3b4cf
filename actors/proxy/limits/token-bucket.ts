/**
 * A rate, kept: tokens come in evenly, each request takes some. One that asks for many goes through once there is one
 * token, and those after it wait until the debt is paid: so a request may be larger than what a second gives, small ones
 * do not keep it out, and over time no more goes through than the rate.
 */

/** Tokens that an idle bucket has gathered: those of a second. */
const GATHERED_SECONDS = 1;

/** Of sums of fractions. */
const TOLERANCE = 1e-9;

export class TokenBucket {
  #tokens: number;
  #at: number;

  constructor(ratePerSecond: number, nowMs: number) {
    this.#tokens = capacity(ratePerSecond);
    this.#at = nowMs;
  }

  /** Takes the tokens and returns 0, or takes none and returns after how many milliseconds it may be tried again. */
  take(count: number, ratePerSecond: number, nowMs: number): number {
    const waitMs = this.wait(count, ratePerSecond, nowMs);
    if (waitMs === 0) this.#tokens -= count;
    return waitMs;
  }

  /** As `take`, but takes nothing. */
  wait(count: number, ratePerSecond: number, nowMs: number): number {
    const elapsedMs = Math.max(0, nowMs - this.#at);
    this.#at = nowMs;
    this.#tokens = Math.min(capacity(ratePerSecond), this.#tokens + (elapsedMs / 1000) * ratePerSecond);
    const missing = Math.min(count, 1) - this.#tokens;
    if (ratePerSecond <= 0) return Number.POSITIVE_INFINITY;
    return missing <= TOLERANCE ? 0 : Math.ceil((missing / ratePerSecond) * 1000);
  }
}

/** Of a rate below one a second, one: or it would never let anything through. */
function capacity(ratePerSecond: number): number {
  return ratePerSecond <= 0 ? 0 : Math.max(1, ratePerSecond * GATHERED_SECONDS);
}
