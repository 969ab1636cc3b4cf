/** Time and randomness of the real world: the only place that touches timers, Date and Math.random. */
import { ulid } from "ulid";
import type { Clock } from "./clock.ts";
import { VdbError } from "./errors.ts";
import type { Random } from "./random.ts";

/**
 * Nearly all timers are time limits of seconds that are never reached, a few for each request. Those of one length cost node
 * hardly anything, each further length a list and a place in a queue: so long ones end at a few lengths, a little later.
 */
const LONG_MS = 1_000;
const LONG_STEP_MS = 20;

/** 24 days, the longest that node's timers take: one for longer would ring at once. */
const LONGEST_MS = 2 ** 31 - 1_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new VdbError("canceled", "stopped while waiting"));
      const onAbort = () => {
        clearTimeout(timer);
        reject(new VdbError("canceled", "stopped while waiting"));
      };
      const timer = setTimeout(
        () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
        Math.min(ms, LONGEST_MS),
      );
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  },
  timer(ms, fn) {
    const timer = setTimeout(fn, ms < LONG_MS ? ms : Math.ceil(Math.min(ms, LONGEST_MS) / LONG_STEP_MS) * LONG_STEP_MS);
    timer.unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
  yield: () => new Promise((resolve) => setImmediate(resolve)),
};

export const systemRandom: Random = {
  next: () => Math.random(),
  ulid: () => ulid(),
};
