/**
 * Turns at the event loop for work that computes: scans, filters, applying deletes.
 *
 * Whoever computes takes a turn before each small piece. A turn is shared by all on a clock and lasts a few milliseconds; then the
 * loop gets to its sockets and timers, and those who wait go on in order, one a turn. Without it a stream of short
 * requests that never wait for I/O would keep the loop in its microtasks, and everything else would starve.
 */
import type { Clock } from "./clock.ts";
import { VdbError } from "./errors.ts";
import type { StopSignal } from "./stop.ts";

/** Far below the 20 ms that the loop may be held; a piece is about a millisecond, so the overhead is small. */
const TURN_MS = 4;

interface Line {
  readonly waiting: (() => void)[];
  turnEnd: number;
}

/** One for each clock: a process has one of the real world, simulated nodes have one each. */
const lines = new WeakMap<Clock, Line>();

/** Resolves when there is time to compute: at once within a turn, else in the order of asking. */
export async function takeTurn(clock: Clock): Promise<void> {
  const line = lineOf(clock);
  if (line.waiting.length === 0 && clock.monotonic() < line.turnEnd) return;
  await new Promise<void>((resolve) => {
    line.waiting.push(resolve);
    if (line.waiting.length === 1) void nextTurn(clock, line);
  });
}

/**
 * Turns for work that many wait for. It uses a turn up, where `takeTurn` would send it to the end of the line after each piece.
 * Between looks it counts what it does: reading the clock costs more than a look-up.
 */
export class WholeTurns {
  readonly #clock: Clock;
  readonly #pieceWork: number;
  #work: number;
  #turnEnd = Number.NEGATIVE_INFINITY;

  /** pieceWork: how much is done between two looks at the clock, a millisecond's worth at most. */
  constructor(clock: Clock, pieceWork: number) {
    this.#clock = clock;
    this.#pieceWork = pieceWork;
    this.#work = pieceWork;
  }

  /** Whether `take` is due before so much more is done; counts it. */
  isDue(work: number): boolean {
    const isDue = this.#work >= this.#pieceWork;
    this.#work = isDue ? work : this.#work + work;
    return isDue;
  }

  /** Resolves at once while the turn lasts, else with the next one. Nothing else is waited for in a turn. */
  async take(): Promise<void> {
    if (this.#clock.monotonic() < this.#turnEnd) return;
    await takeTurn(this.#clock);
    this.#turnEnd = lineOf(this.#clock).turnEnd;
  }
}

/** What is computed for a caller, and until when. */
export interface Work {
  readonly clock: Clock;
  /** By the monotonic clock; absent: there is none. */
  readonly deadline?: number | undefined;
  /** The caller's. */
  readonly signal?: StopSignal | undefined;
  /** That of the actor that computes. */
  readonly stopped?: StopSignal | undefined;
}

/** What an actor computes for a call. */
export function workOf(
  { clock, signal: stopped }: { clock: Clock; signal: StopSignal },
  { deadline, signal }: { deadline: number; signal?: StopSignal | undefined },
): Work & { deadline: number } {
  return { clock, deadline, signal, stopped };
}

/** As takeTurn. @throws VdbError as assertWanted */
export async function takeTurnFor(work: Work): Promise<void> {
  await takeTurn(work.clock);
  assertWanted(work);
}

/** @throws VdbError deadline_exceeded, canceled: nobody waits for what is computed; unavailable: its actor stops */
export function assertWanted({ clock, deadline, signal, stopped }: Work): void {
  if (deadline !== undefined && clock.monotonic() >= deadline) {
    throw new VdbError("deadline_exceeded", "what was asked for was not found before its deadline");
  }
  if (signal?.aborted === true) throw new VdbError("canceled", "what was asked for is not wanted any more");
  if (stopped?.aborted === true) throw new VdbError("unavailable", "the node stops, ask another one");
}

async function nextTurn(clock: Clock, line: Line): Promise<void> {
  const { waiting } = line;
  while (waiting.length > 0) {
    await clock.yield();
    line.turnEnd = clock.monotonic() + TURN_MS;
    waiting[0]!();
    // Taken out only now: whoever asks in between joins the line instead of starting a second one.
    waiting.shift();
    // What was let go runs in the microtasks before the next yield returns.
  }
}

function lineOf(clock: Clock): Line {
  let line = lines.get(clock);
  if (line === undefined) {
    line = { waiting: [], turnEnd: 0 };
    lines.set(clock, line);
  }
  return line;
}
