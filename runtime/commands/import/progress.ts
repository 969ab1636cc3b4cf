/** How far an import, a backup or a restore is: a bar on a terminal, a line every few seconds elsewhere. On stderr, stdout is for results. */
import type { WriteStream } from "node:tty";
import type { Clock } from "../../clock.ts";

export interface Progress {
  /** done: rows, or what `describe` takes. */
  report(done: number, fraction: number): void;
  /** Leaves the line clean. */
  end(): void;
}

const BAR_CELLS = 30;
const REDRAW_MS = 100;
const LINE_MS = 5_000;

/** describe: what is done, in words, after so many seconds. */
export function createProgress(
  output: WriteStream,
  clock: Clock,
  describe: (done: number, seconds: number) => string = describeRows,
): Progress {
  const startedMs = clock.monotonic();
  const isTerminal = output.isTTY;
  const everyMs = isTerminal ? REDRAW_MS : LINE_MS;
  let shownMs = isTerminal ? Number.NEGATIVE_INFINITY : startedMs;
  return {
    report(done, fraction) {
      const nowMs = clock.monotonic();
      if (nowMs - shownMs < everyMs) return;
      shownMs = nowMs;
      const text = `${Math.floor(fraction * 100)}%  ${describe(done, Math.max(0.001, (nowMs - startedMs) / 1000))}`;
      output.write(isTerminal ? `\r\x1b[K${bar(fraction)} ${text}` : `${text}\n`);
    },
    end() {
      if (isTerminal) output.write("\r\x1b[K");
    },
  };
}

function describeRows(rows: number, seconds: number): string {
  return `${rows} rows  ${Math.round(rows / seconds)} rows/s`;
}

function bar(fraction: number): string {
  const full = Math.round(Math.min(1, fraction) * BAR_CELLS);
  return `[${"#".repeat(full)}${".".repeat(BAR_CELLS - full)}]`;
}
