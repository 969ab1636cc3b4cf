/** An ask that is given up as soon as it is known that no answer can come. */
import { isVdbError, type VdbError } from "./errors.ts";
import { Stop, type StopSignal } from "./stop.ts";

/**
 * @param watch tells when there is nothing to wait for any more @param gone the error of an ask that was given up for that
 * @param signal gives the ask up for other reasons. @throws what the ask throws
 */
export async function askUntil<T>(
  { watch, gone }: { watch: (giveUp: () => void) => Disposable; gone: (cause: unknown) => VdbError },
  signal: StopSignal | undefined,
  ask: (signal: StopSignal) => Promise<T>,
): Promise<T> {
  const stop = new Stop();
  let isGone = false;
  const onAbort = () => stop.abort();
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) stop.abort();
  using _watch = watch(() => {
    isGone = true;
    stop.abort();
  });
  try {
    return await ask(stop);
  } catch (error) {
    if (!isGone || signal?.aborted || !isVdbError(error, "canceled")) throw error;
    throw gone(error);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
