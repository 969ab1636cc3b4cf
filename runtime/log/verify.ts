/**
 * What every reader of the log checks. JetStream can skip a damaged message silently, so a message counts only when its CRC
 * holds, it is where it says it belongs, and it points back to the message of its kind that was read before it.
 */
import { isVdbError, VdbError } from "../errors.ts";
import type { LogKind, LogMessage } from "./port.ts";
import { type ChainLink, decodeRecord, type LogRecord, recordCrc } from "./record.ts";

/** Where a reader is: what the next message must follow. */
export interface ChainState {
  /** 0: none of the kind was read. */
  lastSeqOfKind: Record<LogKind, number>;
  lastCrcOfKind: Record<LogKind, number>;
  /** Timestamp of the newest entry read; 0: none. */
  lastTs: bigint;
  /** Of the newest message read; 0: none. */
  term: number;
}

export function newChainState(): ChainState {
  return {
    lastSeqOfKind: { ins: 0, mut: 0, ctl: 0 },
    lastCrcOfKind: { ins: 0, mut: 0, ctl: 0 },
    lastTs: 0n,
    term: 0,
  };
}

/** Moves the state past a verified record. */
export function advance(state: ChainState, record: LogRecord, seq: number): void {
  state.lastSeqOfKind[record.kind] = seq;
  state.lastCrcOfKind[record.kind] = record.crc;
  if (record.lastTs > state.lastTs) state.lastTs = record.lastTs;
  state.term = record.term;
}

/**
 * Why a record cannot follow what was read; null if it can. The first of its kind must point before fromSeq, where reading
 * began; each later one to the one read before it.
 */
export function whyOutOfChain(state: ChainState, record: LogRecord, fromSeq: number): string | null {
  if (record.term < state.term) return `has term ${record.term} after term ${state.term}`;
  const last = state.lastSeqOfKind[record.kind];
  if (last === 0) {
    if (record.previousSeq < fromSeq) return null;
    return `follows ${record.kind} message ${record.previousSeq}, which is missing`;
  }
  if (record.previousSeq !== last) return `follows ${record.kind} message ${record.previousSeq}, read was ${last}`;
  if (record.previousCrc !== state.lastCrcOfKind[record.kind])
    return `follows another ${record.kind} message at ${last}`;
  return null;
}

/** @throws VdbError corrupt, newer_version, naming the channel and the sequence */
export function decodeMessage(channel: number, message: LogMessage): LogRecord {
  let record: LogRecord;
  try {
    record = decodeRecord(message.payload);
  } catch (error) {
    if (isVdbError(error, "newer_version")) {
      const text = `channel ${channel} of the log, message ${message.seq}: ${error.message}`;
      throw new VdbError("newer_version", text, { details: { channel, seq: message.seq }, cause: error });
    }
    throw corruptAt(channel, message.seq, error instanceof Error ? error.message : String(error));
  }
  if (record.channel === channel && record.kind === message.kind) return record;
  throw corruptAt(
    channel,
    message.seq,
    `says channel ${record.channel}, ${record.kind}, but is a ${message.kind} message`,
  );
}

export function linkTo(message: LogMessage): ChainLink {
  return { seq: message.seq, crc: recordCrc(message.payload) };
}

export function corruptAt(channel: number, seq: number, why: string): VdbError {
  return new VdbError("corrupt", `channel ${channel} of the log, message ${seq}: ${why}`, {
    details: { channel, seq },
  });
}
