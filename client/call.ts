/**
 * One call of the public API from a client: encoded by the bus, sent again when that can help, errors thrown.
 *
 * A proxy that died does not answer, and nothing tells the client. So a call that stays unanswered for a while is sent
 * once more, to whichever proxy gets it, while the first attempt is still awaited: a slow search is not cut off, and
 * the first answer counts. Only a few calls of a client are doubled at a time, so that an overloaded database does not
 * get twice the load.
 */
import type { Bus } from "../runtime/bus/bus.ts";
import type { Clock } from "../runtime/clock.ts";
import { isVdbError, VdbError } from "../runtime/errors.ts";
import { errorOfBody, type PublicOperation, type PublicReply } from "../runtime/protocol/public.ts";
import type { Random } from "../runtime/random.ts";
import { retryPauseMs } from "../runtime/retry-pause.ts";
import type { Slots } from "../runtime/slots.ts";
import { Stop, type StopSignal } from "../runtime/stop.ts";

/** How long a call waits before it is sent again; doubled each time. Nearly all calls take less. */
const PATIENCE_MS = 2_000;

/** Calls of a client that are doubled at a time. */
export const DOUBLED_MAX = 4;

/** Kinds of errors of an ask whose answer, if there was one, got lost. */
const UNANSWERED = ["deadline_exceeded", "unavailable"] as const;

export interface Caller {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  /** DOUBLED_MAX of them, shared by the client's calls: a call needs one to be sent a second time. */
  readonly doubles: Slots;
  /** Who the client says to be: see AskOptions. */
  readonly authorization?: string | undefined;
}

export interface CallOptions {
  timeoutMs: number;
  /**
   * Whether the request may be repeated while it is unanswered. Called only then; after a retriable error it may always
   * be repeated. timeoutMs: how long finding out may take.
   */
  mayRepeatUnanswered: (timeoutMs: number) => Promise<boolean>;
}

type Body = Record<string, unknown>;

/** How an attempt ended. */
type Outcome = { attempt: Promise<Outcome>; reply: PublicReply } | { attempt: Promise<Outcome>; error: unknown };

/** The body of a successful reply. @throws VdbError with Milvus's code, in the words of the database */
export async function callPublic(
  caller: Caller,
  operation: PublicOperation,
  body: Body,
  options: CallOptions,
): Promise<PublicReply> {
  const { clock, random } = caller;
  const deadline = clock.monotonic() + options.timeoutMs;
  const over = new Stop();
  const running = new Set<Promise<Outcome>>();
  let request = body;
  /** The error of the database's last answer. */
  let refusal: VdbError | undefined;
  /** What cannot be found out counts as no. */
  const mayRepeat = () => options.mayRepeatUnanswered(deadline - clock.monotonic()).catch(() => false);
  const send = () => {
    const attempt: Promise<Outcome> = callOnce(caller, operation, request, { deadline, signal: over }).then(
      (reply) => ({ attempt, reply }),
      (error: unknown) => ({ attempt, error }),
    );
    running.add(attempt);
  };
  try {
    send();
    for (let failures = 0, patienceMs = PATIENCE_MS; ; ) {
      const outcome = await firstWithin(caller, running, patienceMs, over);
      if (outcome === undefined) {
        patienceMs *= 2;
        // The answer may come while that is being found out.
        if ((await Promise.race([...running, mayRepeat()])) === true) send();
        continue;
      }
      if ("reply" in outcome) return outcome.reply;
      const error = retriable(outcome.error);
      running.delete(outcome.attempt);
      const { firstId } = error.details ?? {};
      // The ids that the rows were given: with them the request is still the same one.
      if (firstId !== undefined) request = { ...request, firstId };
      const { retryAfterMs } = error.details ?? {};
      const pause = Math.max(retryPauseMs(failures++, random), typeof retryAfterMs === "number" ? retryAfterMs : 0);
      if (clock.monotonic() + pause >= deadline) throw withRefusal(error, refusal);
      const isUnanswered = firstId === undefined && isVdbError(error, ...UNANSWERED);
      if (isUnanswered && !(await mayRepeat())) throw error;
      if (!isVdbError(error, ...UNANSWERED)) refusal = error;
      // An earlier attempt may still be answered.
      if (running.size > 0) continue;
      await clock.sleep(pause);
      send();
    }
  } finally {
    over.abort();
  }
}

/** The first attempt that ends; undefined when none has ended for a while and the call may be doubled now. */
async function firstWithin(
  { clock, doubles }: Caller,
  running: ReadonlySet<Promise<Outcome>>,
  ms: number,
  over: Stop,
): Promise<Outcome | undefined> {
  let isAnswered = false;
  let timer: Disposable | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = clock.timer(ms, resolve);
  }).then(async () => {
    await doubles.acquire();
    if (isAnswered || over.aborted) doubles.release();
    // Given back when the call is over, whichever attempt ends it.
    else over.addEventListener("abort", () => doubles.release());
    return undefined;
  });
  const outcome = await Promise.race([...running, patience]);
  isAnswered = outcome !== undefined;
  timer?.[Symbol.dispose]();
  return outcome;
}

/** The last attempt may have had too little time for an answer: the one before says more. */
function withRefusal(error: VdbError, refusal: VdbError | undefined): VdbError {
  if (refusal === undefined || !isVdbError(error, ...UNANSWERED)) return error;
  const details = error.details === undefined ? {} : { details: error.details };
  return new VdbError(error.kind, `${error.message}; before that: ${refusal.message}`, { ...details, cause: refusal });
}

function retriable(error: unknown): VdbError {
  if (isVdbError(error) && error.retriable) return error;
  throw error;
}

async function callOnce(
  { bus, authorization }: Caller,
  operation: PublicOperation,
  body: Body,
  options: { deadline: number; signal: StopSignal },
): Promise<PublicReply> {
  const reply = await bus.ask(operation, {}, body, { authorization, ...options });
  const error = errorOfBody(reply);
  if (error !== null) throw error;
  return reply;
}
