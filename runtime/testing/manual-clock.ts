/** A clock that stands still until a test moves it: what is due then runs in the order of time. */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";

export class ManualClock implements Clock {
  #now = 0;
  #timers: { at: number; fn: () => void }[] = [];
  /** Every sleep asked for, in order. */
  readonly sleeps: number[] = [];

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    return new Promise((resolve, reject) => {
      const timer = this.timer(ms, resolve);
      const onAbort = () => {
        timer[Symbol.dispose]();
        reject(new VdbError("canceled", "stopped while waiting"));
      };
      if (signal?.aborted) onAbort();
      else signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  timer(ms: number, fn: () => void): Disposable {
    const timer = { at: this.#now + ms, fn };
    this.#timers.push(timer);
    return {
      [Symbol.dispose]: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  async yield(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Lets everything run that needs no time to pass. */
  async settle(): Promise<void> {
    for (let i = 0; i < 5; i++) await this.yield();
  }

  /** Moves on by ms; what comes due on the way runs, with what follows from it. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.settle();
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = Math.max(this.#now, next.at);
      next.fn();
      await this.settle();
    }
    this.#now = end;
  }
}
