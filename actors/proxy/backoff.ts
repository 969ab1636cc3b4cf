/** When a request is sent again, and for how long each attempt may take. */
import type { ActorContext } from "../../runtime/actor.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { isVdbError } from "../../runtime/errors.ts";
import { retryPauseMs } from "../../runtime/retry-pause.ts";

/** Left for one more attempt, and for its answer to reach the caller before the caller's own timer ends: a refusal says more than silence. */
const LAST_ATTEMPT_MS = 250;

/**
 * Waits before attempt `attempt + 1`. Throws the error instead when it will not pass by waiting, or not in time.
 */
export async function backOff(actor: ActorContext, error: unknown, attempt: number, call: Call): Promise<void> {
  // A changed schema makes the same request no better: it has to be made anew.
  if (!isVdbError(error) || !error.retriable || error.kind === "schema_mismatch") throw error;
  const pause = retryPauseMs(attempt, actor.random);
  if (actor.clock.monotonic() + pause + LAST_ATTEMPT_MS >= call.deadline) throw error;
  await actor.clock.sleep(pause, call.signal);
}

/**
 * Until when one attempt may take: the operation's own time, or half of what is left of a longer call, so that a request
 * or reply that got lost is found out while there is time to ask again. Never longer than `longestMs`.
 */
export function attemptDeadline(
  actor: ActorContext,
  timeoutMs: number,
  call: Call,
  longestMs = Number.POSITIVE_INFINITY,
): number {
  const now = actor.clock.monotonic();
  const takesMs = Math.min(longestMs, Math.max(timeoutMs, (call.deadline - now) / 2));
  return Math.min(call.deadline, now + takesMs);
}
