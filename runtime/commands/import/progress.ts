/** How far an import is: a bar on a terminal, a line every few seconds elsewhere. On stderr, stdout is for results. */
import type { WriteStream } from "node:tty";
import type { Clock } from "../../clock.ts";

export interface Progress {
  report(rows: number, fraction: number): void;
  /** Leaves the line clean. */
  end(): void;
}

const BAR_CELLS = 30;
const REDRAW_MS = 100;
const LINE_MS = 5_000;

export function createProgress(output: WriteStream, clock: Clock): Progress {
  const startedMs = clock.monotonic();
  const isTerminal = output.isTTY;
  const everyMs = isTerminal ? REDRAW_MS : LINE_MS;
  let shownMs = isTerminal ? Number.NEGATIVE_INFINITY : startedMs;
  return {
    report(rows, fraction) {
      const nowMs = clock.monotonic();
      if (nowMs - shownMs < everyMs) return;
      shownMs = nowMs;
      const text = describe(rows, fraction, nowMs - startedMs);
      output.write(isTerminal ? `\r\x1b[K${bar(fraction)} ${text}` : `${text}\n`);
    },
    end() {
      if (isTerminal) output.write("\r\x1b[K");
    },
  };
}

function describe(rows: number, fraction: number, elapsedMs: number): string {
  const rate = Math.round(rows / Math.max(0.001, elapsedMs / 1000));
  return `${Math.floor(fraction * 100)}%  ${rows} rows  ${rate} rows/s`;
}

function bar(fraction: number): string {
  const full = Math.round(Math.min(1, fraction) * BAR_CELLS);
  return `[${"#".repeat(full)}${".".repeat(BAR_CELLS - full)}]`;
}
