/**
 * Work on a message, cut into steps that each take a millisecond or two at most, whatever the message is made of. A small
 * message is one step.
 */
import type { Clock } from "../../../../runtime/clock.ts";
import { takeTurn } from "../../../../runtime/turns.ts";

/** Yields between its steps. */
export type Steps<T = void> = Generator<void, T, void>;

/** Bytes of fields that are read in one step: of two bytes each that takes a millisecond or two. */
export const STEP_BYTES = 16 * 1024;

/** Bytes that are copied as they are in one step. */
export const COPY_BYTES = 1024 * 1024;

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
