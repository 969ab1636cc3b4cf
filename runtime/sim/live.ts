/** Drives simulated time from the real event loop: for tests of single ports, which need no run that repeats. */
import type { Scheduler } from "./scheduler.ts";

/** Runs event after event, each in a turn of its own, until disposed of. Time jumps from one to the next. */
export function driveLive(scheduler: Scheduler): Disposable {
  let isStopped = false;
  const turn = () => {
    if (isStopped) return;
    scheduler.step();
    setImmediate(turn);
  };
  setImmediate(turn);
  return {
    [Symbol.dispose]: () => {
      isStopped = true;
    },
  };
}
