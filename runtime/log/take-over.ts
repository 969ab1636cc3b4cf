/**
 * Taking over a channel: the fence. It is the first message of a term; once it is stored, no append of an older owner
 * can be (each expects a last sequence that no longer holds), so everything up to it is final.
 *
 * It expects only to follow the newest fence read, not the newest message, so it never starves behind a running owner.
 */
import type { Clock } from "../clock.ts";
import { isVdbError, VdbError } from "../errors.ts";
import type { Random } from "../random.ts";
import type { LogKind, LogMessage, LogPort } from "./port.ts";
import { type ChainLink, encodeFence, type LogRecord } from "./record.ts";
import { decodeMessage, linkTo } from "./verify.ts";

export interface ChannelClaim {
  log: LogPort;
  channel: number;
  /** Assigned by the coordinator; only grows. */
  term: number;
  nodeId: string;
  clock: Clock;
  random: Random;
  signal: AbortSignal;
}

export interface TakenChannel {
  /** The newest message of each kind. */
  chain: Record<LogKind, ChainLink>;
  /** Timestamp of the newest entry in the log; 0: none. */
  lastTs: bigint;
}

interface Newest {
  message: LogMessage;
  record: LogRecord;
}

const NO_LINK: ChainLink = { seq: 0, crc: 0 };
/** A healthy server answers in milliseconds. After this time, a read of the slot tells what became of the fence. */
export const APPEND_TIMEOUT_MS = 1_500;

/** @throws VdbError channel_fenced (an equal or higher term is there), corrupt, canceled */
export async function takeOver(claim: ChannelClaim): Promise<TakenChannel> {
  const { log, channel, term } = claim;
  // Unlike the term alone, it tells our own fence from that of an earlier life with the same term.
  const messageId = `fence-${term}-${claim.random.ulid()}`;
  for (let tries = 0; ; tries++) {
    const newest = await readNewest(claim, "ctl");
    if (newest?.message.messageId === messageId) return readTips(claim, newest);
    if (newest !== null && newest.record.term >= term) throw fencedBy(claim, newest);
    const payload = firstFence(claim, newest);
    const expect = { lastSeqOfKind: newest?.message.seq ?? 0 };
    const outcome = await log.append(channel, "ctl", messageId, payload, expect, APPEND_TIMEOUT_MS);
    if (outcome.kind !== "stored") await backOff(claim, tries);
  }
}

function fencedBy(claim: ChannelClaim, { message, record }: Newest): VdbError {
  return new VdbError(
    "channel_fenced",
    `channel ${claim.channel} is held by ${record.fence?.nodeId} with term ${record.term}, need a higher one than ${claim.term}`,
    { details: { channel: claim.channel, term: record.term, seq: message.seq } },
  );
}

/** Until it is stored it cannot know what older owners append, so it repeats the chains that the newest fence knew. */
function firstFence(claim: ChannelClaim, newest: Newest | null): Uint8Array {
  const { channel, term, nodeId } = claim;
  const chain = newest?.record.fence?.chain ?? { ins: NO_LINK, mut: NO_LINK };
  const previous = newest === null ? NO_LINK : linkTo(newest.message);
  const header = { channel, term, index: 0, previous };
  return encodeFence(header, { nodeId, chain, isAnchored: false }, newest?.record.lastTs ?? 0n);
}

/** Where the chains end, read after the fence, when nobody else can append any more. */
async function readTips(claim: ChannelClaim, fence: Newest): Promise<TakenChannel> {
  const inherited = fence.record.fence?.chain ?? { ins: NO_LINK, mut: NO_LINK };
  const taken: TakenChannel = {
    chain: { ...inherited, ctl: linkTo(fence.message) },
    lastTs: fence.record.lastTs,
  };
  for (const kind of ["ins", "mut"] as const) {
    const newest = await readNewest(claim, kind);
    if (newest === null) continue;
    if (newest.message.seq > fence.message.seq) throw fencedBy(claim, newest);
    taken.chain[kind] = linkTo(newest.message);
    if (newest.record.lastTs > taken.lastTs) taken.lastTs = newest.record.lastTs;
  }
  return taken;
}

async function readNewest(claim: ChannelClaim, kind: LogKind): Promise<Newest | null> {
  const message = await whenAvailable(claim, () => claim.log.readLast(claim.channel, kind));
  return message === null ? null : { message, record: decodeMessage(claim.channel, message) };
}

/** Retries with backoff while the log is unavailable. @throws VdbError canceled, and what else the read throws */
export async function whenAvailable<T>(claim: ChannelClaim, read: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await read();
    } catch (error) {
      if (!isVdbError(error, "unavailable")) throw error;
      await backOff(claim, tries);
    }
  }
}

/** 50 ms doubling to 1 s, shortened at random by up to half: owners of many channels wait for the same server. */
export async function backOff(claim: ChannelClaim, tries: number, signal = claim.signal): Promise<void> {
  const longest = Math.min(1_000, 50 << Math.min(tries, 10));
  await claim.clock.sleep(longest * (1 - claim.random.next() / 2), signal);
}
