/**
 * A simulated process: lives, freezes, dies. What it does is counted in steps (an event that reaches it, or a call that
 * leaves it), and it can be told to die at a given one: so a crash can fall between any two things that others can see.
 */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { Random } from "../random.ts";
import type { Lane, Scheduler } from "./scheduler.ts";
import type { Seeded } from "./seeded.ts";

interface Postponed {
  lane: Lane;
  run: () => void;
  label: string;
}

export class Process {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly seeded: Seeded;
  /** What its wall clock differs from the true one by. */
  clockOffsetMs = 0;
  /** Factor on all its delays: a node on a busy machine. */
  slowness = 1;
  #isAlive: boolean = true;
  #isFrozen: boolean = false;
  #postponed: Postponed[] = [];
  #steps = 0;
  #deathAt = Number.POSITIVE_INFINITY;
  readonly #onDeath: (() => void)[] = [];
  readonly #onFreeze: ((isFrozen: boolean) => void)[] = [];

  constructor(scheduler: Scheduler, name: string) {
    this.scheduler = scheduler;
    this.name = name;
    this.seeded = scheduler.random.fork(name);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  get steps(): number {
    return this.#steps;
  }

  /** Ends it at once. What it was waiting for never comes; nothing of it acts any more. */
  kill(): void {
    if (!this.#isAlive) return;
    this.#isAlive = false;
    this.#postponed = [];
    this.scheduler.note("dies");
    for (const callback of this.#onDeath) callback();
  }

  /** Has it die so many steps from now. */
  killAfter(steps: number): void {
    this.#deathAt = this.#steps + Math.max(1, Math.floor(steps));
  }

  onDeath(callback: () => void): void {
    this.#onDeath.push(callback);
  }

  onFreeze(callback: (isFrozen: boolean) => void): void {
    this.#onFreeze.push(callback);
  }

  /** Counts an event, or a call that leaves the process. Returns whether it still lives. */
  countStep(): boolean {
    if (this.#isAlive && ++this.#steps >= this.#deathAt) this.kill();
    return this.#isAlive;
  }

  freeze(): void {
    if (!this.#isAlive || this.#isFrozen) return;
    this.#isFrozen = true;
    for (const callback of this.#onFreeze) callback(true);
  }

  /** Goes on, with all that has come due meanwhile: first its timers, or first what has arrived, each in order. */
  thaw(): void {
    if (!this.#isFrozen) return;
    this.#isFrozen = false;
    const waiting = this.#postponed.splice(0);
    const first: Lane = this.seeded.chance(0.5) ? "timer" : "io";
    const inOrder = [...waiting.filter(({ lane }) => lane === first), ...waiting.filter(({ lane }) => lane !== first)];
    inOrder.forEach(({ lane, run, label }, i) => {
      this.scheduler.after(i * 0.001, this, label, run, lane);
    });
    for (const callback of this.#onFreeze) callback(false);
  }

  postpone(event: Postponed): void {
    this.#postponed.push(event);
  }
}

/** Cost of letting others run, and so what computing takes in virtual time. */
const YIELD_MS = 0.05;
/** Of the yields: others may run. Most of the time nobody is there who would. */
const YIELDS = 0.3;

export function processClock(process: Process): Clock {
  const { scheduler } = process;
  return {
    now: () => scheduler.wallClock + process.clockOffsetMs,
    monotonic: () => scheduler.now,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(canceled());
        const onAbort = () => {
          timer[Symbol.dispose]();
          reject(canceled());
        };
        const timer = scheduler.after(
          ms,
          process,
          "sleep",
          () => {
            signal?.removeEventListener("abort", onAbort);
            resolve();
          },
          "timer",
        );
        signal?.addEventListener("abort", onAbort, { once: true });
      });
    },
    timer: (ms, fn) => scheduler.after(ms, process, "timer", fn, "timer"),
    yield: () =>
      new Promise((resolve) => {
        if (process.slowness === 1 && !process.seeded.chance(YIELDS)) return resolve();
        scheduler.after(YIELD_MS * process.slowness, process, "yield", resolve, "timer");
      }),
  };
}

function canceled(): VdbError {
  return new VdbError("canceled", "stopped while waiting");
}

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** As the real one: ids sort by the wall clock of the process, which may go back. */
export function processRandom(process: Process, clock: Clock): Random {
  const { seeded } = process;
  return {
    next: () => seeded.next(),
    ulid() {
      let time = clock.now();
      let text = "";
      for (let i = 0; i < 10; i++) {
        text = CROCKFORD[time % 32]! + text;
        time = Math.floor(time / 32);
      }
      for (let i = 0; i < 16; i++) text += CROCKFORD[seeded.int(32)]!;
      return text;
    },
  };
}
