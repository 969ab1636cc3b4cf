/** Time that jumps to the next sleeper as soon as nothing else is left to do: hours of waiting in seconds, in a fixed order. */
export interface VirtualClock {
  monotonic(): number;
  sleep(ms: number): Promise<void>;
  /** Lets time pass until the promise is settled. */
  run<T>(until: Promise<T>): Promise<T>;
}

export function createVirtualClock(): VirtualClock {
  let now = 0;
  let order = 0;
  const sleepers: { at: number; order: number; wake: () => void }[] = [];
  return {
    monotonic: () => now,
    sleep: (ms) =>
      new Promise((wake) => {
        const sleeper = { at: now + Math.max(0, ms), order: order++, wake };
        let i = sleepers.length;
        while (i > 0 && sleepers[i - 1]!.at > sleeper.at) i--;
        sleepers.splice(i, 0, sleeper);
      }),
    async run(until) {
      let isOver = false;
      const settled = until.finally(() => {
        isOver = true;
      });
      settled.catch(() => undefined);
      for (;;) {
        // All that follows from the last wake-up happens before time goes on.
        await new Promise((done) => setImmediate(done));
        if (isOver) return settled;
        const next = sleepers.shift();
        if (next === undefined) throw new Error("everybody waits, and nobody for the time");
        now = Math.max(now, next.at);
        next.wake();
      }
    },
  };
}
