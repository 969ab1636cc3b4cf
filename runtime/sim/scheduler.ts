/**
 * Virtual time: everything that happens in a simulated cluster is an event with a time, and one event runs at a time,
 * with all that follows from it in microtasks, until nothing is left to do but to wait for the next.
 *
 * A run is one synchronous call: no timer, socket or file of the real world can get in between, so a seed repeats
 * exactly. Code that waits for the real world would never go on; so that this is found at once, real timers, clocks and
 * random numbers throw while a run lasts.
 *
 * Invariants
 *   S1. Events run in the order of (time, a seeded number); the same seed gives the same order.
 *   S2. An event of a process runs only while that process lives; while it is frozen its events wait.
 */
import { PLAIN_ABORT } from "./abort-signals.ts";
import type { Process } from "./process.ts";
import { hash, type Seeded, seeded } from "./seeded.ts";

/** Timers of a process, or what reaches it from outside: after a stop of the process either may come first. */
export type Lane = "timer" | "io";

class Event implements Disposable {
  readonly at: number;
  readonly tie: number;
  readonly process: Process | null;
  readonly lane: Lane;
  /** Says to people what it is, in few words. */
  readonly label: string;
  /** Null: it has been called off. */
  fn: (() => void) | null;

  constructor(at: number, tie: number, process: Process | null, lane: Lane, label: string, fn: () => void) {
    this.at = at;
    this.tie = tie;
    this.process = process;
    this.lane = lane;
    this.label = label;
    this.fn = fn;
  }

  [Symbol.dispose](): void {
    this.fn = null;
  }
}

/** Of the real world, for the turn that a run gets. */
const inTurnOfItsOwn = setImmediate;

/** Runs what is in the microtask queue, now. Node has no public way to do so. */
const drainMicrotasks = (process as unknown as { _tickCallback?: () => void })._tickCallback;

/** Numbers as bits, to be hashed. */
const numbers = new Float64Array(2);
const words = new Uint32Array(numbers.buffer);

interface Limits {
  virtualMs: number;
  events: number;
}

/** What a run has come to. */
interface Run {
  outcome: { error: unknown } | "done" | undefined;
  unhandled: unknown[];
}

const EVENTS_AT_ONCE = 50;

/** Wall clock at the start of every run. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

export class Scheduler {
  readonly random: Seeded;
  readonly #heap: Event[] = [];
  readonly #ties: Seeded;
  #now = 0;
  #events = 0;
  #traceHash = 0;
  #isStopped = false;
  /** Called with every event before it runs: for people who look for a bug. */
  onEvent: ((at: number, process: string, label: string) => void) | undefined;

  constructor(seed: number) {
    this.random = seeded(seed);
    this.#ties = this.random.fork("ties");
  }

  /** Milliseconds since the start of the run. */
  get now(): number {
    return this.#now;
  }

  /** The true wall clock; nodes may have another. */
  get wallClock(): number {
    return EPOCH_MS + Math.floor(this.#now);
  }

  get events(): number {
    return this.#events;
  }

  /** Of all events so far, with their times: two runs are the same when these are. */
  get traceHash(): string {
    return this.#traceHash.toString(16).padStart(8, "0");
  }

  get isIdle(): boolean {
    return this.#heap.length === 0;
  }

  /** Has fn called after ms, in the life of a process; null: in the life of the server, which is always there. */
  after(ms: number, process: Process | null, label: string, fn: () => void, lane: Lane = "io"): Disposable {
    return this.at(this.#now + Math.max(0, ms), process, label, fn, lane);
  }

  at(at: number, process: Process | null, label: string, fn: () => void, lane: Lane = "io"): Disposable {
    const event = new Event(at, this.#ties.next(), process, lane, label, fn);
    this.#push(event);
    return event;
  }

  /** Adds what was observed to the trace. */
  note(text: string): void {
    this.#traceHash = hash(text, this.#traceHash);
  }

  /** Runs the next event with all that follows from it. False when there is none. */
  step(): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return false;
      const { process: owner, fn } = event;
      if (fn === null || (owner !== null && !owner.isAlive)) continue;
      this.#now = Math.max(this.#now, event.at);
      if (owner?.isFrozen === true) {
        owner.postpone({ lane: event.lane, run: fn, label: event.label });
        continue;
      }
      this.#events++;
      this.#trace(event);
      this.onEvent?.(this.#now, owner?.name ?? "", event.label);
      // It may be told to die here, before the event reaches it.
      if (owner === null || owner.countStep()) fn();
      drainMicrotasks!();
      return true;
    }
  }

  /**
   * Runs until `main` has settled, or has been stopped. Nothing else of this process runs meanwhile.
   * @throws what main throws; Error when it waits for something that no event brings, or when the limit is reached
   */
  run(main: () => Promise<void>, limits: Limits): Promise<void> {
    // Microtasks cannot be drained by one of them: the run gets a turn of the event loop of its own.
    return new Promise((resolve, reject) => {
      inTurnOfItsOwn(() => {
        try {
          resolve(this.#runToEnd(main, limits));
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  /** Ends the run after the event that runs now: what is to be known is known. */
  stop(): void {
    this.#isStopped = true;
  }

  #runToEnd(main: () => Promise<void>, limits: Limits): void {
    if (drainMicrotasks === undefined) throw new Error("this version of Node cannot drain its microtasks");
    const run: Run = { outcome: undefined, unhandled: [] };
    const onUnhandled = (reason: unknown) => run.unhandled.push(reason);
    process.on("unhandledRejection", onUnhandled);
    const restore = forbidRealWorld();
    try {
      main().then(
        () => {
          run.outcome = "done";
        },
        (error: unknown) => {
          run.outcome = { error };
        },
      );
      drainMicrotasks();
      while (run.outcome === undefined && !this.#isStopped) this.#runSome(run, limits);
    } finally {
      restore();
      process.off("unhandledRejection", onUnhandled);
    }
    if (typeof run.outcome === "object") throw run.outcome.error;
  }

  /**
   * Some events, or up to the end: called often, it is compiled as any hot function is. A loop over all of a run is compiled
   * anew for every run, while it runs, and thrown away at its end.
   */
  #runSome(run: Run, limits: Limits): void {
    for (let i = 0; i < EVENTS_AT_ONCE && run.outcome === undefined && !this.#isStopped; i++) {
      if (!this.step()) throw new Error("the run waits for something that no event brings: real I/O, or a deadlock");
      if (this.#now > limits.virtualMs) throw new Error(`the run did not end within ${limits.virtualMs} virtual ms`);
      if (this.#events > limits.events) throw new Error(`the run did not end within ${limits.events} events`);
      if (run.unhandled.length > 0) throw new UnhandledRejection(run.unhandled[0]);
    }
  }

  /** Its numbers say enough: a run that differs anywhere draws its ties, and so orders its events, in another way from there on. */
  #trace(event: Event): void {
    numbers[0] = this.#now;
    numbers[1] = event.tie;
    let hashed = this.#traceHash;
    for (let i = 0; i < words.length; i++) hashed = Math.imul(hashed ^ words[i]!, 0x01000193);
    this.#traceHash = hashed >>> 0;
  }

  // -- a binary heap

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.tie < b.tie);
}

/** A promise of the product that was rejected and that nobody handled: in production, the end of the process. */
export class UnhandledRejection extends Error {
  constructor(reason: unknown) {
    super(`unhandled rejection: ${reason instanceof Error ? reason.stack : String(reason)}`, { cause: reason });
  }
}

let isForbidden = false;

/**
 * What a simulated node must not touch throws until the returned function is called. A process that does nothing but
 * runs has it forbidden for good: with each change of a global V8 throws away the code that was compiled to its value.
 */
export function forbidRealWorld(): () => void {
  if (isForbidden) return () => undefined;
  isForbidden = true;
  const undo: (() => void)[] = [
    () => {
      isForbidden = false;
    },
  ];
  const forbid = (owner: object, name: string) => {
    const original = Object.getOwnPropertyDescriptor(owner, name)!;
    const value = () => {
      throw new Error(`${name} was called in a simulated run: the real world does not repeat, use the ports`);
    };
    Object.defineProperty(owner, name, { value, configurable: true, writable: true });
    undo.push(() => Object.defineProperty(owner, name, original));
  };
  for (const name of ["setTimeout", "setInterval", "setImmediate", "fetch"]) forbid(globalThis, name);
  forbid(Date, "now");
  forbid(Math, "random");
  for (const [name, value] of Object.entries(PLAIN_ABORT)) {
    const original = Object.getOwnPropertyDescriptor(globalThis, name)!;
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    undo.push(() => Object.defineProperty(globalThis, name, original));
  }
  const ownPerformance = Object.getOwnPropertyDescriptor(performance, "now");
  Object.defineProperty(performance, "now", {
    configurable: true,
    writable: true,
    value: () => {
      throw new Error("performance.now was called in a simulated run: use the clock of the ports");
    },
  });
  undo.push(() => {
    if (ownPerformance === undefined) delete (performance as { now?: unknown }).now;
    else Object.defineProperty(performance, "now", ownPerformance);
  });
  return () => {
    for (const each of undo.reverse()) each();
  };
}
