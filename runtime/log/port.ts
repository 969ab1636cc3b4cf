/**
 * The log as the rest of the system sees it: one stream of messages a pchannel, appended by its owner alone.
 * Sequences are those of the stream: contiguous from 1, shared by all kinds, exact as numbers (< 2^53).
 */

/** ins: inserts only. mut: whatever deletes (deletes, upserts, drops). ctl: fences. A reader of deletes follows mut alone. */
export type LogKind = "ins" | "mut" | "ctl";

export interface LogMessage {
  seq: number;
  kind: LogKind;
  messageId: string;
  payload: Uint8Array;
}

export type AppendOutcome =
  | { kind: "stored"; seq: number }
  /** The expectation does not hold: this attempt certainly stored nothing (an earlier one may have). */
  | { kind: "conflict" }
  /** Timeout, lost connection, no leader: stored or not, which reading the slot tells. */
  | { kind: "unknown"; error: Error }
  /** Refused for now (log full, too many requests in the server): not stored. */
  | { kind: "refused"; error: Error };

export interface AppendExpectation {
  /** Last sequence of the whole stream, as acknowledged to this writer. */
  lastSeq?: number;
  /** Last sequence of this kind: used by the fence alone, which must win against running appends. */
  lastSeqOfKind?: number;
}

export interface LogBounds {
  /** First sequence still stored; lastSeq + 1 when the stream is empty. */
  firstSeq: number;
  /** Last sequence ever assigned, purged or not; 0 for a new stream. */
  lastSeq: number;
}

export interface Tail extends AsyncDisposable {
  /** Rejects when the follower cannot go on (its handler threw); never resolves otherwise, until disposed. */
  readonly failed: Promise<never>;
}

export interface LogPort {
  /** Longest payload that append accepts: another one when the server has been set up anew. */
  readonly maxMessageBytes: number;
  /** @throws VdbError unavailable when the payload is too long for the server: it was not sent, and never can be */
  append(
    channel: number,
    kind: LogKind,
    messageId: string,
    payload: Uint8Array,
    expect: AppendExpectation,
    timeoutMs: number,
  ): Promise<AppendOutcome>;
  /** The message in a slot, read from the stream's leader; null when it is empty (or purged). @throws VdbError unavailable */
  readAt(channel: number, seq: number): Promise<LogMessage | null>;
  /** The newest message of a kind, read from the stream's leader. @throws VdbError unavailable */
  readLast(channel: number, kind: LogKind): Promise<LogMessage | null>;
  bounds(channel: number): Promise<LogBounds>;
  /**
   * Follows the stream from fromSeq on, in order, one handler call at a time, over reconnects and lost consumers, each message
   * once. It does not check for gaps: `reader.ts` does. Applies back-pressure: the next message waits for the handler.
   *
   * @param onCaughtUp called when everything that was there at the start has been handled, and again after each interruption; the
   * next message waits for it, and the tail fails with what it throws
   */
  tail(
    channel: number,
    kinds: LogKind[],
    fromSeq: number,
    handler: (message: LogMessage) => void | Promise<void>,
    onCaughtUp?: () => void | Promise<void>,
  ): Promise<Tail>;
  /**
   * Drops everything up to and including throughSeq, but never the newest fence, which holds what a take-over must know. The
   * owner repeats its fence every 64 MiB, so that much may remain. Idempotent.
   */
  purge(channel: number, throughSeq: number): Promise<void>;
}
