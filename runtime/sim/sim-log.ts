/** The log of a simulated cluster: one stream a channel, with the expectations and the deduplication of JetStream. */
import { VdbError } from "../errors.ts";
import type { AppendExpectation, AppendOutcome, LogBounds, LogKind, LogMessage, LogPort, Tail } from "../log/port.ts";
import { decodeRecord } from "../log/record.ts";
import { type Feed, follow, newFeed } from "./follow.ts";
import { type Link, type RequestOptions, request, type ServerState } from "./link.ts";

const READ_TIMEOUT_MS = 2_000;
const ADMIN_TIMEOUT_MS = 10_000;
const DEDUP_WINDOW_MS = 120_000;
const FENCE_RESERVE_BYTES_MAX = 32 << 20;
/** What the server stores beside a payload. */
const STORED_OVERHEAD_BYTES = 256;
/** A leader that has not heard of the others for longer does not say who owns the channel. */
const LEADS_FOR_MS = 2_500;

const NONE: Record<LogKind, number> = { ins: 0, mut: 0, ctl: 0 };

export interface LogSettings {
  maxBytes: number;
  maxMessageBytes: number;
  /** A single server looks at expectations first, a replicated stream at message ids. */
  isReplicated: boolean;
}

/** What a stream says to an append. */
type Stored = { kind: "stored"; seq: number } | { kind: "conflict" } | { kind: "full" };

/** The part at the server: one channel's stream. */
export class LogStream {
  readonly channel: number;
  readonly feed: Feed<LogMessage>;
  /** Everything that was ever stored, purged or not, by sequence - 1. */
  readonly all: LogMessage[] = [];
  firstSeq = 1;
  bytes = 0;
  /** A planted bug: expectations are not looked at. */
  ignoresExpectations = false;
  /** What a leader that was cut off still has. */
  #past: LogBounds & { lastOfKind: Record<LogKind, number> } = { firstSeq: 1, lastSeq: 0, lastOfKind: NONE };
  /** Called with each message as it is stored, and with each purge. */
  onAppend: ((message: LogMessage) => void) | undefined;
  onPurge: ((throughSeq: number) => void) | undefined;
  readonly #settings: LogSettings;
  readonly #server: ServerState;
  readonly #lastOfKind = { ...NONE };
  readonly #ids = new Map<string, { seq: number; at: number }>();

  constructor(server: ServerState, channel: number, settings: LogSettings) {
    this.#server = server;
    this.#settings = settings;
    this.channel = channel;
    this.feed = newFeed(`log ${channel}`, (after) => ({
      items: this.all.slice(Math.max(after, this.firstSeq - 1)),
      position: this.all.length,
    }));
  }

  get lastSeq(): number {
    return this.all.length;
  }

  append(kind: LogKind, messageId: string, payload: Uint8Array, expect: AppendExpectation): Stored {
    const { isReplicated, maxBytes } = this.#settings;
    const { now } = this.#server.scheduler;
    const known = this.#ids.get(messageId);
    const isDuplicate = known !== undefined && now - known.at < DEDUP_WINDOW_MS;
    if (isDuplicate) this.#server.tally.count("append twice");
    if (isReplicated && isDuplicate) return { kind: "stored", seq: known.seq };
    if (!this.ignoresExpectations && !this.#holds(kind, expect)) return { kind: "conflict" };
    if (isDuplicate) return { kind: "stored", seq: known.seq };
    const size = payload.length + STORED_OVERHEAD_BYTES;
    const reserve = kind === "ctl" ? 0 : Math.min(FENCE_RESERVE_BYTES_MAX, maxBytes / 16);
    if (this.bytes + size > maxBytes - reserve) return { kind: "full" };
    const message = { seq: this.all.length + 1, kind, messageId, payload };
    this.all.push(message);
    this.bytes += size;
    this.#lastOfKind[kind] = message.seq;
    this.#ids.set(messageId, { seq: message.seq, at: now });
    this.onAppend?.(message);
    for (const grown of [...this.feed.growth]) grown();
    return { kind: "stored", seq: message.seq };
  }

  /** Keeps the present state as the past one, until there is one present again. */
  splitOff(): void {
    this.#past = { ...this.boundsAt(false), lastOfKind: { ...this.#lastOfKind } };
  }

  boundsAt(isPast: boolean): LogBounds {
    return isPast ? this.#past : { firstSeq: this.firstSeq, lastSeq: this.lastSeq };
  }

  at(seq: number, isPast = false): LogMessage | null {
    const { firstSeq, lastSeq } = this.boundsAt(isPast);
    return seq < firstSeq || seq > lastSeq ? null : this.all[seq - 1]!;
  }

  last(kind: LogKind, isPast = false): LogMessage | null {
    return this.at((isPast ? this.#past.lastOfKind : this.#lastOfKind)[kind], isPast);
  }

  purge(throughSeq: number): void {
    const through = Math.min(throughSeq, this.lastSeq);
    if (through < this.firstSeq) return;
    this.onPurge?.(through);
    for (let seq = this.firstSeq; seq <= through; seq++) {
      this.bytes -= this.all[seq - 1]!.payload.length + STORED_OVERHEAD_BYTES;
    }
    this.firstSeq = through + 1;
  }

  /** A planted bug: the server forgets what it said was stored, as one that does not write through to the disk. */
  loseNewest(count: number): void {
    this.all.splice(Math.max(this.firstSeq - 1, this.all.length - count));
    for (const kind of ["ins", "mut", "ctl"] as const) {
      this.#lastOfKind[kind] = this.all.findLastIndex((message) => message.kind === kind) + 1;
    }
  }

  #holds(kind: LogKind, { lastSeq, lastSeqOfKind }: AppendExpectation): boolean {
    if (lastSeq !== undefined && lastSeq !== this.lastSeq) return false;
    return lastSeqOfKind === undefined || lastSeqOfKind === (this.last(kind)?.seq ?? 0);
  }
}

export function createSimLog(
  streams: readonly LogStream[],
  server: ServerState,
  links: { write: Link; read: Link },
  settings: LogSettings,
): LogPort {
  const { write, read } = links;
  const stream = (channel: number): LogStream | undefined => streams[channel];

  const ask = async <T>(
    what: string,
    channel: number,
    options: Omit<RequestOptions, "label" | "store">,
    act: (stream: LogStream, isPast: boolean) => T,
  ): Promise<T> => {
    const found = stream(channel);
    const label = `log ${what}`;
    const answer =
      found === undefined
        ? null
        : await request(write, server, { label, store: found.feed.label, ...options }, (isPast) => act(found, isPast));
    if (answer === null) throw new VdbError("unavailable", `${label}: no answer`);
    return answer.value;
  };

  const log: LogPort = {
    maxMessageBytes: settings.maxMessageBytes,

    async append(channel, kind, messageId, payload, expect, timeoutMs): Promise<AppendOutcome> {
      if (payload.length > settings.maxMessageBytes) throw new VdbError("unavailable", "max_payload size exceeded");
      const found = stream(channel);
      if (found === undefined) return { kind: "unknown", error: new Error("timeout") };
      const options = { label: `log append ${kind}`, store: found.feed.label, timeoutMs, isWrite: true };
      const answer = await request(write, server, options, () => found.append(kind, messageId, payload, expect));
      if (answer === null) return { kind: "unknown", error: new Error("timeout") };
      if (answer.value.kind !== "full") return answer.value;
      return { kind: "refused", error: new Error(`channel ${channel} of the log is full`) };
    },

    readAt: (channel, seq) =>
      ask("read", channel, { timeoutMs: READ_TIMEOUT_MS }, (found, isPast) => found.at(seq, isPast)),

    readLast: (channel, kind) =>
      ask(
        "read last",
        channel,
        { timeoutMs: READ_TIMEOUT_MS, leadsForMs: LEADS_FOR_MS * server.settings.haste },
        (found, isPast) => found.last(kind, isPast),
      ),

    bounds: (channel) =>
      ask("bounds", channel, { timeoutMs: ADMIN_TIMEOUT_MS }, (found, isPast) => found.boundsAt(isPast)),

    async tail(channel, kinds, fromSeq, handler, onCaughtUp): Promise<Tail> {
      // The consumer is made by a request; what it sends comes by itself.
      await ask("tail", channel, { timeoutMs: READ_TIMEOUT_MS }, () => undefined);
      const from = Math.max(1, fromSeq);
      const follower = follow(
        read,
        server,
        stream(channel)!.feed,
        from - 1,
        ({ kind }) => kinds.includes(kind),
        handler,
        { onCaughtUp },
      );
      return { failed: follower.failed, [Symbol.asyncDispose]: () => follower.stop() };
    },

    async purge(channel, throughSeq) {
      const newestFence = await log.readLast(channel, "ctl");
      // As on NATS: the newest fence stays, and one that does not know the chains holds everything.
      if (newestFence !== null && decodeRecord(newestFence.payload).fence?.isAnchored !== true) return;
      const through = newestFence === null ? throughSeq : Math.min(throughSeq, newestFence.seq - 1);
      if (through < 1) return;
      await ask("purge", channel, { timeoutMs: ADMIN_TIMEOUT_MS, isWrite: true }, (found) => found.purge(through));
    },
  };
  return log;
}
