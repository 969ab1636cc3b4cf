/** A stop that ends: what takes longer than its time is cut off. */
import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";

/** For closing what a drain that was cut off left open. */
const CLOSING_MS = 1_500;
/** For the process to end, so that whoever waits for it (and kills it then) need not: of the time too. */
const EXIT_MS = 500;

/** Resolves before `ms` are over, whatever hangs. drain: in order, hands over; close: ends what is left. */
export async function stopWithin(
  ms: number,
  stop: { drain: () => Promise<void>; close: () => Promise<void> },
  { clock, logger }: { clock: Clock; logger: Logger },
): Promise<void> {
  const over = new AbortController();
  const exitMs = Math.min(EXIT_MS, ms / 8);
  const closingMs = Math.min(CLOSING_MS, ms / 4);
  const late = clock.sleep(ms - exitMs - closingMs, over.signal).then(
    () => logger.warn({ ms }, "drain timed out"),
    () => undefined,
  );
  await Promise.race([stop.drain(), late]);
  over.abort();
  const closed = new AbortController();
  await Promise.race([stop.close(), clock.sleep(closingMs, closed.signal).catch(() => undefined)]);
  closed.abort();
}
