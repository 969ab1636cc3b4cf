/**
 * Turns at the event loop for work that computes: scans, filters, applying deletes.
 *
 * Whoever computes takes a turn before each small piece. A turn is shared by all on a clock and lasts a few milliseconds; then the
 * loop gets to its sockets and timers, and those who wait go on in order, one a turn. Without it a stream of short
 * requests that never wait for I/O would keep the loop in its microtasks, and everything else would starve.
 */
import type { Clock } from "./clock.ts";

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
