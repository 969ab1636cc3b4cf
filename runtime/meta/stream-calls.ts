/**
 * The few JetStream calls that stores are made of: a publish whose outcome is a value, and reads from the stream's leader. Owns
 * the mapping of NATS failures to VdbError, and the decision which failures are transient.
 *
 * Reads go to the leader (STREAM.MSG.GET), never to a replica (direct get): a replica can lag behind what the same
 * caller has just written.
 */
import {
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  type StoredMsg,
  type StreamInfo,
} from "@nats-io/jetstream";
import { errors, type MsgHdrs, type NatsConnection } from "nats";
import type { Clock } from "../clock.ts";
import { errorMessage, VdbError } from "../errors.ts";
import type { Random } from "../random.ts";

/** JetStream error codes that this code base decides by (server/errors.json of nats-server). */
export const JS_CODE = {
  streamNotFound: 10059,
  noMessageFound: 10037,
  streamNameInUse: 10058,
  /** More than one replica on a server that is no member of a cluster. */
  replicasNotSupported: 10074,
  /** An expected last (subject) sequence is not the true one. */
  wrongLastSequence: 10071,
  /** On a replicated stream: another change of the subject is under way, so the expectation cannot be checked now. */
  wrongLastSequenceUnknown: 10164,
} as const;

/** Transient: members that have not joined yet (10005), leader elections, start-up, full queues, a batch that lost its leader. */
const TRANSIENT_CODES = new Set([10005, 10008, 10009, 10023, 10077, 10158, 10163, 10167, 10176, 10210]);

/** How long one request may take before its outcome counts as unknown: many times a healthy answer, a fraction of a lease. */
const REQUEST_TIMEOUT_MS = 2_000;

export interface Message {
  subject: string;
  payload: Uint8Array;
  headers: MsgHdrs;
}

/** What became of a publish. `unknown`: it may be in the stream, or get there yet. */
export type PublishOutcome =
  | { kind: "stored"; seq: number }
  | { kind: "refused"; code: number; status: number; description: string }
  | { kind: "unknown"; cause: unknown };

export interface StreamCalls {
  readonly stream: string;
  /** Newest message of a subject (which may hold wildcards). @throws VdbError unavailable after the deadline */
  last(subject: string, deadlineMs: number): Promise<StoredMsg | null>;
  /** First message of a subject at or after a sequence. @throws VdbError unavailable after the deadline */
  next(subject: string, seq: number, deadlineMs: number): Promise<StoredMsg | null>;
  /** Sequence of the newest message of the stream. @throws VdbError unavailable after the deadline */
  lastSequence(deadlineMs: number): Promise<number>;
  /** Repeats an idempotent call of the JetStream API until it succeeds, fails for good, or the (monotonic) deadline passes. */
  retrying<T>(doing: string, deadlineMs: number, call: (jsm: JetStreamManager) => Promise<T>): Promise<T>;
}

export interface CallOptions {
  stream: string;
  clock: Clock;
  random: Random;
}

export function createStreamCalls(nc: NatsConnection, options: CallOptions): StreamCalls {
  const { stream, clock, random } = options;
  const manager = jetstreamManager(nc, { checkAPI: false, timeout: REQUEST_TIMEOUT_MS });

  async function retrying<T>(doing: string, deadlineMs: number, call: (jsm: JetStreamManager) => Promise<T>) {
    const jsm = await manager;
    for (let attempt = 0; ; attempt++) {
      try {
        return await call(jsm);
      } catch (error) {
        if (!isTransient(error) || clock.monotonic() >= deadlineMs) throw toVdbError(error, `${doing} of ${stream}`);
      }
      await clock.sleep(backoffMs(attempt, random));
    }
  }

  return {
    stream,
    retrying,
    last: (subject, deadlineMs) =>
      retrying("read", deadlineMs, (jsm) => jsm.streams.getMessage(stream, { last_by_subj: subject })),
    next: (subject, seq, deadlineMs) =>
      retrying("read", deadlineMs, (jsm) => {
        // The server takes next_by_subj here as it does for direct reads; the client's type of this call omits it.
        const query = { seq, next_by_subj: subject } as { seq: number };
        return jsm.streams.getMessage(stream, query);
      }),
    lastSequence: async (deadlineMs) => {
      const info = await retrying("status", deadlineMs, async (jsm) => {
        const told = await jsm.streams.info(stream);
        if (hasLeader(told)) return told;
        throw new JetStreamApiError({ code: 503, err_code: 10008, description: "no leader is known" });
      });
      return info.state.last_seq;
    },
  };
}

/** Whether a description of a stream names its leader: a NATS member that is cut off answers too, from old knowledge. */
export function hasLeader({ cluster }: StreamInfo): boolean {
  return cluster === undefined || (cluster.leader ?? "") !== "";
}

/** @throws VdbError unavailable (connection closed), not_permitted */
export function publish(nc: NatsConnection, message: Message, timeoutMs = REQUEST_TIMEOUT_MS): Promise<PublishOutcome> {
  return requestOutcome(nc, message, parseAck, timeoutMs);
}

/** Like publish, for a message whose acceptance the server answers in another way. */
export async function requestOutcome<T>(
  nc: NatsConnection,
  message: Message,
  parse: (answer: string) => T,
  timeoutMs = REQUEST_TIMEOUT_MS,
): Promise<T | (PublishOutcome & { kind: "unknown" })> {
  const { subject, payload, headers } = message;
  let answer: string;
  try {
    const reply = await nc.request(subject, payload, { headers, timeout: timeoutMs });
    answer = reply.string();
  } catch (error) {
    if (!isTransient(error)) throw toVdbError(error, `publish to ${subject}`);
    return { kind: "unknown", cause: error };
  }
  return parse(answer);
}

interface PubAckJson {
  seq?: number;
  error?: { code: number; err_code: number; description: string };
}

export function parseAck(text: string): PublishOutcome {
  const ack = JSON.parse(text) as PubAckJson;
  if (ack.error !== undefined) {
    const { code, err_code, description } = ack.error;
    return { kind: "refused", code: err_code, status: code, description };
  }
  if (ack.seq === undefined) throw new Error(`a PubAck without a sequence: ${text}`);
  return { kind: "stored", seq: ack.seq };
}

/** Whether a refusal is transient: the same publish is worth a retry. */
export function isTransientRefusal(outcome: { code: number; status: number }): boolean {
  return outcome.status === 503 || outcome.status === 429 || TRANSIENT_CODES.has(outcome.code);
}

/** Whether the same call may succeed later without change. */
export function isTransient(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return isTransientRefusal({ code: error.code, status: error.status });
  return isOrWraps(error, errors.TimeoutError, errors.NoRespondersError);
}

export function toVdbError(error: unknown, doing: string): VdbError {
  if (error instanceof VdbError) return error;
  const message = `${doing} failed: ${errorMessage(error)}`;
  if (isOrWraps(error, errors.PermissionViolationError)) {
    return new VdbError("not_permitted", `${message}; grant this user of the NATS server the subject`, {
      cause: error,
    });
  }
  const isClosed = isOrWraps(error, errors.ClosedConnectionError, errors.DrainingConnectionError);
  const isMissing = error instanceof JetStreamApiError && error.code === JS_CODE.streamNotFound;
  if (isClosed || isMissing || isTransient(error)) return new VdbError("unavailable", message, { cause: error });
  return new VdbError("internal", message, { cause: error });
}

/** The client wraps the error of a request, up to twice. */
// biome-ignore lint/suspicious/noExplicitAny: constructors of any arguments
function isOrWraps(error: unknown, ...classes: (new (...args: any[]) => Error)[]): boolean {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (classes.some((errorClass) => link instanceof errorClass)) return true;
  }
  return false;
}

/** 10 ms doubling to 500 ms, half to one and a half times: long enough apart for an election, never in step with others. */
export function backoffMs(attempt: number, random: Pick<Random, "next">): number {
  return Math.min(500, 10 * 2 ** Math.min(attempt, 10)) * (0.5 + random.next());
}
