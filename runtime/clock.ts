/** Time as actors see it: a port, so that a simulator can own it. */
import type { StopSignal } from "./stop.ts";

export interface Clock {
  /** Wall clock, milliseconds since the epoch. May jump: nothing that must be right rests on it. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back; goes on while the process is stopped. */
  monotonic(): number;
  /** Resolves after ms, or rejects with `canceled` when the signal aborts. */
  sleep(ms: number, signal?: StopSignal): Promise<void>;
  /** Calls fn once after ms unless disposed first. Does not keep the process alive. */
  timer(ms: number, fn: () => void): Disposable;
  /** Lets other work of the process run: for long loops over rows. */
  yield(): Promise<void>;
}
