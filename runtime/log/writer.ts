/**
 * The exclusive writer of one channel.
 *
 * Owns the channel's tail for one term. At most one message is in flight, and it expects the last sequence that was
 * acknowledged to this writer. So after somebody else's message (a newer owner's fence) nothing of ours is ever stored
 * again, however late it arrives. Throughput comes from group commit: what arrives meanwhile goes into the next
 * message.
 *
 * Invariants
 *   W1. An append resolves only when it is stored; `channel_fenced`, `rate_limited` and `deadline_exceeded` mean it never
 *       will be.
 *   W2. Timestamps grow from entry to entry over all terms of the channel.
 *   W3. `onCommitted` is called for every stored entry of this term, in order, and has ended before its append resolves
 *       and before the next entry is stored.
 *
 * A message's life:  take a group -> give it timestamps -> send -> stored
 *                                                              -> refused: back into the queue
 *                                                              -> unknown: read the slot: ours (stored), empty (send
 *                                                                 again), somebody else's (fenced: the writer ends)
 */
import type { Clock } from "../clock.ts";
import { errorMessage, VdbError } from "../errors.ts";
import { type AppendGroup, AppendQueue, type PendingAppend } from "./append-queue.ts";
import type { LogKind } from "./port.ts";
import {
  type ChainLink,
  encodeEntry,
  encodeFence,
  encodeRecord,
  kindOf,
  type LogEntry,
  type LogEntryBody,
  recordBytes,
  recordCrc,
} from "./record.ts";
import { APPEND_TIMEOUT_MS, backOff, type ChannelClaim, takeOver, whenAvailable } from "./take-over.ts";
import { type ChainState, corruptAt, decodeMessage } from "./verify.ts";

/**
 * While the log takes nothing, waiting appends are refused after REFUSED_WAIT_MS, or when only ANSWER_MS are left until
 * their deadline, so that the answer still arrives. Making room (a flush, a checkpoint, the cut) takes a second or two,
 * and a refused caller may ask again.
 */
const REFUSED_WAIT_MS = 2_000;
const ANSWER_MS = 1_000;

/** The most that a purge may leave behind: it never goes past the newest fence (`LogPort.purge`). */
const FENCE_EVERY_BYTES = 64 << 20;

const BUSY = "too many writes were ahead of it";

export interface WriterOptions extends ChannelClaim {
  /** Returns the first of `count` consecutive timestamps. */
  timestamps: (count: number) => Promise<bigint>;
  /** bytes: of the message's payload. */
  onCommitted: (seq: number, kind: LogKind, entries: LogEntry[], bytes: number) => void | Promise<void>;
  /** Called when the log takes no entries because it is full: the caller makes room by having it cut. */
  onRefused?: () => void;
}

export interface LogWriter {
  /** Sequence of this term's fence: everything up to it is final. The caller replays it, then calls `resume`. */
  readonly fenceSeq: number;
  /**
   * What earlier owners left, also where the log has been cut since: sequence of their newest message that deletes, timestamp
   * of their newest entry. 0: there was none.
   */
  readonly inherited: { readonly mutSeq: number; readonly lastTs: bigint };
  /** Starts taking appends. `state` is what the replay ended with. @throws VdbError corrupt when the replay saw another log */
  resume(state: ChainState): void;
  /**
   * Stores one entry. deadline: clock.monotonic() milliseconds; an entry not sent by then is dropped.
   * @throws VdbError deadline_exceeded (not stored), rate_limited (not stored: the queue was full, or the log and stayed
   *   so), channel_fenced (not stored), channel_not_owned (not stored, or, when the writer was aborted in the middle,
   *   unknown), parameter_too_large
   */
  append(body: LogEntryBody, deadline: number): Promise<{ seq: number; ts: bigint }>;
  /**
   * Proves that at some instant after this call the channel was still ours. Calls share reads of the leader.
   * @throws VdbError channel_fenced, unavailable
   */
  prove(): Promise<void>;
  /**
   * Resolves once no append with a timestamp <= ts is in flight or about to get one. Call `raiseFloor(ts)` first, so that it
   * stays so.
   * @throws VdbError the reason, when the writer ends before
   */
  settled(ts: bigint): Promise<void>;
  /** Appends that have no timestamp yet get one greater than ts. */
  raiseFloor(ts: bigint): void;
  /** Resolves with the reason once the writer has ended: channel_fenced, corrupt, channel_not_owned (closed, aborted). */
  readonly closed: Promise<Error>;
  /** Takes no more appends, settles the one in flight, ends. What was still queued gets channel_not_owned. */
  close(): Promise<void>;
}

/** Takes the channel over with a fence. @throws VdbError channel_fenced (an equal or higher term is there), corrupt, canceled */
export async function openWriter(options: WriterOptions): Promise<LogWriter> {
  const { chain, lastTs } = await takeOver(options);
  return new ExclusiveWriter(options, chain, lastTs);
}

class ExclusiveWriter implements LogWriter {
  readonly fenceSeq: number;
  readonly inherited: { readonly mutSeq: number; readonly lastTs: bigint };
  readonly closed: Promise<Error>;
  readonly #options: WriterOptions;
  readonly #clock: Clock;
  readonly #queue = new AppendQueue();
  /** Why appends are no longer taken; the one in flight is still settled. */
  #refusal: Error | null = null;
  /** Aborted with the refusal: ends waits that serve only queued appends. */
  readonly #closing = new AbortController();
  /** The newest message of each kind; and of the whole stream, as acknowledged to us. */
  readonly #chain: Record<LogKind, ChainLink>;
  #lastSeq: number;
  /** Timestamp of the newest entry stored. */
  #lastTs: bigint;
  /** Timestamps are given above it. */
  #floor: bigint;
  /** Messages stored in this term: the fence is 0. */
  #index = 1;
  /** Messages made in this term: refused ones are numbered too, so that no two share an id. */
  #made = 0;
  #bytesSinceFence = 0;
  #isAnchored: boolean = false;
  /** The group between queue and log. firstTs: null until it has timestamps. */
  #current: { group: AppendGroup; firstTs: bigint | null } | null = null;
  /** Why nothing is sent now: the error for an append that has waited too long. */
  #hindrance = BUSY;
  /** Since when (monotonic) the log has refused everything because it is full; null while it takes appends. */
  #refusedSince: number | null = null;
  #settling: { ts: bigint; resolve: () => void; reject: (error: Error) => void }[] = [];
  #sentProof: Promise<void> = Promise.resolve();
  #nextProof: Promise<void> | null = null;
  #running: Promise<void> | null = null;
  #reason: Error | null = null;
  #wake: () => void = () => undefined;
  #resolveClosed: (reason: Error) => void = () => undefined;

  constructor(options: WriterOptions, chain: Record<LogKind, ChainLink>, lastTs: bigint) {
    this.#options = options;
    this.#clock = options.clock;
    this.#chain = chain;
    this.fenceSeq = chain.ctl.seq;
    this.inherited = { mutSeq: chain.mut.seq, lastTs };
    this.#lastSeq = chain.ctl.seq;
    this.#lastTs = lastTs;
    this.#floor = lastTs;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const stop = (): void => this.#end(this.#notOwned("the writer was stopped"));
    options.signal.addEventListener("abort", stop, { once: true });
    void this.closed.then(() => options.signal.removeEventListener("abort", stop));
    if (options.signal.aborted) stop();
  }

  // -- what callers do

  resume(state: ChainState): void {
    if (this.#running !== null) throw new Error("resume() was called before");
    for (const kind of ["ins", "mut", "ctl"] as const) {
      const [seen, mine] = [{ seq: state.lastSeqOfKind[kind], crc: state.lastCrcOfKind[kind] }, this.#chain[kind]];
      // A replay from a late checkpoint may meet no message of a kind.
      if (seen.seq === 0 || (seen.seq === mine.seq && seen.crc === mine.crc)) continue;
      const error = this.#corrupt(mine.seq, `is the newest ${kind} message, the replay ended with ${seen.seq}`);
      this.#end(error);
      throw error;
    }
    if (state.lastTs > this.#lastTs) this.#lastTs = state.lastTs;
    this.raiseFloor(this.#lastTs);
    this.#running = this.#run();
  }

  async append(body: LogEntryBody, deadline: number): Promise<{ seq: number; ts: bigint }> {
    if (this.#refusal !== null) throw this.#refusal;
    if (this.#running === null) throw new Error("append() before resume()");
    const encoded = encodeEntry(body);
    const { maxMessageBytes } = this.#options.log;
    if (recordBytes(1, encoded.bytes.length) > maxMessageBytes) {
      throw new VdbError(
        "parameter_too_large",
        `rows of ${encoded.bytes.length} bytes, one write takes at most ${maxMessageBytes}: split them`,
        { details: { bytes: encoded.bytes.length, maxBytes: maxMessageBytes } },
      );
    }
    return new Promise((resolve, reject) => {
      const append = { ...encoded, body, deadline, resolve, reject };
      this.#queue.push(kindOf(body.operation) === "ins" ? "ins" : "mut", append);
      this.#wake();
    });
  }

  raiseFloor(ts: bigint): void {
    if (ts > this.#floor) this.#floor = ts;
  }

  async settled(ts: bigint): Promise<void> {
    if (this.#refusal !== null) throw this.#refusal;
    if (this.#isSettled(ts)) return;
    await new Promise<void>((resolve, reject) => {
      this.#settling.push({ ts, resolve, reject });
    });
  }

  prove(): Promise<void> {
    // A read that was sent before this call may have been answered before it: wait for the next one.
    this.#nextProof ??= this.#sentProof
      .catch(() => undefined)
      .then(() => {
        this.#nextProof = null;
        this.#sentProof = this.#readFence();
        return this.#sentProof;
      });
    return this.#nextProof;
  }

  async close(): Promise<void> {
    this.#refuse(this.#notOwned("the writer was closed"));
    await this.closed;
  }

  // -- the loop

  async #run(): Promise<void> {
    try {
      for (let setbacks = 0; this.#refusal === null; ) {
        this.#dropExpired();
        const isStored = await this.#storeNext();
        if (this.#reason !== null) return;
        setbacks = isStored ? 0 : setbacks + 1;
        if (!isStored) await this.#waitAfterSetback(setbacks);
      }
      this.#end(this.#refusal);
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** One message into the log, or a wait for work. False: not now, it is in the queue again. */
  async #storeNext(): Promise<boolean> {
    // A full log is cut at most up to its newest fence.
    const isBehind =
      this.#refusedSince !== null ? this.#bytesSinceFence > 0 : this.#bytesSinceFence >= FENCE_EVERY_BYTES;
    if (!this.#isAnchored || isBehind) return this.#storeFence();
    const group = this.#queue.take(this.#options.log.maxMessageBytes);
    if (group !== null) return this.#storeGroup(group);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    return true;
  }

  async #waitAfterSetback(setbacks: number): Promise<void> {
    try {
      await backOff(this.#options, setbacks - 1, this.#closing.signal);
    } catch {
      // Closing: the loop looks.
    }
  }

  async #storeFence(): Promise<boolean> {
    const { nodeId } = this.#options;
    const { ins, mut } = this.#chain;
    const payload = encodeFence(this.#header("ctl"), { nodeId, chain: { ins, mut }, isAnchored: true }, this.#lastTs);
    if (!(await this.#store("ctl", payload))) return false;
    this.#isAnchored = true;
    this.#bytesSinceFence = 0;
    return true;
  }

  async #storeGroup(group: AppendGroup): Promise<boolean> {
    const current: { group: AppendGroup; firstTs: bigint | null } = { group, firstTs: null };
    this.#current = current;
    current.firstTs = await this.#takeTimestamps(group.appends.length);
    if (this.#reason !== null) return false;
    if (current.firstTs === null || this.#refusal !== null || this.#hasExpired(group)) return this.#postpone(group);
    this.#floor = current.firstTs + BigInt(group.appends.length - 1);
    this.#releaseSettled();
    const entries = group.appends.map(({ bytes, version }, i) => ({
      ts: current.firstTs! + BigInt(i),
      bytes,
      version,
    }));
    const payload = encodeRecord(this.#header(group.kind), entries);
    const isStored = await this.#store(group.kind, payload);
    if (this.#reason !== null) return false;
    if (!isStored) return this.#postpone(group);
    await this.#commit(group, current.firstTs, payload.length);
    return true;
  }

  /** Null: none now. Timestamps lower than the log's come from a deposed coordinator: ask again later. */
  async #takeTimestamps(count: number): Promise<bigint | null> {
    try {
      const first = await this.#options.timestamps(count);
      if (first > this.#floor) return first;
      this.#hindrance = `the timestamps given were not above ${this.#floor}`;
    } catch (error) {
      this.#hindrance = `no timestamps: ${errorMessage(error)}`;
    }
    return null;
  }

  #postpone(group: AppendGroup): false {
    this.#queue.putBack(group);
    this.#current = null;
    this.#releaseSettled();
    if (this.#refusal !== null) this.#rejectAll(this.#queue.takeAll(), this.#refusal);
    return false;
  }

  async #commit(group: AppendGroup, firstTs: bigint, bytes: number): Promise<void> {
    const seq = this.#lastSeq;
    this.#lastTs = firstTs + BigInt(group.appends.length - 1);
    this.#queue.release(group.appends);
    const entries = group.appends.map(({ body }, i) => ({ ...body, ts: firstTs + BigInt(i) }));
    const handling = this.#options.onCommitted(seq, group.kind, entries, bytes);
    if (handling !== undefined) await handling;
    this.#current = null;
    for (let i = 0; i < entries.length; i++) group.appends[i]!.resolve({ seq, ts: entries[i]!.ts });
    this.#releaseSettled();
  }

  // -- one message

  #header(kind: LogKind) {
    const { channel, term } = this.#options;
    return { channel, kind, term, index: this.#index, previous: this.#chain[kind] };
  }

  /**
   * Stores a message in the slot after the last acknowledged one. True: it is there. False: it is not and never will be.
   * @throws VdbError channel_fenced, corrupt
   */
  async #store(kind: LogKind, payload: Uint8Array): Promise<boolean> {
    const { log, channel, term } = this.#options;
    const slot = this.#lastSeq + 1;
    const messageId = `${term}-${++this.#made}`;
    for (let tries = 0; ; tries++) {
      const outcome = await log.append(channel, kind, messageId, payload, { lastSeq: slot - 1 }, APPEND_TIMEOUT_MS);
      if (outcome.kind === "stored") {
        if (outcome.seq !== slot) throw this.#corrupt(slot, `an append to it was stored at ${outcome.seq}`);
        return this.#stored(kind, payload);
      }
      if (outcome.kind !== "conflict") this.#hindrance = errorMessage(outcome.error);
      this.#refusedSince = outcome.kind === "refused" ? (this.#refusedSince ?? this.#clock.monotonic()) : null;
      // An earlier attempt may still arrive, unless this is the first.
      if (outcome.kind === "refused") this.#options.onRefused?.();
      if (outcome.kind === "refused" && tries === 0) return false;
      if (await this.#isInSlot(slot, messageId)) return this.#stored(kind, payload);
      if (outcome.kind === "conflict") await this.#requireOpenSlot(slot);
      this.#dropExpired();
      await backOff(this.#options, tries);
    }
  }

  #stored(kind: LogKind, payload: Uint8Array): true {
    this.#hindrance = BUSY;
    this.#refusedSince = null;
    this.#lastSeq++;
    this.#index++;
    this.#chain[kind] = { seq: this.#lastSeq, crc: recordCrc(payload) };
    this.#bytesSinceFence += payload.length;
    return true;
  }

  /** False: the slot is empty. @throws VdbError channel_fenced when somebody else's message sits there */
  async #isInSlot(slot: number, messageId: string): Promise<boolean> {
    const { log, channel } = this.#options;
    const message = await whenAvailable(this.#options, () => {
      // The log may be away for long: waiting appends are told so when their time is over.
      this.#dropExpired();
      return log.readAt(channel, slot);
    });
    if (message === null) return false;
    if (message.messageId === messageId) return true;
    throw this.#fenced(`slot ${slot} holds message ${message.messageId}`);
  }

  /** After a conflict with an empty slot: either the race of two attempts of ours, or the log is not what it was. */
  async #requireOpenSlot(slot: number): Promise<void> {
    const { log, channel, term } = this.#options;
    const { lastSeq } = await whenAvailable(this.#options, () => log.bounds(channel));
    if (lastSeq === slot - 1) return;
    const fence = await whenAvailable(this.#options, () => log.readLast(channel, "ctl"));
    if (fence !== null && decodeMessage(channel, fence).term > term) throw this.#fenced(`fence at ${fence.seq}`);
    // Our own attempt may have landed between the two reads.
    if (lastSeq >= slot && (await whenAvailable(this.#options, () => log.readAt(channel, slot))) !== null) return;
    throw this.#corrupt(slot, `must be the next one, but the log ends at ${lastSeq}`);
  }

  // -- proofs, ends

  async #readFence(): Promise<void> {
    if (this.#refusal !== null) throw this.#refusal;
    const { log, channel, term, nodeId } = this.#options;
    const message = await log.readLast(channel, "ctl");
    const record = message === null ? null : decodeMessage(channel, message);
    if (record?.term === term && record.fence?.nodeId === nodeId) return;
    const error = this.#fenced(
      record === null ? "no fence is left" : `fence of ${record.fence?.nodeId}, term ${record.term}`,
    );
    // Not the end yet: the message in flight may have been stored before that fence.
    this.#refuse(error);
    throw error;
  }

  #isSettled(ts: bigint): boolean {
    return this.#current === null || (this.#current.firstTs !== null && this.#current.firstTs > ts);
  }

  #releaseSettled(): void {
    if (this.#settling.length === 0) return;
    const waiting = this.#settling;
    this.#settling = [];
    for (const waiter of waiting) {
      if (this.#isSettled(waiter.ts)) waiter.resolve();
      else this.#settling.push(waiter);
    }
  }

  #hasExpired(group: AppendGroup): boolean {
    const now = this.#clock.monotonic();
    return group.appends.some((append) => append.deadline <= now);
  }

  /** Rejects waiting appends that have no time left, or no chance. */
  #dropExpired(): void {
    const now = this.#clock.monotonic();
    if (this.#refusedSince === null) {
      const late = this.#queue.takeExpired(now);
      this.#rejectAll(late, new VdbError("deadline_exceeded", `not written in time: ${this.#hindrance}`));
      return;
    }
    const hasWaited = now - this.#refusedSince >= REFUSED_WAIT_MS;
    const refused = hasWaited ? this.#queue.takeAll() : this.#queue.takeExpired(now + ANSWER_MS);
    this.#rejectAll(refused, new VdbError("rate_limited", `not written: ${this.#hindrance}`));
    // Later appends are tried again.
    if (hasWaited) this.#refusedSince = null;
  }

  #rejectAll(appends: PendingAppend[], error: Error): void {
    for (const append of appends) append.reject(error);
  }

  /** Takes no more appends; the loop settles the one in flight, and ends. */
  #refuse(refusal: Error): void {
    if (this.#refusal !== null) return;
    this.#refusal = refusal;
    this.#closing.abort();
    this.#rejectAll(this.#queue.takeAll(), refusal);
    this.#wake();
    if (this.#running === null) this.#end(refusal);
  }

  /** Ends the writer, once, whatever is in flight: the loop stops when it next looks. */
  #end(reason: Error): void {
    if (this.#reason !== null) return;
    this.#reason = reason;
    this.#refuse(reason);
    if (this.#current !== null) this.#rejectAll(this.#current.group.appends, reason);
    this.#current = null;
    for (const waiter of this.#settling) waiter.reject(reason);
    this.#settling = [];
    this.#resolveClosed(reason);
  }

  #fenced(why: string): VdbError {
    const { channel, term } = this.#options;
    return new VdbError("channel_fenced", `channel ${channel} has another owner than this of term ${term}: ${why}`, {
      details: { channel, term },
    });
  }

  #notOwned(why: string): VdbError {
    return new VdbError("channel_not_owned", `channel ${this.#options.channel}: ${why}`);
  }

  #corrupt(seq: number, why: string): VdbError {
    return corruptAt(this.#options.channel, seq, why);
  }
}
