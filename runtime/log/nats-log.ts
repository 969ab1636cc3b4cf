/**
 * The log on JetStream: one stream a channel, `<prefix>-wal-<channel>`, with a subject for each kind.
 *
 * Reads that decide something (readAt, readLast, bounds) go to the stream's leader, never to a replica that may lag. A leader
 * that is cut off from the others believes for 10 s and more that it leads, while they elect another. So the newest fence, by
 * which an owner proves that it is still the owner, is accepted only from a leader that has recently heard from a majority
 * (requireMajority). `Nats-Expected-Last-Msg-Id` is never sent: one mismatch freezes a replicated stream of nats-server 2.15
 * for good.
 */
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  StoreCompression,
  type StreamConfig,
  type StreamInfo,
} from "@nats-io/jetstream";
import { InvalidArgumentError, nanos } from "nats";
import { errorMessage, VdbError } from "../errors.ts";
import { ensureStream, type StreamSettings } from "../meta/ensure-stream.ts";
import { createStreamCalls, hasLeader } from "../meta/stream-calls.ts";
import type { NatsConnections } from "../nats/connect.ts";
import { tailStream } from "../nats/stream-tail.ts";
import { systemClock, systemRandom } from "../system-clock.ts";
import type { AppendExpectation, AppendOutcome, LogBounds, LogKind, LogMessage, LogPort } from "./port.ts";
import { decodeRecord } from "./record.ts";

export interface NatsLogOptions {
  /** First token of every subject, and of the streams' names. */
  prefix: string;
  replicas: 1 | 3 | 5;
  /** Bound of one channel's stream, in bytes: when it is reached, appends are refused. */
  maxBytes: number;
}

export interface NatsLog extends LogPort {
  /**
   * Creates the streams of channels 0..count-1, or checks existing ones and raises their replicas.
   * @throws VdbError unavailable; not_permitted; unexpected when a stream has other settings or more replicas
   */
  ensureChannels(count: number): Promise<void>;
}

/** Refused before it was stored: the stream or the server's store is full, or too many requests wait in the server. */
const REFUSED_CODES = new Set([10077, 10023, 10167]);
/** 10164: another change of the subject is in flight in the cluster; the expectation cannot be checked. */
const CONFLICT_CODES = new Set<number>([
  JetStreamApiCodes.StreamWrongLastSequence,
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
]);
/** Retrying does not help: the message is too large (10054), or this is the wrong stream (10060). */
const BUG_CODES = new Set([10054, 10060]);

/** Time limit of reads from the leader: it answers in milliseconds or not at all. */
const READ_TIMEOUT_MS = 2_000;
/** A member that has heard of the leader waits 4 s before it stands for election, so until then there is no other leader. */
const MEMBER_SEEN_MS_MAX = 2_500;
/** Time limit of a purge, which may remove gigabytes. */
const PURGE_TIMEOUT_MS = 10_000;
/**
 * A full log must still take a fence, or nobody could take over, flush and truncate it. So inserts and deletes stop this much
 * below the bound; the level is read from the server again after every appended quarter of it.
 */
const FENCE_RESERVE_BYTES_MAX = 32 << 20;

/** Bytes that the server stores beside a payload: subject, headers, its own record. */
const STORED_OVERHEAD_BYTES = 256;

/** Room for a message's headers inside max_payload: they are under 300 bytes. */
const HEADER_BYTES_MAX = 4_096;

export function createNatsLog(connections: NatsConnections, options: NatsLogOptions): NatsLog {
  const { prefix } = options;
  const { wal, bulk } = connections;
  const js: JetStreamClient = jetstream(wal);
  const managerWith = (timeout: number): (() => Promise<JetStreamManager>) => {
    let manager: Promise<JetStreamManager> | undefined;
    return () => {
      manager ??= jetstreamManager(wal, { checkAPI: false, timeout });
      return manager;
    };
  };
  // A request that was lost with its connection is waited for until its time is over.
  const reading = managerWith(READ_TIMEOUT_MS);
  const purging = managerWith(PURGE_TIMEOUT_MS);

  const streamName = (channel: number): string => `${prefix}-wal-${channel}`;
  const subject = (channel: number, kind: LogKind): string => `${prefix}.wal.${channel}.${kind}`;

  const read = async (channel: number, query: Record<string, unknown>): Promise<LogMessage | null> => {
    const api = `$JS.API.STREAM.MSG.GET.${streamName(channel)}`;
    try {
      // Not the library's getMessage: it decodes base64 a character at a time, 20 ms a megabyte.
      const reply = await wal.request(api, JSON.stringify(query), { timeout: READ_TIMEOUT_MS });
      return parseStored(reply.json<StoredReply>());
    } catch (error) {
      throw unavailable(`cannot read channel ${channel} of the log`, error);
    }
  };

  /** A channel's stream, as its leader knows it. A member that is cut off answers too, with its old knowledge. */
  const describe = async (channel: number): Promise<StreamInfo> => {
    const info = await (await reading()).streams.info(streamName(channel));
    if (hasLeader(info)) return info;
    throw new Error("the member of NATS that answers knows of no leader");
  };

  /** @throws VdbError unavailable when the leader that answers may have been replaced */
  const requireMajority = async (channel: number): Promise<void> => {
    try {
      const { config, cluster } = await describe(channel);
      const seen = (cluster?.replicas ?? []).filter(({ active }) => active < nanos(MEMBER_SEEN_MS_MAX)).length;
      if (2 * (1 + seen) > config.num_replicas) return;
      throw new Error(`its leader ${cluster?.leader} has lost touch with ${config.num_replicas - 1 - seen} members`);
    } catch (error) {
      throw unavailable(`channel ${channel} of the log cannot say who owns it`, error);
    }
  };

  const reserveBytes = Math.min(FENCE_RESERVE_BYTES_MAX, options.maxBytes / 16);
  /** Bytes that may be appended to a channel before its level is read again. */
  const credits = new Map<number, number>();

  /** Why the channel takes no rows now; null if it does. */
  const whyFull = async (channel: number, bytes: number): Promise<Error | null> => {
    const credit = (credits.get(channel) ?? 0) - bytes - STORED_OVERHEAD_BYTES;
    credits.set(channel, credit);
    if (credit >= 0) return null;
    const { state, config } = await (await reading()).streams.info(streamName(channel));
    const boundBytes = config.max_bytes > 0 ? config.max_bytes : Number.POSITIVE_INFINITY;
    const free = boundBytes - reserveBytes - state.bytes - bytes;
    if (free < 0)
      return new Error(`channel ${channel} of the log is full (${state.bytes} of ${config.max_bytes} bytes)`);
    credits.set(channel, Math.min(free, reserveBytes / 4));
    return null;
  };

  const log: NatsLog = {
    get maxMessageBytes() {
      return (wal.info?.max_payload ?? 1 << 20) - HEADER_BYTES_MAX;
    },

    async append(channel, kind, messageId, payload, expect, timeoutMs) {
      try {
        if (kind !== "ctl") {
          const full = await whyFull(channel, payload.length);
          if (full !== null) return { kind: "refused", error: full };
        }
        const ack = await js.publish(subject(channel, kind), payload, {
          msgID: messageId,
          timeout: timeoutMs,
          retries: 1,
          expect: { streamName: streamName(channel), ...expectations(expect) },
        });
        return { kind: "stored", seq: ack.seq };
      } catch (error) {
        return outcomeOf(error);
      }
    },

    readAt: (channel, seq) => read(channel, { seq }),

    async readLast(channel, kind) {
      const message = await read(channel, { last_by_subj: subject(channel, kind) });
      // Checked after the read: what the leader said was true if nobody else can have been elected until now.
      if (options.replicas > 1) await requireMajority(channel);
      return message;
    },

    async bounds(channel): Promise<LogBounds> {
      try {
        const { state } = await describe(channel);
        return { firstSeq: state.messages === 0 ? state.last_seq + 1 : state.first_seq, lastSeq: state.last_seq };
      } catch (error) {
        throw unavailable(`cannot read the bounds of channel ${channel} of the log`, error);
      }
    },

    tail: (channel, kinds, fromSeq, handler, onCaughtUp) =>
      tailStream(bulk, {
        stream: streamName(channel),
        filterSubjects: new Set(kinds).size === 3 ? [] : kinds.map((kind) => subject(channel, kind)),
        start: { bySeq: fromSeq },
        handler: (message) =>
          handler({
            seq: message.seq,
            kind: kindOfSubject(message.subject),
            messageId: message.headers?.get("Nats-Msg-Id") ?? "",
            payload: message.payload,
          }),
        ...(onCaughtUp === undefined ? {} : { onCaughtUp }),
      }),

    async purge(channel, throughSeq) {
      const newestFence = await log.readLast(channel, "ctl");
      // A first fence does not know the chains yet; the owner's next one, a moment later, does.
      if (newestFence !== null && decodeRecord(newestFence.payload).fence?.isAnchored !== true) return;
      const through = newestFence === null ? throughSeq : Math.min(throughSeq, newestFence.seq - 1);
      if (through < 1) return;
      try {
        await (await purging()).streams.purge(streamName(channel), { seq: through + 1 });
      } catch (error) {
        throw unavailable(`cannot purge channel ${channel} of the log`, error);
      }
    },

    async ensureChannels(count) {
      const settings = { replicas: options.replicas, initial: initialSettings(options.maxBytes), clock: systemClock };
      for (let channel = 0; channel < count; channel++) {
        const stream = streamName(channel);
        const calls = createStreamCalls(wal, { stream, clock: systemClock, random: systemRandom });
        await ensureStream(calls, channelSettings(stream, `${prefix}.wal.${channel}`), settings);
      }
    },
  };
  return log;
}

/** Settings that correctness depends on. */
function channelSettings(name: string, subjects: string): StreamSettings {
  return {
    name,
    subjects: [`${subjects}.ins`, `${subjects}.mut`, `${subjects}.ctl`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    // A full log refuses; the default setting would drop the oldest messages.
    discard: DiscardPolicy.New,
    max_age: 0,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    deny_delete: true,
    allow_rollup_hdrs: false,
  };
}

/** Settings that an operator may change. */
function initialSettings(maxBytes: number): Partial<StreamConfig> {
  return {
    description: "vdb-actor write-ahead log",
    max_bytes: maxBytes,
    max_msg_size: -1,
    duplicate_window: nanos(120_000),
    compression: StoreCompression.None,
    allow_direct: true,
  };
}

function expectations(expect: AppendExpectation): { lastSequence?: number; lastSubjectSequence?: number } {
  return {
    ...(expect.lastSeq === undefined ? {} : { lastSequence: expect.lastSeq }),
    ...(expect.lastSeqOfKind === undefined ? {} : { lastSubjectSequence: expect.lastSeqOfKind }),
  };
}

function outcomeOf(thrown: unknown): AppendOutcome {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  // The client does not send what is longer than max_payload: the slot would stay empty, however often it is tried.
  if (error instanceof InvalidArgumentError) throw unavailable("the log does not take the message", error);
  if (!(error instanceof JetStreamApiError)) return { kind: "unknown", error };
  if (CONFLICT_CODES.has(error.code)) return { kind: "conflict" };
  if (REFUSED_CODES.has(error.code)) return { kind: "refused", error };
  if (BUG_CODES.has(error.code)) throw error;
  return { kind: "unknown", error };
}

interface StoredReply {
  error?: { code: number; err_code: number; description: string };
  message?: { subject: string; seq: number; hdrs?: string; data?: string };
}

function parseStored(reply: StoredReply): LogMessage | null {
  if (reply.error?.err_code === JetStreamApiCodes.NoMessageFound) return null;
  if (reply.error !== undefined) throw new Error(`${reply.error.description} (${reply.error.err_code})`);
  const { subject, seq, hdrs, data } = reply.message!;
  return {
    seq,
    kind: kindOfSubject(subject),
    messageId: messageIdOf(Buffer.from(hdrs ?? "", "base64").toString()),
    payload: Buffer.from(data ?? "", "base64"),
  };
}

function messageIdOf(rawHeaders: string): string {
  return /^Nats-Msg-Id:\s*(\S+)/im.exec(rawHeaders)?.[1] ?? "";
}

function kindOfSubject(subject: string): LogKind {
  return subject.slice(subject.lastIndexOf(".") + 1) as LogKind;
}

function unavailable(what: string, error: unknown): VdbError {
  return new VdbError("unavailable", `${what}: ${errorMessage(error)}`, { cause: error });
}
