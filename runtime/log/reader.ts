/**
 * Reading a channel of the log: all of it from a checkpoint on (recovery of its owner), or its deletes as they come (query
 * nodes). Both stop at the first fault: `corrupt` for what is damaged or missing, `log_truncated` for what was purged. A reader
 * that gets either starts again from the objects.
 */
import type { Clock } from "../clock.ts";
import { isVdbError, VdbError } from "../errors.ts";
import type { LogMessage, LogPort, Tail } from "./port.ts";
import type { LogRecord } from "./record.ts";
import { advance, type ChainState, corruptAt, decodeMessage, newChainState, whyOutOfChain } from "./verify.ts";

export interface ReplayOptions {
  /** First sequence to read. */
  fromSeq: number;
  /** Last one: a message that is stored and final, such as a fence. */
  toSeq: number;
  /** bytes: of the message's payload. */
  onRecord: (record: LogRecord, seq: number, bytes: number) => void | Promise<void>;
  clock: Clock;
  signal: AbortSignal;
}

/** Bytes of records handled before other work gets a turn. */
const BREATH_MS = 8;
/** After this long without a message, the next one is looked up: the last message of a log may be the damaged one. */
const STALL_MS = 3_000;
/** Between two attempts to find out whether the log was cut. */
const CHECK_AGAIN_MS = 250;

/**
 * Reads every message from fromSeq to toSeq, in order, and returns what the next one must follow.
 *
 * @throws VdbError log_truncated, corrupt, unavailable, canceled; what onRecord throws
 */
export async function replay(log: LogPort, channel: number, options: ReplayOptions): Promise<ChainState> {
  const { toSeq, clock, signal } = options;
  const fromSeq = Math.max(1, options.fromSeq);
  const state = newChainState();
  if (fromSeq > toSeq) return state;
  const bounds = await log.bounds(channel);
  if (fromSeq < bounds.firstSeq) throw truncated(channel, fromSeq, bounds.firstSeq);
  if (toSeq > bounds.lastSeq) throw corruptAt(channel, toSeq, `is missing, the log ends at ${bounds.lastSeq}`);

  let nextSeq = fromSeq;
  let breathedMs = clock.monotonic();
  let done: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => {
    done = resolve;
  });
  const handle = async (message: LogMessage): Promise<void> => {
    if (nextSeq > toSeq || signal.aborted) return;
    if (message.seq !== nextSeq) throw await whyMissing(log, channel, nextSeq);
    const record = decodeMessage(channel, message);
    const problem = whyOutOfChain(state, record, fromSeq) ?? whyOfWrongTerm(state, record);
    if (problem !== null) throw corruptAt(channel, message.seq, problem);
    advance(state, record, message.seq);
    const handling = options.onRecord(record, message.seq, message.payload.length);
    if (handling !== undefined) await handling;
    nextSeq++;
    if (nextSeq > toSeq) done();
    if (clock.monotonic() - breathedMs < BREATH_MS) return;
    await clock.yield();
    breathedMs = clock.monotonic();
  };

  const watching = new AbortController();
  const tail = await log.tail(channel, ["ins", "mut", "ctl"], fromSeq, handle);
  try {
    const stalled = failWhenStalled(log, channel, clock, AbortSignal.any([signal, watching.signal]), () => nextSeq);
    await Promise.race([finished, tail.failed, stalled]);
  } finally {
    watching.abort();
    await tail[Symbol.asyncDispose]();
  }
  return state;
}

/** Only a fence begins a term, and a replay sees every fence. */
function whyOfWrongTerm(state: ChainState, record: LogRecord): string | null {
  if (state.term === 0 || record.term === state.term || record.kind === "ctl") return null;
  return `has term ${record.term} after term ${state.term}, without a fence between`;
}

/** Rejects when the next message is not in the log at all, or when the signal aborts; never resolves. */
async function failWhenStalled(
  log: LogPort,
  channel: number,
  clock: Clock,
  signal: AbortSignal,
  dueSeq: () => number,
): Promise<never> {
  for (;;) {
    const due = dueSeq();
    await clock.sleep(STALL_MS, signal);
    if (dueSeq() !== due) continue;
    const message = await log.readAt(channel, due).catch(() => undefined);
    if (message === null) throw await whyMissing(log, channel, due);
  }
}

async function whyMissing(log: LogPort, channel: number, seq: number): Promise<VdbError> {
  const { firstSeq, lastSeq } = await log.bounds(channel);
  if (seq < firstSeq && firstSeq <= lastSeq) return truncated(channel, seq, firstSeq);
  return corruptAt(channel, seq, "is missing");
}

export interface FollowDeletesOptions {
  /** First sequence to read, whatever its kind. */
  fromSeq: number;
  onRecord: (record: LogRecord, seq: number) => void | Promise<void>;
  /** Called once, when following ends by itself: corrupt, log_truncated, unavailable, or what onRecord threw. */
  onError: (error: Error) => void;
  clock: Clock;
}

export interface DeleteTail extends Tail {
  /** Sequence of the newest message handled; fromSeq - 1 before the first. */
  readonly position: number;
}

/** Follows the `mut` messages of a channel. @throws VdbError log_truncated, unavailable, at the start */
export async function followDeletes(log: LogPort, channel: number, options: FollowDeletesOptions): Promise<DeleteTail> {
  const fromSeq = Math.max(1, options.fromSeq);
  await requireNoneTruncated(log, channel, fromSeq);
  const state = newChainState();
  let position = fromSeq - 1;
  const onMessage = async (message: LogMessage): Promise<void> => {
    const record = decodeMessage(channel, message);
    const problem = whyOutOfChain(state, record, fromSeq);
    if (problem !== null) throw await whyBroken(log, channel, message.seq, record.previousSeq, problem);
    advance(state, record, message.seq);
    const handling = options.onRecord(record, message.seq);
    if (handling !== undefined) await handling;
    position = message.seq;
  };
  // Whoever is cut off goes on where the log begins by then: only the next message would tell what was purged meanwhile.
  let isOver = false;
  const onCaughtUp = async (): Promise<void> => {
    while (!isOver && !(await isWhole(log, channel, position + 1))) await options.clock.sleep(CHECK_AGAIN_MS);
  };
  const tail = await log.tail(channel, ["mut"], fromSeq, onMessage, onCaughtUp);
  tail.failed.catch(options.onError);
  return {
    failed: tail.failed,
    get position() {
      return position;
    },
    [Symbol.asyncDispose]: () => {
      isOver = true;
      return tail[Symbol.asyncDispose]();
    },
  };
}

/** False while that cannot be told: who was cut off may be able to follow again before it can ask. @throws VdbError log_truncated */
async function isWhole(log: LogPort, channel: number, fromSeq: number): Promise<boolean> {
  try {
    await requireNoneTruncated(log, channel, fromSeq);
    return true;
  } catch (error) {
    if (isVdbError(error, "unavailable")) return false;
    throw error;
  }
}

/** The log may begin after fromSeq, as long as no mut message was purged with its beginning: the newest fence tells. */
async function requireNoneTruncated(log: LogPort, channel: number, fromSeq: number): Promise<void> {
  const { firstSeq } = await log.bounds(channel);
  if (fromSeq >= firstSeq) return;
  const message = await log.readLast(channel, "ctl");
  const newestMut = message === null ? undefined : decodeMessage(channel, message).fence?.chain.mut.seq;
  // A mut message newer than the fence is still stored, and points to the one before it.
  if (newestMut !== undefined && (newestMut < fromSeq || newestMut >= firstSeq)) return;
  throw truncated(channel, fromSeq, firstSeq);
}

/** Distinguishes the two reasons for a break in the chain: purged before it was read, or lost. */
async function whyBroken(
  log: LogPort,
  channel: number,
  seq: number,
  previousSeq: number,
  problem: string,
): Promise<VdbError> {
  const { firstSeq } = await log.bounds(channel);
  return previousSeq < firstSeq ? truncated(channel, previousSeq, firstSeq) : corruptAt(channel, seq, problem);
}

function truncated(channel: number, seq: number, firstSeq: number): VdbError {
  return new VdbError("log_truncated", `channel ${channel} of the log begins at ${firstSeq}, asked for ${seq}`, {
    details: { channel, seq, firstSeq },
  });
}
