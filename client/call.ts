/** One call of the public API from a client: encoded by the bus, sent again when that can help, errors thrown. */
import type { Bus } from "../runtime/bus/bus.ts";
import type { Clock } from "../runtime/clock.ts";
import { isVdbError } from "../runtime/errors.ts";
import { errorOfBody, type PublicOperation, type PublicReply } from "../runtime/protocol/public.ts";
import type { Random } from "../runtime/random.ts";

const PAUSE_MS_MIN = 20;
const PAUSE_MS_MAX = 500;

/** Of the first attempt, doubled with each: a proxy that died answers nothing, and long work gets its time in the end. */
const ATTEMPT_MS = 5_000;

/** What an ask ends with when its answer, if there was one, got lost. */
const UNANSWERED = ["deadline_exceeded", "unavailable"] as const;

export interface Caller {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
}

export interface CallOptions {
  timeoutMs: number;
  /**
   * Whether the request may be sent again after it was not answered. Asked only then; what a retriable error answered
   * may always be sent again.
   */
  mayRepeatUnanswered: () => Promise<boolean>;
}

type Body = Record<string, unknown>;

/** The body of a successful reply. @throws VdbError with Milvus's code, in the words of the database */
export async function callPublic(
  caller: Caller,
  operation: PublicOperation,
  body: Body,
  options: CallOptions,
): Promise<PublicReply> {
  const { clock } = caller;
  const deadline = clock.monotonic() + options.timeoutMs;
  let request = body;
  for (let attempt = 0; ; attempt++) {
    try {
      return await callOnce(caller, operation, request, attempt, deadline);
    } catch (error) {
      if (!isVdbError(error) || !error.retriable) throw error;
      const pause = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** attempt) * (0.5 + caller.random.next() / 2);
      if (clock.monotonic() + pause >= deadline) throw error;
      const { firstId } = error.details ?? {};
      // The ids that the rows were given: with them the request is still the same one.
      if (firstId !== undefined) request = { ...request, firstId };
      else if (isVdbError(error, ...UNANSWERED) && !(await options.mayRepeatUnanswered())) throw error;
      await clock.sleep(pause);
    }
  }
}

async function callOnce(
  caller: Caller,
  operation: PublicOperation,
  body: Body,
  attempt: number,
  deadline: number,
): Promise<PublicReply> {
  const now = caller.clock.monotonic();
  const attemptDeadline = Math.min(deadline, now + ATTEMPT_MS * 2 ** attempt);
  const reply = await caller.bus.ask(operation, {}, body, { deadline: attemptDeadline });
  const error = errorOfBody(reply);
  if (error !== null) throw error;
  return reply;
}
