/**
 * Long work cut into steps that each take a millisecond or two at most, whatever it is about. What is small is one step.
 */
import type { Clock } from "./clock.ts";
import { takeTurn } from "./turns.ts";

/** Yields between its steps. */
export type Steps<T = void> = Generator<void, T, void>;

/** At once what is a single step; else in turns with everything else that computes. */
export function inTurns<T>(clock: Clock, steps: Steps<T>): T | Promise<T> {
  const first = steps.next();
  return first.done === true ? first.value : others(clock, steps);
}

async function others<T>(clock: Clock, steps: Steps<T>): Promise<T> {
  for (;;) {
    await takeTurn(clock);
    const next = steps.next();
    if (next.done === true) return next.value;
  }
}

/** All of it, without letting go. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const next = steps.next();
    if (next.done === true) return next.value;
  }
}
