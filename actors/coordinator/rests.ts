/**
 * When jobs that failed may be given out again, by what they are about (segments, files).
 *
 * What fails rests, so that what cannot be done keeps no node busy. When a node is lost in the middle of a job, the job goes
 * to another one at once; when that happens twice within a while, the job may be the cause, and rests as well: it must
 * not take one node after the other with it.
 */
import { wasUnserved } from "../../runtime/bus/bus.ts";
import type { Clock } from "../../runtime/clock.ts";
import { isVdbError } from "../../runtime/errors.ts";

const LOST_AGAIN_WITHIN_MS = 600_000;
const LOST_AGAIN_REST_MS = 60_000;
/** Until another node is asked, or the same one again. */
const UNSERVED_REST_MS = 1_000;

export class Rests {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #failedMs: number;
  readonly #untilMs = new Map<string, number>();
  readonly #lostAtMs = new Map<string, number>();

  /** @param failedMs how long a job rests that failed otherwise than by the loss of its node */
  constructor(clock: Pick<Clock, "monotonic">, failedMs: number) {
    this.#clock = clock;
    this.#failedMs = failedMs;
  }

  get isEmpty(): boolean {
    return this.#untilMs.size === 0;
  }

  has(key: string): boolean {
    return (this.#untilMs.get(key) ?? 0) > this.#clock.monotonic();
  }

  /** Forgets what is over: to be called now and then. */
  forget(): void {
    const now = this.#clock.monotonic();
    for (const [key, until] of this.#untilMs) if (until <= now) this.#untilMs.delete(key);
    for (const [key, at] of this.#lostAtMs) if (at + LOST_AGAIN_WITHIN_MS <= now) this.#lostAtMs.delete(key);
  }

  done(keys: readonly string[]): void {
    for (const key of keys) this.#lostAtMs.delete(key);
  }

  /** Notes that a job failed. Whether the job may be the cause: not when its node was lost for the first time in a while, or never had it. */
  failed(keys: readonly string[], error: unknown): boolean {
    this.forget();
    const now = this.#clock.monotonic();
    if (wasUnserved(error)) {
      for (const key of keys) this.#untilMs.set(key, now + UNSERVED_REST_MS);
      return false;
    }
    const isLost = isVdbError(error, "node_not_found");
    const isLostAgain = isLost && keys.some((key) => this.#lostAtMs.has(key));
    for (const key of keys) {
      if (isLost) this.#lostAtMs.set(key, now);
      if (!isLost || isLostAgain) this.#untilMs.set(key, now + (isLost ? LOST_AGAIN_REST_MS : this.#failedMs));
    }
    return !isLost || isLostAgain;
  }
}
